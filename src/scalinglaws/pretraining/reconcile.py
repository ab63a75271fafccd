"""Why Kaplan said .73: protocols replayed on a known surface, and the losses that Porian et al. (2024) released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import fit

STAGES = (
    "1 Reproducing Kaplan",
    "2 +last-layer FLOPs",
    "3 +warmup",
    "4 +cosine decay",
    "5 optimizer tuning, const LR",
)
"""Porian et al.'s corrections, each on top of those before it, by the names in their release."""

SIZES, BUDGETS, BUDGETS_TOTAL = (
    np.logspace(2.9, 9.2, 20),
    np.logspace(12.95, 20.7, 100),
    np.logspace(13.4, 20.7, 100),
)
"""Pearce and Song's experiment (2024, Section 4): sizes without embeddings, budgets in FLOPs for either count."""


@dataclass(frozen=True)
class Protocol:
    """What 20 sizes and 100 budgets measure on a known surface, by the authors' protocol.

    measured: exponent of N_opt without embeddings and slope of the loss; on_grid: the exponent where losses are read
    from a grid of token counts; total: the exponent with all parameters and FLOPs counted.
    """

    measured: tuple[float, float]
    on_grid: float
    total: float


def replay(frontier) -> Protocol:
    """Run Pearce and Song's experiment on a `laws.NonEmbeddingFrontier`."""
    tokens = np.logspace(6, 25, 1000)
    return Protocol(
        frontier.measured_exponent(SIZES, BUDGETS),
        frontier.measured_exponent(SIZES, BUDGETS, token_grid=tokens)[0],
        frontier.measured_exponent(SIZES, BUDGETS_TOTAL, total=True)[0],
    )


def weighted_frontier(rows: pd.DataFrame) -> tuple[float, Callable[[float], float]]:
    """(exponent, C → N_opt) of the line through published optima, weighted by log_N_std⁻².

    rows: columns C, N_opt, log_N_std; budgets without an optimum are left out.
    """
    rows = rows.dropna(subset=["N_opt"])
    intercept, slope = fit.line(np.log(rows["C"]), np.log(rows["N_opt"]), rows["log_N_std"] ** -2.0)
    return float(slope), lambda C: float(np.exp(intercept + slope * np.log(C)))


@dataclass(frozen=True)
class Released:
    """The released staircase twice over, by (dataset, stage).

    short: `weighted_frontier` of the published optima. long: exponent from the losses, splines and a line, with the
    95 % interval over resampled budgets. table: the stored exponents with ours of the short way (`a`).
    """

    short: dict[tuple[str, str], tuple[float, Callable[[float], float]]]
    long: dict[tuple[str, str], tuple[float, tuple[float, float]]]
    table: pd.DataFrame

    def exponents(self, dataset: str) -> list[float]:
        """The five stages of a data set ("rw", "owt2"), the short way."""
        return [self.short[dataset, stage][0] for stage in STAGES]

    def intervals(self, dataset: str) -> list[tuple[float, float]]:
        """Their intervals, the long way."""
        return [self.long[dataset, stage][1] for stage in STAGES]

    def stairs(self, names: dict[str, str]) -> pd.DataFrame:
        """The numbered stages for drawing: stage, dataset (by `names`), published, refitted, a, low, high."""
        rows = self.table[self.table["stage"].str.match(r"\d")][["stage", "dataset", "a_published", "a"]]
        rows = rows.rename(columns={"a_published": "published", "a": "refitted"})
        ours = [self.long[k] for k in zip(rows["dataset"], rows["stage"], strict=True)]
        return rows.assign(
            dataset=rows["dataset"].map(names),
            a=[a for a, _ in ours],
            low=[ends[0] for _, ends in ours],
            high=[ends[1] for _, ends in ours],
        )


def released(frontier: pd.DataFrame, stored: pd.DataFrame, points: pd.DataFrame, seed: int) -> Released:
    """Recompute the staircase: frontier (published optima), stored (their exponents), points (their losses)."""
    by = ["dataset", "stage"]
    short = {key: weighted_frontier(rows) for key, rows in frontier.groupby(by)}
    long = {}
    for key, rows in points.groupby(by):
        found = fit.interpolated_frontier(rows)
        long[key] = fit.frontier_exponent(found["C"], found["N_opt"], seed=seed)
    a = [short[k][0] for k in zip(stored["dataset"], stored["stage"], strict=True)]
    return Released(short, long, stored.assign(a=a))
