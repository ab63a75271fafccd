"""Numbers and curves in the form in which sentences, tables and the data behind figures want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd


def span(bounds: Sequence[float], digits: int = 2) -> str:
    """An interval as "low to high", with signs where it begins below zero. Raises ValueError for other than two ends."""
    low, high = bounds
    sign = "+" if low < 0 else ""
    return f"{low:{sign}.{digits}f} to {high:{sign}.{digits}f}"


def listed(values: Iterable[float], digits: int = 2) -> str:
    """Values with so many decimals, joined by commas."""
    return ", ".join(f"{v:.{digits}f}" for v in values)


def percent(share: float) -> str:
    """A share 0 … 1 as whole per cent."""
    return f"{100 * share:.0f} %"


def tidy(lines: Mapping, names: Sequence[str]) -> pd.DataFrame:
    """Labelled curves as a table with a row a point.

    lines: label, or tuple of labels → (x, y), sequences of the same length. names: the columns, for the labels and
    then for x and y. Raises ValueError where x and y differ in length.
    """
    rows = []
    for label, (x, y) in lines.items():
        labels = label if isinstance(label, tuple) else (label,)
        rows += [(*labels, a, b) for a, b in zip(x, y, strict=True)]
    return pd.DataFrame(rows, columns=list(names))
