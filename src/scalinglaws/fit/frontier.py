"""From IsoFLOP losses to a frontier without a parabola: interpolated minima and a weighted line.

The procedure of Porian et al. (2024), Section 3: at each budget the loss is interpolated in
log–log space by Akima splines through the sizes, the minimum gives N_opt, and log N_opt is
regressed on log C. A minimum at the smallest or largest size is left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.interpolate import Akima1DInterpolator

from .lines import group_budgets, line
from .result import percentile, resample_weights


def interpolated_minimum(N, loss, points: int = 4000) -> float:
    """N at the minimum of an Akima spline of log loss on log N; NaN at an end or with fewer than three sizes."""
    best = pd.Series(np.asarray(loss, float)).groupby(np.asarray(N, float)).min()
    if len(best) < 3:
        return np.nan
    x = np.log(best.index.to_numpy())
    grid = np.linspace(x[0], x[-1], points)
    k = int(np.argmin(Akima1DInterpolator(x, np.log(best.to_numpy()))(grid)))
    return float(np.exp(grid[k])) if 0 < k < points - 1 else np.nan


def interpolated_frontier(runs: pd.DataFrame) -> pd.DataFrame:
    """Columns C and N_opt, one row a budget with an interior minimum.

    `runs` has columns C, N, loss; runs whose C differ by less than 20 % share a budget.
    """
    budgets = runs.groupby(group_budgets(runs["C"]))
    rows = [(np.exp(np.log(g["C"]).mean()), interpolated_minimum(g["N"], g["loss"])) for _, g in budgets]
    return pd.DataFrame(rows, columns=["C", "N_opt"]).dropna(ignore_index=True)


def frontier_exponent(C, N_opt, weights=None, *, resamples: int = 2000, level: float = 0.95, seed: int = 0):
    """Slope of log N_opt on log C by weighted least squares, and its interval over resampled budgets."""
    value, drawn = frontier_draws(C, N_opt, weights, resamples=resamples, seed=seed)
    return value, percentile(drawn, level)


def frontier_draws(C, N_opt, weights=None, *, resamples: int = 2000, seed: int = 0):
    """The slope of `frontier_exponent`, and the slopes [resamples] over resampled budgets."""
    x, y = np.log(np.asarray(C, float)), np.log(np.asarray(N_opt, float))
    w = np.ones_like(x) if weights is None else np.asarray(weights, float)
    W = resample_weights(len(x), resamples, np.random.default_rng(seed)) * w
    return float(line(x, y, w)[1]), line(x, y, W)[1]


def luck_draws(runs: pd.DataFrame, luck: dict, *, seed: int = 0, points: int = 1000) -> np.ndarray:
    """Slopes [resamples] of the frontier had every run had other luck, budgets resampled on top; NaN without a line or a luck.

    runs: columns C, N, loss and run. luck: run → what is added to its log loss, [resamples], at every budget that
    is read off it, since one run is lucky or not as a whole. Frontiers that share runs, given the same `luck`,
    are compared in pairs. A minimum that moves to the smallest or largest size is left out, as in
    `interpolated_minimum`; of several runs of one size the best counts.
    """
    draws = len(next(iter(luck.values())))
    if not all(np.isfinite(luck[r]).all() for r in runs["run"]):  # nobody knows the spread of a seed
        return np.full(draws, np.nan)
    at, minima, runs = [], [], runs.sort_values("N", kind="stable")
    for _, budget in runs.groupby(group_budgets(runs["C"])):
        N, first = np.unique(np.log(budget["N"].to_numpy(float)), return_index=True)
        if len(N) < 3:
            continue
        each = np.log(budget["loss"].to_numpy())[:, None] + np.stack([luck[r] for r in budget["run"]])
        grid = np.linspace(N[0], N[-1], points)
        low = Akima1DInterpolator(N, np.minimum.reduceat(each, first))(grid).argmin(axis=0)
        minima.append(np.where((low > 0) & (low < points - 1), grid[low], np.nan))
        at.append(np.log(budget["C"]).mean())
    if len(at) < 2:
        return np.full(draws, np.nan)
    weights = resample_weights(len(at), draws, np.random.default_rng(seed))
    return line(np.array(at), np.array(minima).T, weights)[1]
