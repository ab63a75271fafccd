"""Damped Newton (Levenberg–Marquardt damping on the exact Hessian) for many small problems.

All problems share the points of one objective and differ in start, weights and bounds. They
advance in step; each keeps its own damping and leaves the batch when it has converged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ELEMENTS_AT_ONCE = 1 << 16
"""Problems × points in one chunk: the working arrays then stay in a core's cache."""
STALL = 40


@dataclass(frozen=True)
class Minimum:
    """Where K problems ended: t (K, 5) in centred coordinates, f (K,), flags and step counts (K,)."""

    t: np.ndarray
    f: np.ndarray
    converged: np.ndarray
    at_bound: np.ndarray
    steps: np.ndarray


def minimise(
    objective, start, weights, low, high, *, fixed=None, steps: int = 200, tolerance: float = 1e-13
) -> Minimum:
    """Minimise `objective` from each row of `start` within low ≤ t ≤ high.

    start (K, 5); weights (K, n) or (n,); low and high (5,); fixed (5,) of booleans keeps
    coordinates where they start. A problem has converged when its undamped Newton step promises less than
    `tolerance` of its objective, or when `STALL` steps together lowered the objective by less than a
    millionth (a flat valley of a few noisy runs, with the kinks of a small δ in it). `at_bound` (K, 5) marks coordinates held at a bound by the
    gradient.
    """
    start = np.atleast_2d(np.asarray(start, float))
    K, n = len(start), len(objective.x)
    weights = np.broadcast_to(weights, (K, n))
    fixed = np.zeros(5, bool) if fixed is None else np.asarray(fixed, bool)
    chunk = max(1, ELEMENTS_AT_ONCE // n)
    parts = [
        _minimise_chunk(
            objective, start[i : i + chunk], weights[i : i + chunk], low, high, fixed, steps, tolerance
        )
        for i in range(0, K, chunk)
    ]
    return Minimum(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _minimise_chunk(objective, start, weights, low, high, fixed, steps, tolerance):
    K = len(start)
    best = np.clip(start, low, high)
    value, converged, taken = np.empty(K), np.zeros(K, bool), np.zeros(K, int)
    bound = np.zeros((K, 5), bool)

    live = np.arange(K)
    t, w = best.copy(), np.ascontiguousarray(weights, float)
    f, g, H = objective.derivatives(t, w)
    value[:] = f
    damping, anchor = np.full(K, 1e-4), f.copy()
    for step in range(1, steps + 1):
        held = ((t <= low) & (g > 0)) | ((t >= high) & (g < 0))
        move, promise = _newton_step(g, H, damping, held | fixed)
        trial = np.clip(t + move, low, high)
        f_new, g_new, H_new = objective.derivatives(trial, w)
        better = f_new < f
        t = np.where(better[:, None], trial, t)
        f = np.where(better, f_new, f)
        g = np.where(better[:, None], g_new, g)
        H = np.where(better[:, None, None], H_new, H)
        damping = np.where(better, np.maximum(damping * 0.1, 1e-12), damping * 10)
        # `promise` is the decrease a quadratic model expects: tiny, at small damping, at a minimum;
        # at large damping it means that no step along any scale descends.
        done = (promise <= tolerance * np.maximum(f, 1e-300)) & ((damping <= 1e-2) | ~better) | (
            damping > 1e10
        )
        if step % STALL == 0:
            done |= anchor - f <= 1e-6 * f
            anchor = f.copy()
        if done.any() or step == steps:
            out = done if step < steps else np.ones_like(done)
            rows = live[out]
            best[rows], value[rows] = t[out], f[out]
            converged[rows], taken[rows], bound[rows] = done[out], step, held[out]
            keep = ~out
            if not keep.any():
                break
            live, t, w, f, g, H, damping, anchor = (
                live[keep],
                t[keep],
                w[keep],
                f[keep],
                g[keep],
                H[keep],
                damping[keep],
                anchor[keep],
            )
    return best, value, converged, bound, taken


def _newton_step(g, H, damping, held):
    """−(H + λ·diag|H|)⁻¹ g with held coordinates left out, and the decrease it promises."""
    K = len(g)
    diagonal = np.abs(np.einsum("kjj->kj", H))
    scale = np.sqrt(diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300)
    g = np.where(held, 0.0, g) / scale
    M = H / (scale[:, :, None] * scale[:, None, :])
    M = np.where(held[:, :, None] | held[:, None, :], 0.0, M)
    index = np.arange(5)
    M[:, index, index] = np.where(held, 1.0, M[:, index, index] + damping[:, None])
    try:
        step = np.linalg.solve(M, -g[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:  # a singular member: raise every damping a little
        M[:, index, index] += 1e-6
        step = np.linalg.solve(M, -g[:, :, None])[:, :, 0]
    uphill = np.einsum("kj,kj->k", g, step) > 0
    step = np.where(uphill[:, None], -g / (1 + damping[:, None]), step)
    promise = np.abs(np.einsum("kj,kj->k", g, step)) / 2
    return np.where(np.isfinite(step), step, 0.0) / scale, np.where(
        np.isfinite(promise), promise, np.inf
    ).reshape(K)
