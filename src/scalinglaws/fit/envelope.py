"""Approach 1: the lower envelope of training curves.

Source: Hoffmann et al. (2022), Section 3.1. Every run's loss is interpolated along its
training; on a log-spaced grid of compute the run with the lowest loss gives N_opt(C) and
D_opt(C), and a line is fitted to each in log–log space.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..laws import Frontier
from .lines import line
from .result import Fit

CANDIDATES = 32
"""Runs kept in order of loss at each point of the grid; a resample that misses them all is NaN there."""

LEAST_KEPT = 0.2  # of the grid, for trimming
MOST_CURVE_POINTS = 15_000_000  # curves × grid held at once: 120 MB a table


@dataclass(frozen=True)
class EnvelopeFit(Fit):
    """A `Fit` with the envelope behind it: compute, winning N and D, loss, and which points were fitted."""

    C: Any = field(default=None, repr=False)
    N_opt: Any = field(default=None, repr=False)
    D_opt: Any = field(default=None, repr=False)
    loss: Any = field(default=None, repr=False)
    used: Any = field(default=None, repr=False)


def fit_envelope(N, D, loss, C=None, *, run=None, grid: int = 1500, trim: bool = False) -> EnvelopeFit:
    """N_opt = N0·(C/C0)^a and D_opt = D0·(C/C0)^b from the envelope of training curves.

    N parameters, D tokens seen, loss nats per token, C FLOPs (6·N·D if not given), each (n,):
    several rows a run. `run` labels the curve a row belongs to (default: one curve per N).
    Points of the grid (1500 in the paper) where the smallest or the largest model wins say
    only that the optimum lies beyond it; they are left out of the lines. That selects by outcome:
    near the ends only runs lucky in the other direction are left, and noise between runs bends
    the slope. `trim` selects by the line instead: the points where its N_opt is two standard
    deviations of the winners inside the range of sizes. The bootstrap resamples whole curves. `objective` is the mean squared residual of log N_opt.
    Raises ValueError when no interior point of the envelope remains.
    """
    N, D, loss = (np.asarray(v, float) for v in (N, D, loss))
    C = 6 * N * D if C is None else np.asarray(C, float)
    labels = np.unique(N if run is None else run, return_inverse=True)[1]
    curves = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    curves = [r[np.argsort(C[r], kind="stable")] for r in curves]
    short = [float(N[r[0]]) for r in curves if len(r) < 2]
    if short:
        raise ValueError(
            f"the training curve of N = {short[0]:.4g} has one row; an envelope needs at least two a run"
        )
    if len(curves) * grid > MOST_CURVE_POINTS:
        raise ValueError(
            f"{len(curves):,} training curves are too many for an envelope; keep {MOST_CURVE_POINTS // grid:,}"
        )
    size = np.array([N[r[0]] for r in curves])

    logC = np.linspace(np.log(C.min()), np.log(C.max()), grid)
    table = np.stack(
        [np.interp(logC, np.log(C[r]), np.log(loss[r]), left=np.inf, right=np.inf) for r in curves]
    )
    tokens = np.stack([np.interp(logC, np.log(C[r]), np.log(D[r])) for r in curves])
    order = np.argsort(table, axis=0, kind="stable")[:CANDIDATES].T
    alive = np.isfinite(np.take_along_axis(table.T, order, axis=1))
    interior = (size > size.min()) & (size < size.max())
    everywhere = np.ones(grid, bool)
    centre = float(logC.mean())

    def winners(W):
        """Index of the winning curve on the grid under curve weights W (K, curves); −1 where none is left."""
        present = (W[:, order] > 0) & alive
        first = present.argmax(axis=2)
        chosen = np.take_along_axis(np.broadcast_to(order, present.shape), first[..., None], axis=2)[..., 0]
        return np.where(present.any(axis=2), chosen, -1)

    def refit(W):
        per_curve = np.stack([W[:, r[0]] for r in curves], axis=1)
        out = []
        chunk = max(1, (1 << 22) // order.size)
        for i in range(0, len(W), chunk):
            win = winners(per_curve[i : i + chunk])
            use = (win >= 0) & (interior[win] if kept is everywhere else kept)
            logN = np.where(use, np.log(size)[win], np.nan)
            logD = np.where(use, tokens[win, np.arange(grid)], np.nan)
            n0, a = line(logC - centre, logN, 1.0)
            d0, b = line(logC - centre, logD, 1.0)
            out.append({"N0": np.exp(n0), "a": a, "D0": np.exp(d0), "b": b})
        return {k: np.concatenate([o[k] for o in out]) for k in out[0]}

    win = winners(np.ones((1, len(curves))))[0]
    used = (win >= 0) & interior[win]
    if len(np.unique(size[win[used]])) < 2:
        raise ValueError(
            "fewer than two sizes between the smallest and the largest ever have the lowest loss; "
            "add sizes or longer curves"
        )
    N_opt, D_opt = size[win], np.exp(tokens[win, np.arange(grid)])
    kept, whole, warnings = everywhere, np.ones((1, len(N))), ()
    p = {k: float(v[0]) for k, v in refit(whole).items()}
    for _ in range(3 if trim else 0):
        predicted = np.log(p["N0"]) + p["a"] * (logC - centre)
        margin = 2 * np.std((np.log(N_opt) - predicted)[used])
        inside = (
            (win >= 0) & (predicted > np.log(size.min()) + margin) & (predicted < np.log(size.max()) - margin)
        )
        if inside.mean() < LEAST_KEPT or len(np.unique(N_opt[inside])) < 2:
            warnings = (
                "the sizes span too little for their scatter: points at the ends of the envelope bend the exponent",
            )
            break
        kept = used = inside
        p = {k: float(v[0]) for k, v in refit(whole).items()}
    law = Frontier(p["N0"], p["a"], p["D0"], p["b"], C0=float(np.exp(centre)))
    residual = np.log(N_opt / law.optimum(np.exp(logC)).N)[used]
    if used.mean() < (LEAST_KEPT if trim else 0.5):
        warnings += (
            f"the smallest or largest model wins at {100 * (1 - used.mean()):.0f} % of the grid: few points remain",
        )
    return EnvelopeFit(
        "envelope",
        law,
        p,
        float(np.mean(residual**2)),
        "converged",
        len(N),
        warnings=warnings,
        refit=refit,
        groups=labels,
        C=np.exp(logC),
        N_opt=N_opt,
        D_opt=D_opt,
        loss=np.exp(table[win, np.arange(grid)]),
        used=used,
    )
