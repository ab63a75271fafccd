"""Columns of numbers out of people's tables, for commands that say themselves what they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..fit.columns import to_numbers
from ..fit.reading import Table, TableError, read_table


@dataclass(frozen=True)
class Rows:
    """What was read: columns of numbers by name, labels of runs or None, how it was read, and the table."""

    frame: pd.DataFrame
    groups: np.ndarray | None
    said: list[str]
    table: Table


def read_numbers(options, wanted: Sequence[str], reader: str, signed: Sequence[str] = (), output: str = "", run: str | None = None) -> Rows:
    """The wanted columns of `options.runs` as numbers, positive but for those in `signed`, and the labels of `options.run_column`.

    `options.columns` maps a name to a header, `options.scale` to a factor; rows without a positive `output` are left out with
    `options.drop_diverged`. reader: what asks for them, for messages. run: the column of the labels where none is named and
    the table has it. Raises TableError with place and remedy.
    """
    table = read_table(options.runs, max_rows=options.max_rows)
    headers = [str(c) for c in table.frame.columns]
    said, found = list(table.said), {}
    for name in wanted:
        header = options.columns.get(name, name)
        if headers.count(header) != 1:
            problem = "appears twice" if header in headers else "is missing"
            raise TableError(
                f"{table.name}: column {header} {problem}; {reader} reads {', '.join(wanted)}: name it with "
                f"--columns {name}=HEADER; the header has {', '.join(headers[:30])}"
            )
        cells = table.frame[header]
        values = to_numbers(cells, table.decimal_comma) * options.scale.get(name, 1.0)
        if header != name:
            said.append(f"{name} from column {header!r}")
        found[name] = values
    frame = pd.DataFrame(found)
    bad = ~(np.isfinite(frame) & ((frame > 0) | frame.columns.isin(signed)))
    if options.drop_diverged:
        lost = bad[output].to_numpy()
        said.append(f"{int(lost.sum())} rows without a positive {output} left out")
        frame, bad = frame[~lost], bad[~lost]
    if bad.to_numpy().any():
        row, column = (int(k[0]) for k in np.nonzero(bad.to_numpy()))
        name, place = wanted[column], int(frame.index[row])
        cell = str(table.frame[options.columns.get(name, name)].iloc[place]).strip()
        give = "a number" if name in signed else "a positive number"
        raise TableError(f"{table.name}: {table.where(place)}: column {name} is {cell!r}; give {give}, or delete the row")
    groups, column = None, options.run_column or (run if run in headers else "none")
    if column != "none":
        if column not in headers:
            raise TableError(f"{table.name}: no column {column}; the header has {', '.join(headers[:30])}")
        groups = table.frame[column].astype(str).to_numpy()[frame.index]
    return Rows(frame.reset_index(drop=True), groups, said, table)
