"""Weighted lines and parabolas for many resamples at once, and the grouping of budgets."""

from __future__ import annotations

import numpy as np


def line(x, y, w):
    """Weighted least squares y ≈ intercept + slope·x along the last axis; NaNs carry no weight.

    Returns intercept and slope, NaN where fewer than two distinct x remain.
    """
    x, y, w = np.broadcast_arrays(x, y, w)
    ok = np.isfinite(x) & np.isfinite(y)
    w = np.where(ok, w, 0.0)
    x, y = np.where(ok, x, 0.0), np.where(ok, y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = w.sum(-1)
        mx, my = (w * x).sum(-1) / total, (w * y).sum(-1) / total
        dx = x - mx[..., None]
        spread = (w * dx**2).sum(-1)
        slope = (w * dx * (y - my[..., None])).sum(-1) / np.where(spread > 1e-12 * total, spread, np.nan)
    return my - slope * mx, slope


def parabola(x, y, w):
    """Weighted least squares y ≈ c₀ + c₁(x − x̄) + c₂(x − x̄)², x and y (n,), w (K, n).

    Returns coefficients (K, 3) and x̄; rows with fewer than three distinct x are NaN.
    """
    centre = x.mean()
    powers = np.stack([(x - centre) ** k for k in range(5)], axis=1)
    moments = w @ powers
    hankel = moments[:, np.add.outer(np.arange(3), np.arange(3))]
    right = (w * y) @ powers[:, :3]
    order = np.argsort(x, kind="stable")
    first = np.flatnonzero(np.diff(x[order], prepend=-np.inf) > 0)
    present = np.add.reduceat(np.broadcast_to(w, (len(w), len(x)))[:, order], first, axis=1) > 0
    usable = present.sum(axis=1) >= 3
    coefficients = np.full((len(w), 3), np.nan)
    if usable.any():
        coefficients[usable] = np.linalg.solve(hankel[usable], right[usable][..., None])[..., 0]
    return coefficients, centre


def group_budgets(C, ratio: float = 1.2) -> np.ndarray:
    """Label each run with its compute budget: sorted budgets more than `ratio` apart are different."""
    C = np.asarray(C, float)
    order = np.argsort(C, kind="stable")
    step = np.diff(np.log(C[order])) > np.log(ratio)
    labels = np.empty(len(C), int)
    labels[order] = np.concatenate([[0], np.cumsum(step)])
    return labels


def assign_budgets(C, budgets, tolerance: float = 0.15) -> np.ndarray:
    """Index of the budget within a factor 1 + tolerance of each run, −1 where there is none."""
    distance = np.abs(np.log(np.asarray(C, float)[:, None] / np.asarray(budgets, float)))
    nearest = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= np.log1p(tolerance), nearest, -1)
