"""The runs on repeated data: the published objective to its digits, pairs and held-out groups, and what a fit can know."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

from scalinglaws import datasets
from scalinglaws.datasets import tables
from scalinglaws.laws.repeats import C4, MUENNIGHOFF, DataConstrained
from scalinglaws.pretraining import repeated


@pytest.fixture(scope="module")
def runs():
    try:
        return datasets.load("repeated")
    except datasets.DataMissing:
        if os.environ.get("SCALINGLAWS_REQUIRE_DATA"):
            raise
        pytest.skip("dataset missing (set SCALINGLAWS_MIRROR or run make data)")


def made(law=MUENNIGHOFF, noise=0.0, seed=0):
    """Runs of a known law: sizes × lengths × distinct tokens, the fresh one always among them."""
    rng = np.random.default_rng(seed)
    rows = [
        (N, D, D / epochs)
        for N in np.geomspace(1e8, 8e9, 6)
        for D in np.geomspace(5e9, 2e11, 5)
        for epochs in (1.0, 4.0, 12.0, 40.0)
    ]
    table = pd.DataFrame(rows, columns=["N", "D", "unique_tokens"])
    loss = law.predict(**repeated.inputs(table))
    return table.assign(loss=loss * np.exp(noise * rng.normal(size=len(table))))


def test_the_published_constants_have_the_published_objective_and_another_pair_a_lower_one(runs):
    assert len(runs) == 182
    assert repeated.objective(MUENNIGHOFF, runs) == pytest.approx(158.26e-4, abs=1e-6)
    fit = repeated.refit(runs)
    assert fit.objective == pytest.approx(158.05e-4, abs=1e-6)
    assert (fit.params["R_D"], fit.params["R_N"]) == pytest.approx((95.4, 1.71), rel=5e-3)
    near = repeated.objective(DataConstrained(C4, 15.372, 5.315), runs)
    assert near <= repeated.objective(MUENNIGHOFF, runs)


@pytest.mark.parametrize(("limit", "pair"), [(4.0, (21.0, 4.5)), (5.0, (12.3, 6.8))])
def test_the_constants_move_with_the_runs_that_are_kept(runs, limit, pair):
    fit = repeated.refit(runs[runs["loss"] < limit])
    assert (fit.params["R_D"], fit.params["R_N"]) == pytest.approx(pair, rel=0.01)


def test_a_known_law_is_found_again_and_its_profile_is_lowest_there():
    truth = DataConstrained(C4, 10.0, 4.0)
    runs = made(truth)
    fit = repeated.refit(runs)
    assert (fit.params["R_D"], fit.params["R_N"]) == pytest.approx((10.0, 4.0), rel=1e-3)
    held = repeated.profile(runs, "R_D", [5.0, 10.0, 20.0])
    assert held[1] < min(held[0], held[2])
    low = repeated.valley(runs, [5.0, 10.0, 20.0], [2.0, 4.0, 8.0])
    assert np.unravel_index(low.argmin(), low.shape) == (1, 1)


def test_pairs_are_held_against_the_fresh_run_and_say_what_the_repeats_were_worth():
    truth = DataConstrained(C4, 10.0, np.inf)  # parameters never lose value: the data's worth can be read off
    pairs = repeated.pairs(made(truth))
    assert len(pairs) == 6 * 5 * 3
    assert (pairs["excess"] > 0).all()
    by_law = (1 + 10 * (1 - np.exp(-(pairs["epochs"] - 1) / 10))) / pairs["epochs"]
    assert pairs["worth"].to_numpy() == pytest.approx(by_law.to_numpy(), rel=1e-6)


def test_rivals_never_see_what_they_predict(monkeypatch):
    runs = made(noise=0.002, seed=1)
    seen = []
    fitted = repeated.refit
    monkeypatch.setattr(repeated, "refit", lambda kept, fixed=None: (seen.append(kept), fitted(kept, fixed))[1])
    found = repeated.rivals(runs, folds=5)
    groups = runs.groupby(["N", "unique_tokens"]).ngroups
    assert found.errors.shape == (4, groups)
    whole = set(zip(runs["N"], runs["unique_tokens"], strict=True))
    for kept in seen:
        left = whole - set(zip(kept["N"], kept["unique_tokens"], strict=True))
        assert len(left) > 0
        assert len(kept) == sum((n, u) not in left for n, u in zip(runs["N"], runs["unique_tokens"], strict=True))
    assert found.ahead("both decay", "nothing decays").mean() > 0
    assert found.ahead("both decay", "data decay").mean() > 0


def test_names_of_runs_are_read_by_the_notebooks_own_tables(monkeypatch):
    """A letter stands for the point: 1b5 is 1.5 billion; unfinished runs and another corpus are left out."""
    told = (
        'NAMES_TO_VAL_LOSSES = {"2b855b1b25": 3.4, "4b284b12b": 2.5, "14m2b7100m": 6.0, "220m200b1b5": 0, "83m1b51b5": 5.0, "146m1b5100mdedup": 7.0}\n'
        'TOKENS_MAP = {"100m": 0.1, "1b25": 1.25, "1b5": 1.5, "2b7": 2.7}\n'
        'PARAMS_MAP = {"2b8": 2.81e9, "4b2": 4.2465e9, "14m": 1.41e7, "220m": 2.2e8, "83m": 8.27e7, "146m": 1.4e8}\n'
    )
    cells = [{"source": []}] * tables._REPEATED_CELL + [{"source": [told]}]
    monkeypatch.setattr(tables, "content", lambda name, file: json.dumps({"cells": cells}).encode())
    found = datasets.load("repeated").set_index("name")
    assert found[["N", "D", "unique_tokens"]].to_dict("index") == {
        "2b855b1b25": {"N": 2.81e9, "D": 55e9, "unique_tokens": 1.25e9},
        "4b284b12b": {"N": 4.2465e9, "D": 84e9, "unique_tokens": 12e9},
        "14m2b7100m": {"N": 1.41e7, "D": 2.7e9, "unique_tokens": 0.1e9},
        "83m1b51b5": {"N": 8.27e7, "D": 1.5e9, "unique_tokens": 1.5e9},
    }
