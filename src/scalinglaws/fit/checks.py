"""Refusing runs that cannot be fitted, in one line that names the place and the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..laws.repeats import MUENNIGHOFF, worth
from .columns import Reading
from .lines import group_budgets
from .reading import TableError

LEAST_RUNS = 6


def sound(reading: Reading, *, check_order: bool = True) -> None:
    """Raise TableError for a repeated row, N and D that look exchanged, or C that is no number of FLOPs."""
    runs, name = reading.runs, reading.table.name
    again = runs.duplicated(["N", "D", "loss"], keep=False).to_numpy()
    if again.any():  # seeds may agree to the last digit; a row pasted twice agrees in every column
        rows = reading.table.frame.iloc[runs.index[again]].astype(str)
        same = rows.duplicated(keep=False).to_numpy()
        if same.any():
            first = int(np.argmax(same))
            second = int(np.flatnonzero((rows == rows.iloc[first]).all(axis=1))[1])
            at = np.flatnonzero(again)
            word = reading.table.place
            places = [reading.where(at[k]).removeprefix(word + " ") for k in (first, second)]
            raise TableError(
                f"{name}: {word}s {places[0]} and {places[1]} are the same run (N, D, loss equal); delete one, a repeated "
                "row counts twice (or add a column seed that tells them apart)"
            )
    ratio = float(np.median(runs["D"] / runs["N"]))
    if check_order and ratio < 0.5:
        raise TableError(
            f"{name}: columns N and D look exchanged: half of the runs have fewer than {ratio:.2g} tokens (D) a "
            "parameter (N); exchange the headers, or pass --keep-columns if this is meant"
        )
    if "C" in runs:
        ratio = (runs["C"] / (6 * runs["N"] * runs["D"])).to_numpy()
        off = (ratio < 0.1) | (ratio > 10)
        if off.any():
            row = int(np.argmax(off))
            raise TableError(
                f"{name}: {reading.where(row)}: column C is {ratio[row]:.2g} times 6·N·D; C must be in FLOPs "
                "(1 PF-day is 8.64e19: --scale C=8.64e19), N in parameters, D in tokens"
            )


def without_repeats(runs: pd.DataFrame, how: str) -> pd.DataFrame:
    """Runs on repeated data (D > unique_tokens) kept ("keep"), left out ("drop") or counted as fresh ones ("effective").

    "effective" puts D' = U·(1 + R*(1 − e^{−R/R*})) in place of D, the fresh tokens that are worth
    as much (Muennighoff et al. 2023, with their R* = 15.39), and scales C with it.
    Raises TableError without a column unique_tokens.
    """
    if how == "keep":
        return runs
    if "unique_tokens" not in runs:
        raise TableError(f"--repeated {how} needs a column unique_tokens: the distinct tokens of each run")
    epochs = np.maximum(runs["D"] / runs["unique_tokens"], 1.0)
    if how == "drop":
        return runs[epochs <= 1.01].drop(columns="unique_tokens")
    share = worth(epochs, MUENNIGHOFF.R_D) / epochs
    C = {"C": runs["C"] * share} if "C" in runs else {}
    return runs.assign(D=runs["D"] * share, **C).drop(columns="unique_tokens")


def enough(runs: pd.DataFrame, method: str, where=lambda k: f"row {k + 1}") -> None:
    """Raise TableError when `method` cannot determine its parameters from these runs."""
    n = len(runs)
    if n < LEAST_RUNS:
        raise TableError(
            f"{n} rows; {method} has five unknowns or two frontiers and needs at least {LEAST_RUNS}"
        )
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    if C.max() / C.min() < 1.5:
        raise TableError(
            f"columns N and D: all runs have one budget, C = {np.sqrt(C.max() * C.min()):.3g} FLOPs; "
            "add runs at other budgets"
        )
    for name in ("N", "D"):
        if runs[name].nunique() < 3:
            raise TableError(
                f"column {name} has {runs[name].nunique()} different value(s); a law in N and D needs three"
            )
    if len(runs.groupby(["N", "D"])) < LEAST_RUNS and method in ("surface", "varpro"):
        raise TableError(
            f"{len(runs.groupby(['N', 'D']))} different (N, D); a law with five unknowns needs at least {LEAST_RUNS}"
        )
    if method == "isoflop":
        _budgets(runs, C, where)
    if method == "envelope":
        _curves(runs, where)


def _budgets(runs, C, where):
    budget = group_budgets(C)
    spread = C.groupby(budget).transform(lambda c: c.max() / c.min()).to_numpy()
    if spread.max() > 1.5:
        row = int(np.argmax(spread > 1.5))
        nominal = (
            "round column C to the nominal budgets"
            if "C" in runs
            else "add a column C with the nominal budget of each run"
        )
        raise TableError(
            f"{where(row)}: columns N and D: the budgets run into each other (C varies {spread[row]:.2g}-fold "
            f"where no gap separates two budgets): if these are IsoFLOP profiles whose FLOPs are not 6·N·D, {nominal}; for "
            "scattered runs use --method surface"
        )
    sizes = runs["N"].groupby(budget).nunique()
    alone = ~np.isin(budget, sizes.index[sizes >= 3])
    if alone.mean() > 1 / 3:
        row = int(np.argmax(alone))
        raise TableError(
            f"{where(row)}: columns N and D: this run and {int(alone.sum()) - 1} others have fewer than two companions at their "
            "budget; use --method surface for scattered runs, or add a column C with the nominal budgets"
        )
    if (sizes >= 3).sum() < 2:
        raise TableError(
            f"column N: {int((sizes >= 3).sum())} of {len(sizes)} budgets have three sizes or more; "
            "isoflop needs two such budgets (use --method surface for scattered runs)"
        )


def _curves(runs, where):
    if "weight" in runs:
        raise TableError("envelope takes the lowest loss, whatever the weights; leave --weights out")
    curve = runs["run"] if "run" in runs else runs["N"]
    counts = curve.value_counts()
    if counts.min() < 2:
        row = int(np.argmax((curve == counts.idxmin()).to_numpy()))
        raise TableError(
            f"{where(row)}: the training curve of N = {runs['N'].iloc[row]:.4g} has one row; envelope "
            "takes several rows per N, points along training curves"
        )
