"""What people write in options, as values, and values as JSON can hold them."""

from __future__ import annotations

import math
import re

from . import UserError


def pairs(flag, text, names) -> dict[str, str]:
    """`N=a,D=b` as a dictionary."""
    found = {}
    for part in text.split(",") if text else []:
        name, equals, value = (s.strip() for s in part.partition("="))
        if not (equals and value):
            raise UserError(f"{flag} {text}: write NAME=VALUE, separated by commas, e.g. {flag} N=…")
        if name not in names or name in found:
            problem = "is given twice" if name in found else f"is none of {', '.join(names)}"
            raise UserError(f"{flag} {text}: {name} {problem}")
        found[name] = value
    return found


def quantity(flag, text, unit) -> float:
    """A positive number as people write it: 5.76e23, 70B, 1.4T."""
    found = re.fullmatch(
        r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kmbt]?)", text.strip(), re.IGNORECASE
    )
    factor = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
    value = float(found[1]) * factor[found[2].lower()] if found else math.nan
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{flag} must be a positive number{' of ' + unit if unit else ''}, got {text}")
    return value


def finite(value):
    """The report with null for every number that is not finite: JSON has no NaN."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
