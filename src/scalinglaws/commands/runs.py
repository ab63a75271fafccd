"""The runs that `scalinglaws fit` is given: any table people have, or one that `scalinglaws sweep` wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..fit import checks
from ..fit.columns import Reading, interpret
from ..fit.reading import TableError, read_table
from . import UserError

SWEPT = {"hash", "branches", "evaluate_at"}  # columns only a stored table of runs has


def read(options) -> Reading:
    """The runs as `options` say to read them. Raises UserError, one line that names place and remedy."""
    try:
        table = read_table(options.runs, max_rows=options.max_rows)
        if SWEPT <= set(map(str, table.frame.columns)):
            return _stored(options, table)
        if options.count is not None:
            raise TableError(
                f"{table.name}: --count is for the tables of `scalinglaws sweep`; use --columns N=HEADER"
            )
        columns = dict(options.columns)
        if options.run_column not in (None, "none"):
            columns["run"] = options.run_column
        conditions = [options.by] if options.by else []
        reading = interpret(
            table,
            columns=columns,
            scale=options.scale,
            loss_unit=options.loss_unit,
            drop_diverged=options.drop_diverged,
            weights=options.weights,
            keep=tuple(conditions + _columns_of(options.holdout, table)),
        )
        checks.sound(reading, check_order=not options.keep_columns)
    except TableError as error:
        raise UserError(str(error)) from None
    runs = reading.runs
    if options.run_column == "none":
        runs = runs.assign(run=np.arange(len(runs)).astype(str))
    try:
        runs = checks.without_repeats(runs, options.repeated)
    except TableError as error:
        raise UserError(f"{options.runs}: {error}") from None
    said = reading.said
    if options.repeated == "drop":
        said += (f"{len(reading.runs) - len(runs)} rows on repeated data left out",)
    elif options.repeated == "effective":
        said += ("D counted in fresh tokens worth as much as the repeated ones",)
    return Reading(runs, reading.table, said, reading.warnings)


def _columns_of(expression, table) -> list[str]:
    """The columns of the table that a hold-out expression names."""
    return [str(c) for c in table.frame.columns if expression and str(c) in expression and len(str(c)) > 1]


def read_curves(options, reading: Reading) -> Reading:
    """What envelope should see: the training curves of a swept table, otherwise the same runs."""
    if not SWEPT <= set(map(str, reading.table.frame.columns)):
        return reading
    curves = read_stored(options.runs, "envelope", options.count or "total").reset_index(drop=True)
    return Reading(curves, reading.table, reading.said)


def _stored(options, table) -> Reading:
    for given, flag in (
        (options.columns, "--columns"),
        (options.scale, "--scale"),
        (options.loss_unit, "--loss-unit"),
        (options.weights, "--weights"),
        (options.by, "--by"),
        (options.run_column, "--run"),
    ):
        if given:
            raise UserError(
                f"{options.runs}: {flag} is not for a table of `scalinglaws sweep`, whose columns are known"
            )
    count = options.count or "total"
    runs = read_stored(options.runs, options.method, count).reset_index(drop=True)
    said = (f"runs of `scalinglaws sweep` at their best learning rates, N = {count} parameters",)
    return Reading(runs, table, said)


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
        raise UserError(str(error)) from None
    table = tuned(table)
    if not len(table):
        raise UserError(f"{path}: no finished run in it")
    if method == "envelope":
        return as_curves(table, count)
    trunks = table[table["branches"].map(len) > 0]
    if len(trunks):  # a run with cooldowns is a run at each of its lengths
        ends = branches(trunks)
        return ends.assign(N=ends[COUNTS[count]].astype(float))[["N", "D", "loss", "C", "run"]]
    return as_runs(table, count)
