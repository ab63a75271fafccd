"""Kaplan's laws fitted: known truth, coverage, invariance, brute force."""

from __future__ import annotations

import numpy as np
import pytest

from scalinglaws import fit
from scalinglaws.laws import B_CRIT, CriticalBatch, KaplanND, KaplanNS, PowerLaw

ND = KaplanND(alpha_N=0.09, alpha_D=0.13, N_c=4e9, D_c=9e8)
NS = KaplanNS(alpha_N=0.08, alpha_S=0.6, N_c=3e9, S_c=900.0)
SIZES, TOKENS = np.geomspace(1e3, 1e6, 6), np.geomspace(1e4, 1e7, 6)


def grid(law, second):
    N, X = (v.ravel() for v in np.meshgrid(SIZES, second))
    return N, X, law.predict(N, X)


def test_power_law_is_recovered_exactly():
    law = PowerLaw(alpha=0.076, scale=8.8e13)
    found = fit.fit_power(SIZES, law.predict(SIZES))
    assert found.params["alpha"] == pytest.approx(0.076, rel=1e-10)
    assert found.law.scale == pytest.approx(8.8e13, rel=1e-8)
    assert found.objective < 1e-20
    with pytest.raises(ValueError, match="two distinct"):
        fit.fit_power([5.0, 5.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("law", "second", "fitted"), [(ND, TOKENS, fit.fit_nd), (NS, np.geomspace(30, 3e4, 6), fit.fit_ns)]
)
def test_surfaces_are_recovered_exactly(law, second, fitted):
    found = fitted(*grid(law, second))
    assert found.converged
    for name in law.__dataclass_fields__:
        assert found.params[name] == pytest.approx(getattr(law, name), rel=1e-5), name


@pytest.mark.parametrize(
    ("law", "second", "fitted"), [(ND, TOKENS, fit.fit_nd), (NS, np.geomspace(30, 3e4, 6), fit.fit_ns)]
)
def test_a_change_of_unit_changes_only_the_scales(law, second, fitted):
    N, X, loss = grid(law, second)
    loss = loss * np.exp(0.01 * np.random.default_rng(0).normal(size=len(loss)))
    plain, scaled = fitted(N, X, loss), fitted(N * 1e3, X * 7, loss)
    scales = [k for k in law.__dataclass_fields__ if k.endswith("_c")]
    for name in plain.params:
        factor = {0: 1e3, 1: 7.0}[scales.index(name)] if name in scales else 1.0
        assert scaled.params[name] == pytest.approx(plain.params[name] * factor, rel=1e-4), name


def test_no_random_start_does_better():
    from scipy.optimize import minimize

    N, D, loss = grid(ND, TOKENS)
    rng = np.random.default_rng(1)
    loss = loss * np.exp(0.02 * rng.normal(size=len(loss)))
    found = fit.fit_nd(N, D, loss)

    def objective(t):
        law = KaplanND(np.exp(t[0]), np.exp(t[1]), np.exp(t[2]), np.exp(t[3]))
        return ((np.log(law.predict(N, D)) - np.log(loss)) ** 2).sum()

    for _ in range(6):
        start = np.log([0.09, 0.13, 4e9, 9e8]) + rng.normal(size=4) * [0.4, 0.4, 2, 2]
        other = minimize(
            objective,
            start,
            method="Nelder-Mead",
            options={"maxiter": 6000, "maxfev": 6000, "xatol": 1e-10, "fatol": 1e-16},
        )
        assert found.objective <= other.fun * (1 + 1e-9)


@pytest.mark.long
def test_bootstrap_covers_the_truth():
    """95 % intervals of α_N in 60 noisy worlds cover it in most; far below, and they would be too narrow."""
    rng = np.random.default_rng(2)
    N, D, truth = grid(ND, TOKENS)
    covered = 0
    for world in range(60):
        loss = truth * np.exp(0.01 * rng.normal(size=len(truth)))
        boot = fit.bootstrap(fit.fit_nd(N, D, loss), 100, world)
        low, high = boot.interval("alpha_N")
        covered += low <= ND.alpha_N <= high
    assert 48 <= covered <= 60


def test_the_trade_between_steps_and_tokens_is_recovered():
    S_min, E_min = 400.0, 3e5
    batch = np.geomspace(50, 5e4, 6)
    S = S_min + E_min / batch  # from 1 = S_min/S + E_min/(B·S)
    found = fit.pareto(S, S * batch)
    assert found == pytest.approx((S_min, E_min), rel=1e-9)
    assert np.isnan(fit.pareto([100.0, 50.0], [100.0, 90.0])).all()  # fewer steps and fewer tokens: no trade
    assert np.isnan(fit.pareto([1.0, 2.0, 3.0], [3.0, 6.0, 9.0])).all()  # one batch size


def test_critical_batch_is_recovered():
    loss = np.linspace(2.0, 4.0, 8)
    found = fit.fit_critical_batch(loss, B_CRIT.predict(loss))
    assert found.params["alpha_B"] == pytest.approx(0.21, rel=1e-9)
    assert found.params["B_star"] == pytest.approx(2.1e8, rel=1e-8)
    assert isinstance(found.law, CriticalBatch)


def test_an_exponent_at_its_limit_is_said():
    N, D, _ = grid(ND, TOKENS)
    found = fit.fit_nd(N, D, 3.0 + 0 * N)  # no dependence at all
    assert found.status.startswith("bound")
