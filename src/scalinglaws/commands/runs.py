"""Reading a table of training runs, and refusing one that cannot be fitted.

Every complaint is one line that names the row and the column. Rows are numbered as in an
editor: the header is line 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..fit import group_budgets
from . import UserError

MAX_ROWS = 100_000
LEAST_ROWS = {"surface": 6, "varpro": 6, "isoflop": 6, "envelope": 6}


def read_stored(path: str | Path, method: str, count: str) -> pd.DataFrame:
    """N, D, loss, C (and run) of a table that `scalinglaws sweep` wrote, at the best learning rates.

    Raises UserError when it is no such table or holds no finished run.
    """
    from ..lm.runs import COUNTS, as_curves, as_runs, branches, tuned
    from ..lm.store import StoreError, read_table

    try:
        table = read_table(Path(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except StoreError as error:
        raise UserError(f"{error}; other tables of runs are read as CSV") from None
    table = tuned(table)
    if not len(table):
        raise UserError(f"{path}: no finished run in it")
    if method == "envelope":
        return as_curves(table, count)
    trunks = table[table["branches"].map(len) > 0]
    if len(trunks):  # a run with cooldowns is a run at each of its lengths
        ends = branches(trunks)
        return ends.assign(N=ends[COUNTS[count]].astype(float))[["N", "D", "loss", "C"]]
    return as_runs(table, count)


def read_runs(path: str | Path, *, max_rows: int = MAX_ROWS, check_order: bool = True) -> pd.DataFrame:
    """Columns N, D, loss (and C, run if there), one row a run or a point of a training curve.

    N parameters, D tokens, loss nats per token, C FLOPs. Raises UserError for a file that
    cannot be read, a missing column, a cell that is not a positive number, a repeated row,
    too many rows, or N and D that look exchanged (`check_order`).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            header=None,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise UserError(
            f"{path}: the file is empty; it needs a header line N,D,loss and a row per run"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not a comma-separated text table in UTF-8 (byte {error.start}); save it as CSV UTF-8"
        ) from None
    except pd.errors.ParserError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{path}: not a comma-separated text table ({reason})") from None
    header, table = [str(c).strip() for c in table.iloc[0]], table.iloc[1:].reset_index(drop=True)
    repeated = [c for c in ("N", "D", "loss", "C", "run") if header.count(c) > 1]
    if repeated:
        raise UserError(f"{path}: line 1: column {repeated[0]} appears twice; keep one")
    table.columns = header
    while len(table) and (table.iloc[-1] == "").all():
        table = table.iloc[:-1]
    _columns(path, table)
    if not len(table):
        raise UserError(f"{path}: there is a header but no run; add a row per run")
    if len(table) > max_rows:
        raise UserError(
            f"{path}: {len(table):,} rows, the limit is {max_rows:,}: keep one row a run (or thin the training "
            f"curves), or raise --max-rows"
        )
    keep = [c for c in ("N", "D", "loss", "C") if c in table.columns]
    runs = pd.DataFrame({c: _numbers(path, table[c], c) for c in keep})
    if "run" in table.columns:
        runs["run"] = _labels(path, table["run"], runs["N"])
    _duplicates(path, runs)
    if check_order:
        _order(path, runs)
    _compute(path, runs)
    return runs


def _columns(path, table):
    missing = [c for c in ("N", "D", "loss") if c not in table.columns]
    if not missing:
        return
    header = " ".join(table.columns)
    for delimiter, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "spaces")):
        if len(table.columns) == 1 and delimiter in header:
            raise UserError(f"{path}: line 1: the columns are separated by {name}; separate them by commas")
    near = {c.lower(): c for c in table.columns}
    hint = next((f" (is {near[m.lower()]!r} meant?)" for m in missing if m.lower() in near), "")
    raise UserError(
        f"{path}: line 1: column {', '.join(missing)} missing{hint}; the header has {', '.join(table.columns)}"
    )


RANGES = {"N": (1, 1e18), "D": (1, 1e20), "loss": (1e-6, 1e3), "C": (1, 1e40)}


def _numbers(path, column: pd.Series, name: str) -> np.ndarray:
    text = column.fillna("").str.strip()
    values = pd.to_numeric(text, errors="coerce").to_numpy(float)
    low, high = RANGES[name]
    bad = ~np.isfinite(values) | (values < low) | (values > high)
    if bad.any():
        row = int(np.argmax(bad))
        cell = text.iloc[row]
        if cell == "":
            problem = "is empty"
        elif cell.lower() in ("nan", "inf", "-inf", "infinity", "-infinity", "na", "n/a", "null", "none"):
            problem = f"is {cell}"
        elif np.isfinite(values[row]) and values[row] <= 0:
            problem = f"is {cell}, not positive"
        elif np.isfinite(values[row]):
            problem = f"is {cell}, not between {low:g} and {high:g}"
        else:
            problem = f"is {cell!r}, not a number"
        unit = {"N": "parameters", "D": "tokens", "loss": "nats per token", "C": "FLOPs"}[name]
        raise UserError(f"{path}: line {row + 2}: column {name} {problem}; give {unit}, or delete the row")
    return values


def _labels(path, column: pd.Series, N: pd.Series) -> np.ndarray:
    labels = column.fillna("").str.strip()
    if (labels == "").any():
        row = int(np.argmax(labels == ""))
        raise UserError(f"{path}: line {row + 2}: column run is empty; name the training curve of every row")
    first = N.groupby(labels.to_numpy()).transform("first")
    if (first != N).any():
        row = int(np.argmax(first != N))
        raise UserError(
            f"{path}: line {row + 2}: column run: curve {labels.iloc[row]!r} has N = {first.iloc[row]:.4g} above and "
            f"{N.iloc[row]:.4g} here; a training curve has one size"
        )
    return labels.to_numpy()


def _duplicates(path, runs):
    again = runs.duplicated(keep=False)
    if again.any():
        first = int(np.argmax(again))
        second = int(np.flatnonzero(runs.eq(runs.iloc[first]).all(axis=1))[1])
        raise UserError(
            f"{path}: lines {first + 2} and {second + 2} are the same run (N, D, loss equal); delete one, "
            "a repeated row counts twice"
        )


def _order(path, runs):
    ratio = float(np.median(runs["D"] / runs["N"]))
    if ratio < 0.5:
        raise UserError(
            f"{path}: columns N and D look exchanged: half of the runs have fewer than {ratio:.2g} tokens (D) a "
            "parameter (N); exchange the headers, or pass --keep-columns if this is meant"
        )


def _compute(path, runs):
    if "C" not in runs:
        return
    ratio = runs["C"] / (6 * runs["N"] * runs["D"])
    off = (ratio < 0.1) | (ratio > 10)
    if off.any():
        row = int(np.argmax(off))
        raise UserError(
            f"{path}: line {row + 2}: column C is {ratio.iloc[row]:.2g} times 6·N·D; C must be in FLOPs "
            "(1 PF-day is 8.64e19), N in parameters, D in tokens"
        )


def check_enough(path, runs: pd.DataFrame, method: str) -> None:
    """Raise UserError when `method` cannot determine its parameters from these runs."""
    least = LEAST_ROWS[method]
    if len(runs) < least:
        raise UserError(
            f"{path}: {len(runs)} rows; {method} has five unknowns or two frontiers and needs at least {least}"
        )
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    if C.max() / C.min() < 1.5:
        raise UserError(
            f"{path}: columns N and D: all runs have one budget, C = {np.sqrt(C.max() * C.min()):.3g} FLOPs; "
            "add runs at other budgets"
        )
    for name in ("N", "D"):
        if runs[name].nunique() < 3:
            raise UserError(
                f"{path}: column {name} has {runs[name].nunique()} different value(s); a law in N and D needs three"
            )
    if method == "isoflop":
        budget = group_budgets(C)
        spread = C.groupby(budget).transform(lambda c: c.max() / c.min())
        if spread.max() > 1.5:
            row = int(np.argmax(spread > 1.5))
            raise UserError(
                f"{path}: line {row + 2}: columns N and D: the budgets run into each other (C varies "
                f"{spread.iloc[row]:.2g}-fold where no gap separates two budgets); isoflop needs runs at a few "
                "budgets, use --method surface for scattered ones"
            )
        sizes = runs.groupby(budget)["N"].nunique()
        alone = ~np.isin(budget, sizes.index[sizes >= 3])
        if alone.mean() > 1 / 3:
            row = int(np.argmax(alone))
            raise UserError(
                f"{path}: line {row + 2}: columns N and D: this run and {int(alone.sum()) - 1} others have fewer "
                "than two companions at their budget; use --method surface for scattered runs"
            )
        if (sizes >= 3).sum() < 2:
            raise UserError(
                f"{path}: column N: {int((sizes >= 3).sum())} of {len(sizes)} budgets have three sizes or more; "
                "isoflop needs two such budgets (use --method surface for scattered runs)"
            )
    if method == "envelope":
        curve = runs["run"] if "run" in runs else runs["N"]
        counts = curve.value_counts()
        if counts.min() < 2:
            row = int(np.argmax(curve == counts.idxmin()))
            raise UserError(
                f"{path}: line {row + 2}: the training curve of N = {runs['N'].iloc[row]:.4g} has one row; envelope "
                "takes several rows per N, points along training curves"
            )
