"""How the optimal size grows with compute on our own runs, by who counts and who tunes: one change at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import fit
from ..lm import runs as views


def by_count(main: pd.DataFrame, curves: pd.DataFrame) -> dict:
    """Envelope fits of the same training curves under three ways to count N and C; name → `fit.EnvelopeFit`.

    main: runs with one schedule; curves: `kaplan.training_curves` of them. "as Kaplan counts": no embeddings,
    C = 6·N·D; then the products with the vocabulary counted in C alone; then in both.
    """
    total = views.as_curves(main, "total")
    counts = {
        "as Kaplan counts": (curves["N"], 6 * curves["N"] * curves["D"]),
        "last layer in C": (curves["N"], total["C"]),
        "last layer in C and N": (total["N"], total["C"]),
    }
    return {
        name: fit.fit_envelope(N, curves["D"], curves["loss"], C, run=curves["run"])
        for name, (N, C) in counts.items()
    }


def valleys(isoflop: pd.DataFrame):
    """IsoFLOP fit (N without embeddings) of runs whose schedule ends with their budget; isoflop: `views.tuned`."""
    runs = views.as_runs(isoflop, "non-embedding")
    return fit.fit_isoflop(runs["N"], runs["D"], runs["loss"], runs["C"])


def minima(found) -> tuple[np.ndarray, np.ndarray, object]:
    """Points (C, N_opt) and line of an envelope or IsoFLOP fit, for drawing."""
    if hasattr(found, "valleys"):
        return np.array([v.C for v in found.valleys]), np.array([v.N for v in found.valleys]), found.law
    return found.C[found.used], found.N_opt[found.used], found.law


@dataclass(frozen=True)
class Stage:
    """One step of the staircase: its runs, and how their parameters are counted (a key of `views.COUNTS`)."""

    name: str
    runs: pd.DataFrame
    count: str

    def losses(self) -> pd.DataFrame:
        """N, D, loss, C, run at each budget: read along the runs, or of runs made for their budget."""
        if not self.runs["evaluate_at"].map(len).sum():
            return views.as_runs(self.runs, self.count).assign(run=self.runs["hash"])
        N, D = self.runs[views.COUNTS[self.count]], self.runs["D"].max()
        budgets = np.geomspace(6 * N.quantile(0.3) * D / 100, 6 * N.quantile(0.5) * D, 9)
        return views.at_budgets(self.runs, budgets, self.count, least_tokens=D / 100)


def stages(table: pd.DataFrame) -> list[Stage]:
    """The corrections of Porian et al. (2024), one added at a time, in the study `staircase`."""
    along = table["evaluate_at"].map(len) > 0
    cosine = table["schedule"] == "cosine"
    trunk = table[cosine & along]
    long_warmup = trunk["warmup"] == trunk["warmup"].max()
    return [
        Stage("Kaplan's protocol", trunk[long_warmup], "non-embedding"),
        Stage("last layer counted", trunk[long_warmup], "total"),
        Stage("warm-up shortened", trunk[~long_warmup], "total"),
        Stage("cosine matched", table[cosine & ~along], "total"),
        Stage("optimiser tuned", views.tuned(table[table["schedule"] == "constant"]), "total"),
    ]


@dataclass(frozen=True)
class Staircase:
    """Exponents a of N_opt ∝ C^a after each correction.

    table: stage, a, low, high (95 %), porian, budgets (with a minimum inside our sizes). draws: (stages, resamples).
    last: the frontier of the last stage, columns C and N_opt.
    """

    table: pd.DataFrame
    draws: np.ndarray
    last: pd.DataFrame

    def change(self, first: int, second: int) -> tuple[float, tuple[float, float]]:
        """a of the second stage minus a of the first, with its 95 % interval: both had the same luck of the runs."""
        by = self.table["a"][second] - self.table["a"][first]
        return float(by), interval(self.draws[second] - self.draws[first])

    def upper(self) -> float:
        """Exponent of the last stage on the upper half of its budgets; NaN with fewer than two."""
        high = self.last[self.last["C"] >= self.last["C"].median()]
        return float(np.polyfit(np.log(high["C"]), np.log(high["N_opt"]), 1)[0]) if len(high) > 1 else np.nan


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Percentiles that hold 95 % of the draws; NaN where there is none."""
    return fit.percentile(draws, 0.95) if np.isfinite(draws).any() else (np.nan, np.nan)


def climb(table: pd.DataFrame, published, spread: float, resamples: int, seed: int) -> Staircase:
    """The staircase on our own runs, one seed each, with intervals for the luck of a seed.

    table: the study `staircase`. published: Porian et al.'s exponents, one a stage. spread: standard deviation of
    log loss between seeds (`views.seed_spread`). Each resample moves every run by one draw, at all budgets that
    are read off it, and resamples the budgets (`fit.luck_draws`).
    """
    rng = np.random.default_rng(seed)
    luck = {run: rng.normal(0, spread, resamples) for run in table["hash"]}
    rows, draws = [], []
    for k, (stage, theirs) in enumerate(zip(stages(table), published, strict=True)):
        losses = stage.losses()
        front = fit.interpolated_frontier(losses)
        a = fit.frontier_draws(front["C"], front["N_opt"])[0] if len(front) > 1 else np.nan
        draws.append(fit.luck_draws(losses, luck, seed=seed + k))
        rows.append((stage.name, a, *interval(draws[-1]), theirs, len(front)))
    columns = ["stage", "a", "low", "high", "porian", "budgets"]
    return Staircase(pd.DataFrame(rows, columns=columns), np.array(draws), front)
