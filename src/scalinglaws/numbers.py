"""Numbers as people write them."""

from __future__ import annotations

import math
from collections.abc import Iterable

_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def show(value, interval=None, unit: str = "", short: bool = False) -> str:
    """A value as people write it: as many digits as its interval supports (four without one), 73.2 B, 5.8×10²³.

    short: without the interval.
    """
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "holds" if value else "does not hold"
    ends = [float(e) for e in interval] if interval else []
    width = abs(ends[1] - ends[0]) if ends else 0.0
    step = 10.0 ** (math.floor(math.log10(width)) - 1) if width and math.isfinite(width) else None
    text = _written(value, step)
    if ends and not short:
        text += f" ({_written(ends[0], step)} to {_written(ends[1], step)})"
    return f"{text} {unit}".strip()


def scientific(value: float, digits: int = 1) -> str:
    """A number with its power of ten, as in 1.2×10¹⁵; digits: those after the point of the mantissa."""
    mantissa, power = f"{value:.{digits}e}".split("e")
    return f"{mantissa}×10{str(int(power)).translate(_POWERS)}".replace("-", "−")


def span(interval: Iterable[float], digits: int = 3) -> str:
    """An interval in a sentence, "0.123 to 0.456"; with signs, "−0.10 to +0.25", where it begins below zero.

    Raises ValueError for other than two ends.
    """
    low, high = interval
    sign = "+" if low < 0 else ""
    return f"{low:{sign}.{digits}f} to {high:{sign}.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share between 0 and 1 in whole per cent."""
    return f"{100 * share:.0f} %"


def listed(values: Iterable[float], digits: int = 2) -> str:
    """Values in a row, separated by commas."""
    return ", ".join(f"{v:.{digits}f}" for v in values).replace("-", "−")


def _written(value: float, step: float | None) -> str:
    """To the decimal place of `step`, or to four significant digits; thousands to trillions by letter."""
    if not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    scale, letter = next(
        ((s, n) for s, n in ((1e12, " T"), (1e9, " B"), (1e6, " M")) if s <= size < 1e3 * s), (1.0, "")
    )
    if scale == 1.0 and size and not 1e-4 <= size < 1e6:
        power = math.floor(math.log10(size))
        digits = 3 if step is None else min(3, max(0, power - math.floor(math.log10(step))))
        mantissa = f"{value / 10.0**power:.{digits}f}"
        return f"{mantissa}×10{str(power).translate(_POWERS)}".replace("-", "−", 1 if value < 0 else 0)
    if step is None:
        text = f"{value / scale:.4g}"
        text = f"{float(text):,.0f}" if "e" in text else text
    else:
        places = -math.floor(math.log10(step / scale) + 1e-9)
        text = f"{value / scale:.{min(places, 12)}f}" if places > 0 else f"{round(value / scale, places):.0f}"
    return text.replace("-", "−") + letter
