"""Approach 3: fit the whole surface L = E + A/N^α + B/D^β with a Huber loss on log L.

Source: Hoffmann et al. (2022), Section 3.3 and Appendix D.2. The published recipe runs
L-BFGS from 4500 starts. Here a grid in (α, β) with the rest solved linearly supplies a few
starts, and Newton's method with the exact Hessian finishes each (see `huber`, `newton`).
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import minimize

from ..laws import Chinchilla
from . import varpro
from .huber import HuberObjective
from .newton import minimise
from .result import Fit

NAMES = ("A", "B", "E", "alpha", "beta")
# Bounds in the centred coordinates of HuberObjective: each term of L between e⁻⁹ and e⁵ of the
# typical loss at the typical run, E at least 0.1 % of it, exponents as in variable projection.
LOW = np.array([-9.0, -9.0, np.log(1e-3), varpro.EXPONENT_RANGE[0], varpro.EXPONENT_RANGE[0]])
HIGH = np.array([5.0, 5.0, 1.0, varpro.EXPONENT_RANGE[1], varpro.EXPONENT_RANGE[1]])
SEED_ROWS = 2000
SMALL_TABLE = 100
FEW_GROUPS = 8


def hoffmann_grid() -> np.ndarray:
    """The 4500 starts (a, b, e, α, β) of Appendix D.2."""
    return np.array([
        (a, b, e, alpha, beta)
        for alpha, beta, e, a, b in itertools.product(
            np.arange(0, 2.5, 0.5), np.arange(0, 2.5, 0.5), np.arange(-1, 1.5, 0.5),
            np.arange(0, 30, 5), np.arange(0, 30, 5))
    ])  # fmt: skip


def fit_surface(
    N, D, loss, *, delta: float = 1e-3, asymmetric: float = 1.0, weights=None, groups=None, starts=None
) -> Fit:
    """Minimise Σ w_i·H_δ(log L̂_i − log L_i) over (log A, log B, log E, α, β).

    N parameters, D tokens, loss nats per token, each (n,); `delta` in log-loss units.
    `starts` (K, 5) replaces the eight best points of the variable-projection grid.
    `objective` is the sum, not the mean (the mean is what made the paper's optimiser stop
    early). A parameter at the edge of its range is reported in `status`. A run whose loss is
    above the law counts 1/`asymmetric`. Rows with one label in `groups` (n,) are resampled together.
    """
    objective = HuberObjective.of(N, D, loss, delta, asymmetric)
    n = len(objective.x)
    w = np.ones(n) if weights is None else np.asarray(weights, float)
    if starts is None:
        rows = slice(None) if n <= SEED_ROWS else np.linspace(0, n - 1, SEED_ROWS).astype(int)
        laws = varpro.seeds(np.asarray(N)[rows], np.asarray(D)[rows], np.asarray(loss)[rows], 8, w[rows])
        starts = [law.theta for law in laws]
    starts = objective.from_theta(starts)

    def descend(start, weights, ladder=None):
        for larger in _ladder(delta) if ladder is None else ladder:
            start = minimise(HuberObjective.of(N, D, loss, larger, asymmetric), start, weights, LOW, HIGH).t
        return minimise(objective, start, weights, LOW, HIGH)

    found = descend(starts, w)
    k = int(np.argmin(found.f))
    theta = objective.to_theta(found.t[k])
    held = [name for name, at in zip(NAMES, found.at_bound[k], strict=True) if at]
    status = "bound: " + ", ".join(held) if held else "converged" if found.converged[k] else "not converged"
    params = {name: float(v) for name, v in _named(theta[None]).items() for v in v}

    few = groups is not None and len(np.unique(groups)) <= FEW_GROUPS

    def refit(W):
        if few:  # m runs have few different resamples: 462 for six
            W, again = np.unique(W, axis=0, return_inverse=True)
            return {name: v[again.ravel()] for name, v in refit_each(W).items()}
        return refit_each(W)

    def refit_each(W):
        W = W if weights is None else W * w
        again = descend(np.repeat(found.t[k : k + 1], len(W), 0), W)
        t, f, ok = again.t, again.f, again.converged
        # Resamples of a small table have minima of their own: try every start. Otherwise only where needed.
        for start in starts:
            rows = np.arange(len(W)) if n <= SMALL_TABLE else np.flatnonzero(~ok)
            if not len(rows):
                break
            other = descend(np.repeat(start[None], len(rows), 0), W[rows], _ladder(delta, 0.1))
            better = other.converged & (~ok[rows] | (other.f < f[rows]))
            t[rows[better]], f[rows[better]], ok[rows[better]] = other.t[better], other.f[better], True
        t[~ok] = np.nan  # counted by Bootstrap.failed, never averaged in
        return _named(objective.to_theta(t))

    residuals = -np.log(sum(objective.residual_terms(found.t[k : k + 1])))[0]
    return Fit(
        "surface",
        Chinchilla.from_theta(theta),
        params,
        float(found.f[k]),
        status,
        n,
        refit=refit,
        groups=None if groups is None else np.asarray(groups),
        residuals=residuals,
    )


def _ladder(delta: float, top: float | None = None) -> np.ndarray:
    """Larger δ to pass through on the way to `delta`, half a decade apart.

    Where almost every residual is outside the quadratic zone (δ below 1e-4, or a few noisy
    runs) Newton has little curvature to work with; the minimum at a larger δ is a good start.
    """
    if top is None:
        top = 1e-3 if delta < 1e-4 else 0.0
    return 10.0 ** np.arange(np.log10(top), np.log10(delta) + 0.25, -0.5) if top > delta else np.array([])


def _named(theta):
    a, b, e, alpha, beta = theta.T
    ratio = beta / (alpha + beta)
    return {
        "E": np.exp(e),
        "A": np.exp(a),
        "B": np.exp(b),
        "alpha": alpha,
        "beta": beta,
        "a": ratio,
        "b": 1 - ratio,
    }


def fit_averaged(N, D, loss, start: Chinchilla, *, delta: float = 1e-3, weights=None, gtol: float = 1e-5):
    """What goes wrong when the Huber losses are averaged and BFGS keeps its default tolerance.

    Minimises (1/Σw) Σ w_i·H_δ from `start` with SciPy's BFGS in the paper's coordinates. The
    gradient of the mean is n times smaller than that of the sum, so it passes `gtol` long
    before the optimum (Besiroglu et al. 2024, Section 3.3). weights (K, n) gives K fits.
    Returns parameters by name, each (K,).
    """
    objective = HuberObjective.of(N, D, loss, delta)
    W = np.ones((1, len(objective.x))) if weights is None else np.atleast_2d(np.asarray(weights, float))
    x, y = objective.centre[0], objective.centre[1]

    def mean_value_and_gradient(theta, w):
        f, g, _ = objective.derivatives(objective.from_theta(theta)[None], w[None])
        a, b, e, alpha, beta = g[0]
        # chain rule of the centring: ∂(a − α·x̄)/∂α = −x̄
        gradient = np.array([a, b, e, alpha - x * a, beta - y * b])
        return f[0] / w.sum(), gradient / w.sum()

    theta = [
        minimize(
            mean_value_and_gradient, start.theta, (w,), method="BFGS", jac=True, options={"gtol": gtol}
        ).x
        for w in W
    ]
    return _named(np.array(theta))
