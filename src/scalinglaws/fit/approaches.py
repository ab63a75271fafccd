"""One way in: a table of runs, a method, a fit whose intervals resample runs and not rows.

runs = read_runs("runs.csv")          columns N, D, loss, …
found = fit(runs)                     a `Fit`
boot = bootstrap(found)               its refits
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from . import checks
from .clusters import clusters, training_curves
from .columns import interpret
from .envelope import fit_envelope
from .isoflop import fit_isoflop
from .reading import MAX_ROWS, read_table
from .result import Fit
from .surface import fit_surface
from .varpro import fit_varpro

METHODS = ("surface", "isoflop", "envelope", "varpro")
OF_THE_PAPER = {"envelope": "1. envelope", "isoflop": "2. IsoFLOP", "surface": "3. surface", "varpro": "variable projection"}  # fmt: skip


def read_runs(
    source: str | Path, *, max_rows: int = MAX_ROWS, check_order: bool = True, **reading
) -> pd.DataFrame:
    """Runs of a file in any format of `reading`: columns N, D, loss (nats), and C, run, … where known.

    Keywords as in `columns.interpret` (columns, scale, loss_unit, drop_diverged, weights, keep).
    How it was read stands in `runs.attrs["said"]`. Raises TableError in one line.
    """
    found = interpret(read_table(source, max_rows=max_rows), **reading)
    checks.sound(found, check_order=check_order)
    found.runs.attrs["said"] = found.said
    return found.runs


def fit(
    runs: pd.DataFrame,
    method: str = "surface",
    *,
    delta: float = 1e-3,
    asymmetric: float = 1.0,
    where=lambda k: f"row {k + 1}",
) -> Fit:
    """The scaling law of a table of runs.

    runs: columns N (parameters), D (tokens), loss (nats per token); C (FLOPs), run (which row
    belongs to which training run) and weight where there are any. method: "surface", "varpro"
    (L = E + A/N^α + B/D^β), "isoflop" or "envelope" (N_opt ∝ C^a). delta, asymmetric: of
    `fit_surface`. `where` names a row in a message.
    Raises TableError where the runs cannot determine the method's parameters, ValueError from the method.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    groups, _ = clusters(runs, where)
    checks.enough(runs, method, where)
    N, D, loss = (runs[c].to_numpy(float) for c in ("N", "D", "loss"))
    C = runs["C"].to_numpy(float) if "C" in runs else None
    weights = runs["weight"].to_numpy(float) if "weight" in runs else None
    if method == "surface":
        return fit_surface(N, D, loss, delta=delta, asymmetric=asymmetric, weights=weights, groups=groups)
    if method == "varpro":
        return fit_varpro(N, D, loss, weights, groups=groups)
    if method == "isoflop":
        return fit_isoflop(N, D, loss, C, weights=weights, groups=groups)
    curve = runs["run"].to_numpy() if "run" in runs else training_curves(runs)
    return fit_envelope(N, D, loss, C, run=curve, trim=True)


def agreement(intervals: dict[str, tuple[float, float]], what: str = "a") -> str:
    """One sentence: whether intervals of the same number by several methods have a value in common."""
    if len(intervals) < 2:
        return ""
    apart = [
        f"{p} and {q}"
        for (p, u), (q, v) in combinations(intervals.items(), 2)
        if max(u[0], v[0]) > min(u[1], v[1])
    ]
    low, high = max(v[0] for v in intervals.values()), min(v[1] for v in intervals.values())
    if low <= high:
        return f"the {len(intervals)} intervals of {what} overlap, from {low:.3f} to {high:.3f}: the methods agree"
    return f"the methods disagree beyond their intervals of {what}: {'; '.join(apart)}"


def flops_per_parameter_token(runs: pd.DataFrame) -> tuple[float, float, float]:
    """k of C = k·N·D as the table counts FLOPs: median, smallest, largest; 6 without a column C."""
    if "C" not in runs:
        return 6.0, 6.0, 6.0
    ratio = runs["C"] / (runs["N"] * runs["D"])
    return float(np.median(ratio)), float(ratio.min()), float(ratio.max())
