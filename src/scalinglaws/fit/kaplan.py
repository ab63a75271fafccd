"""Fits of Kaplan's laws: power laws in one variable, L(N, D), L(N, S) and the critical batch.

Source: Kaplan et al. (2020), Sections 3–5. All are least squares on log L (log B_crit), which the
paper does not say but its straight lines on log–log axes suggest. `objective` is the summed
squared residual, weighted as the fit was.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import least_squares

from ..laws import CriticalBatch, KaplanND, KaplanNS, PowerLaw
from .lines import line
from .result import Fit, Parameters

RATE_RANGE = (0.005, 3.0)
"""Exponents are sought here; one that ends at an edge is reported in `status`."""


def fit_power(X, loss, *, weights=None, groups=None) -> Fit:
    """L(X) = (X_c/X)^α: a line through log L against log X (Eqs. 1.1–1.3).

    X in any unit (n,), loss nats per token. `params`: alpha, scale (X_c, in X's unit).
    `groups` as in `Fit`.
    Raises ValueError with fewer than two distinct X.
    """
    x, y = np.log(np.asarray(X, float)), np.log(np.asarray(loss, float))
    if len(np.unique(x)) < 2:
        raise ValueError("a power law needs two distinct values of its variable")
    centre = x.mean()

    def refit(W: np.ndarray) -> Parameters:
        height, slope = line(x - centre, y, np.atleast_2d(W))
        with np.errstate(over="ignore", divide="ignore"):
            return {"alpha": -slope, "scale": np.exp(centre - height / slope), "height": np.exp(height)}

    return _straight("power", lambda p: PowerLaw(p["alpha"], p["scale"]), x, y, refit, weights, groups)


def fit_nd(N, D, loss, *, weights=None) -> Fit:
    """L(N, D) = [(N_c/N)^{α_N/α_D} + D_c/D]^{α_D} (Eq. 1.5), D the distinct tokens, loss early-stopped.

    `params`: alpha_N, alpha_D, N_c, D_c and the boundary's exponent alpha_N/alpha_D as `ratio`.
    """
    x, y, z = (np.log(np.asarray(v, float)) for v in (N, D, loss))
    mx, my, level = x.mean(), y.mean(), z.mean()

    def residual(t, w):
        # u, v: the two terms at the typical run, in units of exp(level)
        a_N, a_D = np.exp(t[2:])
        first = t[0] - a_N / a_D * (x - mx)
        second = t[1] - (y - my)
        return np.sqrt(w) * (a_D * np.logaddexp(first, second) - z)

    starts = [
        (level / d + shift, level / d - shift, np.log(n), np.log(d))
        for n in (0.05, 0.15) for d in (0.05, 0.15, 0.4) for shift in (-1.0, 1.0)
    ]  # fmt: skip

    def named(t) -> Parameters:
        a_N, a_D = np.exp(t[2]), np.exp(t[3])
        with np.errstate(over="ignore"):
            return {
                "alpha_N": a_N,
                "alpha_D": a_D,
                "N_c": np.exp(mx + t[0] * a_D / a_N),
                "D_c": np.exp(my + t[1]),
                "ratio": a_N / a_D,
            }

    return _nonlinear("kaplan L(N, D)", residual, starts, named, KaplanND, 4, len(x), weights, (2, 3))


def fit_ns(N, S, loss, *, weights=None, groups=None) -> Fit:
    """L(N, S) = (N_c/N)^{α_N} + (S_c/S)^{α_S} (Eq. 1.6), S optimiser steps (S_min, if so converted).

    `params`: alpha_N, alpha_S, N_c, S_c.
    """
    x, y, z = (np.log(np.asarray(v, float)) for v in (N, S, loss))
    mx, my, level = x.mean(), y.mean(), z.mean()

    def residual(t, w):
        a_N, a_S = np.exp(t[2:])
        return np.sqrt(w) * (np.logaddexp(t[0] - a_N * (x - mx), t[1] - a_S * (y - my)) - z)

    starts = [
        (level + np.log(share), level + np.log(1 - share), np.log(n), np.log(s))
        for share in (0.5, 0.85) for n in (0.05, 0.15) for s in (0.2, 0.7)
    ]  # fmt: skip

    def named(t) -> Parameters:
        a_N, a_S = np.exp(t[2]), np.exp(t[3])
        with np.errstate(over="ignore"):
            return {
                "alpha_N": a_N,
                "alpha_S": a_S,
                "N_c": np.exp(mx + t[0] / a_N),
                "S_c": np.exp(my + t[1] / a_S),
            }

    return _nonlinear("kaplan L(N, S)", residual, starts, named, KaplanNS, 4, len(x), weights, (2, 3), groups)


def pareto(steps, tokens) -> tuple[float, float]:
    """S_min and E_min of 1 = S_min/S + E_min/E, the trade between steps and tokens at one loss (Eq. 5.1).

    steps, tokens (n,): what runs at different batch sizes needed to reach the same loss. Linear
    least squares in the two unknowns; B_crit = E_min/S_min. Returns NaNs where the data give a
    negative one, or one batch size only: no trade can be seen there.
    """
    S, E = np.asarray(steps, float), np.asarray(tokens, float)
    found, _, rank, _ = np.linalg.lstsq(np.stack([1 / S, 1 / E], axis=1), np.ones(len(S)), rcond=None)
    sound = rank == 2 and (found > 0).all()
    return (float(found[0]), float(found[1])) if sound else (np.nan, np.nan)


def fit_critical_batch(loss, B_crit, *, weights=None) -> Fit:
    """B_crit(L) = B_*/L^{1/α_B} (Eq. 1.4): a line through log B_crit against log L.

    `params`: B_star (tokens), alpha_B and `power` = 1/α_B, which is what the line gives.
    """
    x, y = np.log(np.asarray(loss, float)), np.log(np.asarray(B_crit, float))

    def refit(W: np.ndarray) -> Parameters:
        height, slope = line(x, y, np.atleast_2d(W))
        with np.errstate(over="ignore", divide="ignore"):
            return {"B_star": np.exp(height), "alpha_B": -1 / slope, "power": -slope}

    return _straight(
        "critical batch", lambda p: CriticalBatch(p["B_star"], p["alpha_B"]), x, y, refit, weights
    )


def _straight(method, law_of: Callable, x, y, refit, weights, groups=None) -> Fit:
    """The fit of a law that is a line in logarithms: x and y are logs, `refit` solves for any weights."""
    w = np.ones(len(x)) if weights is None else np.asarray(weights, float)
    p = {k: float(v[0]) for k, v in refit(w[None]).items()}
    law = law_of(p)
    residual = y - np.log(law.predict(np.exp(x)))
    return Fit(method, law, p, float(w @ residual**2), "converged", len(x), refit=refit, groups=groups)


def _nonlinear(method, residual, starts, named, law, size, n, weights, rates, groups=None) -> Fit:
    """Least squares from several starts; a resample starts from the estimate."""
    if n < size:
        raise ValueError(f"{method} has {size} unknowns and {n} runs")
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    low[list(rates)], high[list(rates)] = np.log(RATE_RANGE[0]), np.log(RATE_RANGE[1])

    def solve(start, w):
        return least_squares(
            residual, start, bounds=(low, high), args=(w,), xtol=1e-12, ftol=1e-12, gtol=1e-12
        )

    w = np.ones(n) if weights is None else np.asarray(weights, float)
    best = min((solve(s, w) for s in starts), key=lambda r: r.cost)
    params = {k: float(v) for k, v in named(best.x).items()}
    fields = {k: params[k] for k in law.__dataclass_fields__}
    held = [i for i in rates if min(best.x[i] - low[i], high[i] - best.x[i]) < 1e-3]
    status = "converged" if best.success else "not converged"
    if held:
        status = "bound: " + ", ".join(list(params)[i - rates[0]] for i in held)

    def refit(W: np.ndarray) -> Parameters:
        rows = [named(solve(best.x, w).x) for w in np.atleast_2d(W)]
        return {k: np.array([r[k] for r in rows]) for k in params}

    return Fit(method, law(**fields), params, float(2 * best.cost), status, n, refit=refit, groups=groups)
