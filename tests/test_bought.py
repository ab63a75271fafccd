"""Differences of benchmark scores, against brute force and published values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from scalinglaws import datasets, laws
from scalinglaws.pretraining import bought


def test_a_difference_is_newcombe_s_formula_on_wilson_s_intervals():
    d, (low, high) = bought.difference(0.8, 0.6, 80)
    z = norm.ppf(0.975)
    half = lambda p, n: z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    wilson = lambda p, n: (p + z**2 / (2 * n) + np.array([-1, 1]) * half(p, n)) / (1 + z**2 / n)
    (l1, u1), (l2, u2) = wilson(0.8, 80), wilson(0.6, 80)
    assert d == pytest.approx(0.2)
    assert low == pytest.approx(0.2 - np.sqrt((0.8 - l1) ** 2 + (u2 - 0.6) ** 2))
    assert high == pytest.approx(0.2 + np.sqrt((u1 - 0.8) ** 2 + (0.6 - l2) ** 2))


def test_the_interval_of_a_difference_covers_it():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        first, second = rng.binomial(120, [0.75, 0.65]) / 120
        low, high = bought.difference(first, second, 120)[1]
        held += low <= 0.1 <= high
    assert 0.92 < held / 600 < 0.98


def test_a_percentage_is_that_of_whole_items_or_of_none():
    every = {round(100 * k / 120, 1): k for k in range(121)}
    assert all(bought.counts(p, 120) == k for p, k in every.items())
    assert bought.counts(68.0, 240) is None
    printable = sum(bought.counts(p / 10, 120) is not None for p in range(1001))
    assert printable == len(every)


def test_losses_by_chance_against_a_simulation():
    rng = np.random.default_rng(1)
    first, second = rng.binomial(250, 0.68, (40_000, 1)), rng.binomial(250, 0.60, (40_000, 1))
    lost = 57 * np.mean(first < second) + 57 * 0.5 * np.mean(first == second)
    assert bought.losses_by_chance(0.08, 0.64, 250, 57) == pytest.approx(lost, rel=0.1)


def test_knowing_by_heart_explains_exactly_the_lead():
    share = bought.known_by_heart(0.676, 0.6)
    assert share + (1 - share) * 0.6 == pytest.approx(0.676)


def test_an_optimal_training_is_worth_all_of_its_compute_and_another_less():
    best = laws.BESIROGLU.optimum(1e22)
    _, worth = bought.overtrained(laws.BESIROGLU, best.N, best.D)
    assert worth == pytest.approx(1)
    at, less = bought.overtrained(laws.BESIROGLU, best.N / 4, best.D * 4)
    assert at.N == pytest.approx(best.N)
    assert laws.BESIROGLU.optimum(less * 1e22).loss == pytest.approx(laws.BESIROGLU.predict(best.N / 4, best.D * 4))


def test_printed_hours_give_the_printed_speed():
    # Touvron et al. (2023), Section 2.4: about 380 tokens a second and GPU for the largest
    run = datasets.paper_table("llama").set_index("name").loc["LLaMA 65B"]
    assert run["D"] / run["gpu_hours"] / 3600 == pytest.approx(380, rel=0.01)
    assert bought.utilisation(run["N"], run["D"], run["gpu_hours"]) == pytest.approx(380 * 6 * run["N"] / 312e12, rel=0.01)


def test_every_shape_of_the_family_gives_the_printed_size():
    family = datasets.paper_table("gopher_family")
    printed = {"44M": 44, "117M": 117, "417M": 417, "1.4B": 1.4, "7.1B": 7.1, "Gopher 280B": 280, "Chinchilla 70B": 70}
    for name, counted in bought.sizes(family).items():
        unit = 1e6 if name.endswith("M") else 1e9
        digits = 1 if name in ("1.4B", "7.1B") else 0
        assert round(counted / unit, digits) == printed[name]


def test_a_rival_without_a_score_is_left_out():
    rivals = pd.DataFrame({"task": ["a", "b"], "items": [100, 100], "chinchilla": [80.0, 70.0], "gpt3": [50.0, np.nan]})
    found = bought.compared(rivals, "gpt3")
    assert found["task"].tolist() == ["a"]
    assert found["low"].item() < found["lead"].item() < found["high"].item()
