"""Likelihoods of approach 3: ratio tests and profile intervals.

The Huber loss is the negative log of the density p(r) = exp(−H_δ(r)/τ)/Z(τ), with
Z(τ) = √(2πτ)·erf(δ/√(2τ)) + (2τ/δ)·exp(−δ²/(2τ)) and a scale τ > 0. For δ → 0 at constant
τ/δ it is Laplace's density, which is what Besiroglu et al. (2024) fit in effect.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import chdtrc, chdtri, erf

from .huber import HuberObjective
from .newton import minimise
from .surface import HIGH, LOW

COORDINATES = {"E": 2, "alpha": 3, "beta": 4}
"""Parameters that are coordinates of the centred problem, hence can be profiled by fixing them."""


def log_likelihood(f, n: int, delta: float):
    """max over τ of −f/τ − n·log Z(τ), for objectives f = Σ H_δ (scalar or array)."""

    def best(value):
        def negative(log_tau):
            tau = np.exp(log_tau)
            s = delta / np.sqrt(2 * tau)
            Z = np.sqrt(2 * np.pi * tau) * erf(s) + 2 * tau / delta * np.exp(-s * s)
            return value / tau + n * np.log(Z)

        guess = np.log(value / n)
        return -minimize_scalar(
            negative, bounds=(guess - 8, guess + 8), method="bounded", options={"xatol": 1e-10}
        ).fun

    return np.vectorize(best, otypes=[float])(f)[()]


@dataclass(frozen=True)
class RatioTest:
    """2·(ℓ₁ − ℓ₀) and its χ² tail probability with `dof` degrees of freedom."""

    statistic: float
    dof: int
    p: float


def likelihood_ratio(N, D, loss, null, best, *, delta: float = 1e-3, dof: int = 5) -> RatioTest:
    """Test the law `null` against the fitted law `best`, the scale τ fitted under each."""
    objective = HuberObjective.of(N, D, loss, delta)
    n = len(objective.x)
    f = [objective.value(objective.from_theta(law.theta)[None], np.ones(n))[0] for law in (null, best)]
    low, high = (log_likelihood(value, n, delta) for value in f)
    statistic = 2 * (high - low)
    return RatioTest(float(statistic), dof, float(chdtrc(dof, statistic)))


def wald(difference, covariance) -> RatioTest:
    """dᵀ Σ⁻¹ d for the difference d of two parameter vectors and its covariance Σ."""
    d = np.asarray(difference, float)
    statistic = float(d @ np.linalg.solve(covariance, d))
    return RatioTest(statistic, len(d), float(chdtrc(len(d), statistic)))


@dataclass(frozen=True)
class Profile:
    """Deviance 2·(ℓ_max − ℓ(value)) of one parameter with the others refitted at every value."""

    name: str
    values: np.ndarray
    deviance: np.ndarray
    level: float
    interval: tuple[float, float]


def profile(N, D, loss, law, name: str, values, *, delta: float = 1e-3, level: float = 0.95) -> Profile:
    """Profile likelihood of "E", "alpha" or "beta" about a fitted `law`.

    `values` must bracket the interval: where the deviance does not cross the χ²₁ quantile on
    a side, that end is infinite. Raises ValueError for any other parameter.
    """
    if name not in COORDINATES:
        raise ValueError(f"profile works for {', '.join(COORDINATES)}, not {name!r}")
    objective = HuberObjective.of(N, D, loss, delta)
    n, j = len(objective.x), COORDINATES[name]
    values = np.sort(np.asarray(values, float))
    centred = objective.from_theta(law.theta)
    start = np.repeat(centred[None], len(values), 0)
    start[:, j] = np.log(values) - objective.centre[2] if name == "E" else values
    free = np.arange(5) == j
    found = minimise(objective, start, np.ones(n), LOW, HIGH, fixed=free)
    f_best = objective.value(centred[None], np.ones(n))[0]
    deviance = 2 * (log_likelihood(f_best, n, delta) - log_likelihood(found.f, n, delta))
    return Profile(
        name, values, deviance, level, _crossings(values, deviance, chdtri(1, 1 - level), getattr(law, name))
    )


def _crossings(values, deviance, threshold, centre):
    ends: list[float] = []
    for side in (values < centre, values > centre):
        v, d = values[side], deviance[side]
        if not len(v) or d.max() < threshold:
            ends.append(-np.inf if not ends else np.inf)
            continue
        order = np.argsort(np.abs(v - centre))
        v, d = v[order], np.maximum.accumulate(d[order])
        ends.append(float(np.interp(threshold, d, v)))
    return ends[0], ends[1]
