"""The two-class theory against simulation and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalinglaws.resampling import theory as T

p = st.floats(0.01, 0.99)


def test_the_reward_is_what_a_simulation_earns():
    rng = np.random.default_rng(0)
    classes = (T.TaskClass(0.7, 0.5, 0.05), T.TaskClass(0.3, 0.02, 0.2))
    K, penalty, n = 6, 2.0, 200_000
    kind = rng.random(n) < 0.7
    right = rng.random((n, K)) < np.where(kind, 0.5, 0.02)[:, None]
    passed = right | (rng.random((n, K)) < np.where(kind, 0.05, 0.2)[:, None])
    first = passed.argmax(1)
    score = np.where(right[np.arange(n), first], 1.0, -penalty) * passed.any(1)
    assert T.reward(classes, K, penalty) == pytest.approx(score.mean(), abs=4 * score.std() / n**0.5)


@given(p, p, p, p, p, st.floats(0.1, 8))
def test_the_best_budget_is_the_best(share, right_1, false_1, right_2, false_2, penalty):
    classes = (T.TaskClass(share, right_1, false_1), T.TaskClass(1 - share, right_2, false_2))
    K = T.best_budget(*classes, penalty)
    tried = [T.reward(classes, k, penalty) for k in np.geomspace(0.01, 1e5, 400)]
    best = T.limit(classes, penalty) if math.isinf(K) else T.reward(classes, K, penalty)
    if K != 1.0:  # where a class is accepted surely, only whole samples can be compared
        assert best >= max(*tried, 0.0) - 1e-6


def test_one_class_wants_nothing_or_everything():
    good, bad = T.TaskClass(0.5, 0.6, 0.1), T.TaskClass(0.5, 0.1, 0.6)
    assert T.best_budget(good, good, 1.0) == math.inf
    assert T.best_budget(bad, bad, 1.0) == 0.0
    assert 0 < T.best_budget(T.TaskClass(0.8, 0.5, 0.05), T.TaskClass(0.2, 0.01, 0.1), 2.0) < 50


def test_the_limit_weighs_by_prior_shares():
    """With prior weights the limit is what many samples earn; with posterior weights it is too high."""
    classes = (T.TaskClass(0.5, 0.6, 0.05), T.TaskClass(0.5, 0.02, 0.1))
    assert T.reward(classes, 10_000, 0.0) == pytest.approx(T.limit(classes, 0.0))
    wrong = sum(w * c.worth(0.0) for w, c in zip(T.posterior(classes), classes, strict=True))
    assert wrong > T.limit(classes, 0.0) + 0.2
    assert sum(T.posterior(classes)) == pytest.approx(1)


def test_soundness_does_not_average():
    classes = (T.TaskClass(0.5, 0.6, 0.05), T.TaskClass(0.5, 0.02, 0.1))
    rng = np.random.default_rng(1)
    kind = rng.integers(2, size=400_000)
    right = rng.random(len(kind)) < np.array([0.6, 0.02])[kind]
    passed = right | (rng.random(len(kind)) < np.array([0.05, 0.1])[kind])
    assert T.pooled_soundness(classes) == pytest.approx(right[passed].mean(), abs=0.004)
    assert abs(T.pooled_soundness(classes) - np.mean([c.sound for c in classes])) > 0.2


def test_what_is_no_probability_is_told():
    with pytest.raises(ValueError, match=r"false must be a probability, got 1\.2"):
        T.TaskClass(0.5, 0.5, 1.2)
    with pytest.raises(ValueError, match="no class accepts anything"):
        T.posterior([T.TaskClass(1.0, 0.0, 0.0)])
