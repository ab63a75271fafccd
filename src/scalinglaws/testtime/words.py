"""Numbers of the chapter's sentences, as text."""

from __future__ import annotations

from collections.abc import Iterable


def span(interval: tuple[float, float], digits: int = 3) -> str:
    """An interval as "low to high", with signs where it reaches below zero."""
    low, high = interval
    sign = "+" if low < 0 else ""
    return f"{low:{sign}.{digits}f} to {high:{sign}.{digits}f}"


def percent(share: float) -> str:
    """A share between 0 and 1 in whole per cent."""
    return f"{100 * share:.0f} %"


def listed(values: Iterable[float], digits: int = 2) -> str:
    """Values in a row, separated by commas."""
    return ", ".join(f"{v:.{digits}f}" for v in values)
