"""The three approaches on runs of our own, on two scales, and on a language of known entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .. import fit, laws
from ..lm import runs as views

APPROACHES = ("1. envelope", "2. IsoFLOP parabolas", "3. surface")


def columns(table: pd.DataFrame, *names: str):
    """Columns as the fits take them."""
    return [table[name] for name in names]


def approaches(best: pd.DataFrame) -> dict[str, fit.Fit]:
    """The paper's three approaches on runs at their best learning rate (`views.tuned`), N with embeddings."""
    runs, curves = views.as_runs(best, "total"), views.as_curves(best, "total")
    return {
        APPROACHES[0]: fit.fit_envelope(*columns(curves, "N", "D", "loss", "C"), run=curves["run"]),
        APPROACHES[1]: fit.fit_isoflop(*columns(runs, "N", "D", "loss", "C")),
        APPROACHES[2]: fit.fit_surface(*columns(runs, "N", "D", "loss")),
    }


def parabolas(best: pd.DataFrame, count: str) -> fit.IsoflopFit:
    """Approach 2 with parameters counted as `count` says (`views.COUNTS`)."""
    return fit.fit_isoflop(*columns(views.as_runs(best, count), "N", "D", "loss", "C"))


def seed_noise(best: pd.DataFrame) -> float:
    """Median over configurations of the standard deviation of the loss between seeds, nats."""
    seeds = best.groupby(["n_layer", "d_model", "tokens"])["loss"].agg(["std", "count"])
    return float(seeds[seeds["count"] > 1]["std"].median())


@dataclass(frozen=True)
class Bookkeeping:
    """What Pearce and Song's relation predicts for our shapes.

    predicted: exponent without embeddings that the fitted surface implies; apart: 95 % interval of predicted minus
    measured; shift, shift_ci: measured without embeddings minus with, the same resamples.
    """

    predicted: float
    apart: np.ndarray
    shift: float
    shift_ci: np.ndarray


def bookkeeping(
    best: pd.DataFrame, surface: fit.Bootstrap, total: fit.Bootstrap, bare: fit.Bootstrap
) -> Bookkeeping:
    """Predict the exponent without embeddings from the surface with them, γ fitted to our own sizes.

    surface, total, bare: bootstraps of approach 3, and of approach 2 with and without embeddings counted.
    """
    sizes = best.drop_duplicates("N")
    gamma = float(np.exp(np.log((sizes["N_total"] - sizes["N"]) / np.cbrt(sizes["N"])).mean()))
    first, *_, last = bare.fit.valleys  # type: ignore[attr-defined]
    N = np.geomspace(first.N, last.N, 50)

    def exponent(law) -> float:
        frontier = laws.NonEmbeddingFrontier(law, laws.EmbeddingShare(gamma))
        return float(np.polyfit(np.log(frontier.compute(N)), np.log(N), 1)[0])

    drawn = pd.DataFrame(surface.samples)[["E", "A", "B", "alpha", "beta"]]
    drawn["measured"] = bare.samples["a"]
    apart = [
        exponent(laws.Chinchilla(*row)) - measured
        for *row, measured in drawn.head(300).dropna().itertuples(index=False)
    ]
    return Bookkeeping(
        exponent(surface.fit.law),
        np.nanpercentile(apart, [2.5, 97.5]),
        bare.fit.params["a"] - total.fit.params["a"],
        np.nanpercentile(bare.samples["a"] - total.samples["a"], [2.5, 97.5]),
    )


@dataclass(frozen=True)
class Wide:
    """Approach 2 on several sets of runs, each counted with and without embeddings; keys (runs, count)."""

    fits: dict[tuple[str, str], fit.IsoflopFit]
    boots: dict[tuple[str, str], fit.Bootstrap]

    def table(self) -> pd.DataFrame:
        """runs, parameters, budgets, a and its 95 % interval."""
        rows = [
            (*k, len(f.valleys), f.params["a"], *self.boots[k].interval("a")) for k, f in self.fits.items()
        ]
        return pd.DataFrame(rows, columns=["runs", "parameters", "budgets", "a", "2.5 %", "97.5 %"])

    def shift(self, name: str) -> tuple[float, np.ndarray]:
        """Exponent without embeddings minus with, and its resamples."""
        bare, total = (name, "non-embedding"), (name, "total")
        by = self.fits[bare].params["a"] - self.fits[total].params["a"]
        return by, self.boots[bare].samples["a"] - self.boots[total].samples["a"]


def widen(groups: dict[str, pd.DataFrame], resamples: int, seeds: dict[str, int]) -> Wide:
    """Approach 2 on each group of runs (`views.tuned`) under both counts; seeds: of each group's resamples."""
    fits = {(name, count): parabolas(runs, count) for name, runs in groups.items() for count in views.COUNTS}
    return Wide(fits, {k: fit.bootstrap(f, resamples, seeds[k[0]]) for k, f in fits.items()})


# ---- a language of known entropy ------------------------------------------------------------------------------


def above_entropy(trunks: pd.DataFrame, language) -> tuple[pd.DataFrame, float, float]:
    """(points, entropy, luck): losses of every cooldown, less the luck of the held-out sample, nats a token.

    language: the opened corpus; luck: the loss of the truth itself on the held-out tokens, less the entropy.
    points: `views.branches` with the column `above`, loss minus entropy.
    """
    entropy = language.source.entropy
    held_out = language.evaluation(*trunks[["evaluation_tokens", "context"]].iloc[0])
    luck = float(-language.source.log_probability(held_out).mean() - entropy)
    points = views.branches(trunks).assign(loss=lambda p: p["loss"] - luck)
    return points.assign(above=points["loss"] - entropy), float(entropy), luck


def halves(points: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """All runs, the longer half, the larger half, and those in both."""
    longer = points["D"] >= np.median(points["D"].unique())
    larger = points["N_total"] >= np.median(points["N_total"].unique())
    return {
        "all runs": points,
        "longer half": points[longer],
        "larger half": points[larger],
        "both halves": points[longer & larger],
    }


def floors(
    groups: dict[str, pd.DataFrame], entropy: float, resamples: int, seed: int
) -> tuple[dict, pd.DataFrame]:
    """Surfaces fitted to each group, and their E less the entropy with 95 % intervals, nats a token.

    A group of fewer than six points is left out: the surface has five unknowns.
    """
    surfaces, rows = {}, []
    for name, part in groups.items():
        if len(part) < 6:
            continue
        surfaces[name] = fit.fit_surface(*columns(part, "N_total", "D", "loss"))
        ends = np.array(fit.bootstrap(surfaces[name], resamples, seed).interval("E"))
        rows.append((name, len(part), surfaces[name].params["E"] - entropy, *ends - entropy))
    return surfaces, pd.DataFrame(rows, columns=["fitted to", "points", "E − H", "2.5 %", "97.5 %"])


# ---- schedules ------------------------------------------------------------------------------------------------


def cycle_excess(schedules: pd.DataFrame) -> pd.DataFrame:
    """Loss above that of the matched cosine, nats: a row a cycle (in lengths of the training), a column a seed."""
    cosines = schedules[schedules["schedule"] == "cosine"]
    length = cosines.loc[cosines["cycle"] > 1, "tokens"].iloc[0]
    by = cosines[cosines["tokens"] == length].pivot_table(index="cycle", columns="seed", values="loss")
    return by - by.loc[1.0]  # the same seed: the same data in the same order


def by_length(schedules: pd.DataFrame) -> pd.DataFrame:
    """Loss at each length under three schedules: kind, seed, D, loss; the lengths of one trunk share its seed."""
    cosines = schedules[(schedules["schedule"] == "cosine") & (schedules["cycle"] == 1)]
    parts = [cosines.assign(kind="cosine of that length")[["kind", "seed", "D", "loss"]]]
    for row in schedules.itertuples():
        cooled = ("constant, then cooled down", row.branch_tokens, row.branch_loss)
        running = ("constant", row.evaluation_tokens_seen, row.evaluation_loss)
        for kind, D, loss in (cooled, running):
            if len(D):
                parts.append(pd.DataFrame({"kind": kind, "seed": row.seed, "D": D, "loss": loss}))
    return pd.concat(parts)


def mean_by_seed(values: pd.Series) -> tuple[float, float]:
    """Mean of a value a seed, and the half width of its 95 % interval (Student's t)."""
    return float(values.mean()), float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
