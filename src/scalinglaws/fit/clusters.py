"""Which rows of a table are one run: what resampling may draw apart, and what it may not.

Rows of one training curve share its luck, and seeds at one (N, D) share whatever is peculiar to
that size and length. Intervals from resampled rows take such rows for independent evidence and
come out several times too narrow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .lines import group_budgets
from .reading import TableError
from .result import percentile

LEAST_POINTS = 8
"""Rows of one N with growing D that are taken for a training curve where no column names the runs."""


def clusters(runs: pd.DataFrame, where=lambda k: f"row {k + 1}") -> tuple[np.ndarray | None, str]:
    """Labels (n,) of the run each row belongs to, None where every row is one, and a sentence.

    runs: columns N, D, loss, perhaps C, and perhaps run, which decides where it is there.
    `where` names a row in a message. Raises TableError for a named run of several sizes.
    """
    n = len(runs)
    point = runs.groupby([_key(runs["N"]), _key(runs["D"])]).ngroup().to_numpy()
    if "run" in runs:
        _one_size(runs, where)
        labels = np.unique(runs["run"].astype(str), return_inverse=True)[1]
        if labels.max() + 1 < n:
            return labels, f"{labels.max() + 1} runs by column run; their rows are resampled together"
    elif (curve := training_curves(runs)) is not None:
        m = curve.max() + 1
        return curve, (
            f"{n} rows are points along {m} training curves (one N, growing D), resampled as {m} runs; --run none "
            "if every row was trained by itself, --run COLUMN to name the curves"
        )
    if point.max() + 1 < n:
        return point, f"{n} rows at {point.max() + 1} different (N, D): seeds of one run, resampled together"
    return None, ""


def _key(values) -> np.ndarray:
    return np.round(np.log(values.to_numpy(float)), 9)


def _one_size(runs, where):
    first = runs.groupby(runs["run"].to_numpy())["N"].transform("first").to_numpy()
    N = runs["N"].to_numpy()
    off = np.abs(np.log(first / N)) > 1e-6
    if off.any():
        row = int(np.argmax(off))
        raise TableError(
            f"{where(row)}: column run: {str(runs['run'].iloc[row])!r} has N = {first[row]:.4g} above and {N[row]:.4g} "
            "here; a run has one size (pass --run none if the column numbers seeds)"
        )


def training_curves(runs) -> np.ndarray | None:
    """Labels of training curves: neighbouring rows of one N with growing D, at most of the sizes."""
    N, D = _key(runs["N"]), runs["D"].to_numpy(float)
    new = np.r_[True, (np.diff(N) != 0) | (np.diff(D) <= 0)]
    labels = np.cumsum(new) - 1
    counts = np.bincount(labels)
    if counts[counts >= LEAST_POINTS].sum() < len(runs) / 2:
        return None
    return None if _isoflop(runs) else labels


def _isoflop(runs) -> bool:
    """Whether C takes a few values only, with several sizes each: then rows of one N are different runs."""
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    budget = group_budgets(C)
    grouped = pd.DataFrame({"C": np.log(C.to_numpy()), "N": _key(runs["N"])}).groupby(budget)
    tight = grouped["C"].agg(np.ptp) < np.log(1.1)
    return bool(tight.all() and (grouped["N"].nunique() >= 3).mean() > 0.5)


def interval_over(
    unit,
    statistic: Callable[[pd.DataFrame], float],
    table: pd.DataFrame,
    *,
    resamples=500,
    level=0.95,
    seed=0,
) -> tuple[float, float]:
    """Percentile interval of a statistic of a table, its units (runs, sizes; labels, a row each) drawn with replacement.

    A unit that is drawn twice is in the table twice; resamples without a value are left out. Raises ValueError for
    fewer than two units, which leave nothing to resample.
    """
    rows = list(pd.RangeIndex(len(table)).to_series().groupby(np.asarray(unit)).indices.values())
    if len(rows) < 2:
        raise ValueError("an interval needs at least two units to resample")
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(table.iloc[np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])])
        for _ in range(resamples)
    ]
    return percentile(np.asarray(drawn, float), level)


def slope_within(x, y, group) -> float:
    """Least-squares slope of y on x with an intercept for each group; NaN where no group has two values of x."""
    frame = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)})
    centred = frame - frame.groupby(np.asarray(group)).transform("mean")
    spread = (centred["x"] ** 2).sum()
    return float((centred["x"] * centred["y"]).sum() / spread) if spread > 1e-12 else np.nan
