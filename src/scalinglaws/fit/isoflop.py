"""Approach 2: a parabola through each IsoFLOP profile, then a line through the minima.

Source: Hoffmann et al. (2022), Section 3.2. At every budget the final loss is fitted by a
quadratic in log N (and one in log D); the vertices give N_opt(C) and D_opt(C).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..laws import Frontier
from .lines import group_budgets, line, parabola
from .result import Fit


@dataclass(frozen=True)
class Valley:
    """One IsoFLOP profile: budget C (FLOPs), runs used, vertex (N, D, loss) and where it lies.

    `position` is the vertex between the smallest N (0) and the largest (1) of the profile, in
    log N; outside [0, 1] the minimum is extrapolated. `curvature` c₂ is in nats per (log N)².
    """

    C: float
    runs: int
    N: float
    D: float
    loss: float
    curvature: float
    position: float


@dataclass(frozen=True)
class IsoflopFit(Fit):
    """A `Fit` with the valleys behind it."""

    valleys: tuple[Valley, ...] = field(default=(), repr=False)


def fit_isoflop(N, D, loss, C=None, *, budget=None, weights=None, groups=None) -> IsoflopFit:
    """N_opt = N0·(C/C0)^a and D_opt = D0·(C/C0)^b from IsoFLOP profiles.

    N parameters, D tokens, loss nats per token, C FLOPs (6·N·D if not given), each (n,).
    `budget` labels the profile of each run; by default runs whose C differ by less than 20 %
    share one. C0 is the geometric mean of the budgets. `objective` is the summed squared
    residual of log N_opt about its line. Rows with one label in `groups` are resampled together.
    Raises ValueError with fewer than two usable profiles (three distinct sizes, a minimum).
    """
    N, D, loss = (np.asarray(v, float) for v in (N, D, loss))
    C = 6 * N * D if C is None else np.asarray(C, float)
    budget = group_budgets(C) if budget is None else np.unique(budget, return_inverse=True)[1]
    w = np.ones((1, len(N))) if weights is None else np.atleast_2d(np.asarray(weights, float))
    rows = [np.flatnonzero(budget == k) for k in range(budget.max() + 1)]
    logC = np.array([np.log(C[r]).mean() for r in rows])

    logN, n_fit = _vertices(np.log(N), loss, rows, w)
    valleys = _valleys(N, D, loss, C, rows, w, logN[0], n_fit)
    usable = np.isfinite(logN[0])
    if usable.sum() < 2:
        raise ValueError(
            f"{usable.sum()} of {len(rows)} budgets have a minimum; the frontier needs two. "
            "Add sizes on both sides of the valley at more budgets"
        )
    centre = float(logC[usable].mean())

    def refit(W):
        chunk = max(1, (1 << 20) // len(N))
        base = 1.0 if weights is None else w
        parts = [
            _frontiers(np.log(N), np.log(D), loss, rows, logC - centre, base * W[i : i + chunk])
            for i in range(0, len(W), chunk)
        ]
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}

    p = {k: float(v[0]) for k, v in refit(np.ones((1, len(N)))).items()}
    if not np.isfinite(list(p.values())).all():
        raise ValueError(
            "the losses have a minimum in N but not in D at fewer than two budgets; "
            "add sizes on both sides of the valley at more budgets"
        )
    law = Frontier(p["N0"], p["a"], p["D0"], p["b"], C0=float(np.exp(centre)))
    residual = logN[0] - np.log(p["N0"]) - p["a"] * (logC - centre)
    return IsoflopFit(
        "isoflop",
        law,
        p,
        float(np.nansum(residual**2)),
        "converged",
        len(N),
        warnings=_warnings(valleys, len(rows)),
        refit=refit,
        strata=budget,
        groups=None if groups is None else np.asarray(groups),
        valleys=valleys,
    )


def _vertices(x, loss, rows, w):
    """log of the vertex at each budget, (K, budgets), NaN where the profile has no minimum."""
    fits = [parabola(x[r], loss[r], w[:, r]) for r in rows]
    vertex = []
    for c, centre in fits:
        with np.errstate(invalid="ignore", divide="ignore"):
            vertex.append(np.where(c[:, 2] > 0, centre - c[:, 1] / (2 * c[:, 2]), np.nan))
    return np.stack(vertex, axis=1), fits


def _frontiers(x, y, loss, rows, logC, W):
    n0, a = line(logC, _vertices(x, loss, rows, W)[0], 1.0)
    d0, b = line(logC, _vertices(y, loss, rows, W)[0], 1.0)
    with np.errstate(over="ignore"):  # a resample with two budgets side by side extrapolates wildly
        return {"N0": np.exp(n0), "a": a, "D0": np.exp(d0), "b": b}


def _valleys(N, D, loss, C, rows, w, logN, fits):
    logD = _vertices(np.log(D), loss, rows, w)[0][0]
    out = []
    for k, r in enumerate(rows):
        c = fits[k][0][0]
        low, high = np.log(N[r].min()), np.log(N[r].max())
        out.append(
            Valley(
                C=float(np.exp(np.log(C[r]).mean())),
                runs=len(r),
                N=float(np.exp(logN[k])),
                D=float(np.exp(logD[k])),
                loss=float(c[0] - c[1] ** 2 / (4 * c[2])) if c[2] > 0 else np.nan,
                curvature=float(c[2]),
                position=float((logN[k] - low) / (high - low)) if high > low else np.nan,
            )
        )
    return tuple(out)


def _warnings(valleys, budgets):
    out = []
    usable = [v for v in valleys if np.isfinite(v.N)]
    if budgets > len(usable):
        lost = ", ".join(f"{v.C:.2g}" for v in valleys if not np.isfinite(v.N))
        out.append(f"no minimum at C = {lost} FLOPs: those budgets were left out")
    if len(usable) < 5:
        out.append(f"only {len(usable)} budgets: the exponent rests on {len(usable)} points")
    outside = [v for v in usable if not 0 <= v.position <= 1]
    if outside:
        out.append(
            "minimum outside the sizes sampled at C = " + ", ".join(f"{v.C:.2g}" for v in outside) + " FLOPs"
        )
    off = [v for v in usable if 0 <= v.position <= 1 and not 0.25 <= v.position <= 0.75]
    if off:
        out.append(
            "grid off-centre (minimum in its outer quarter) at C = "
            + ", ".join(f"{v.C:.2g}" for v in off)
            + " FLOPs: the parabola is biased there"
        )
    return tuple(out)
