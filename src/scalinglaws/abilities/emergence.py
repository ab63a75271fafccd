"""Abilities that seem to appear at once: what a metric and a resolution do to a smooth curve.

Schaeffer, Miranda & Koyejo (2023), arXiv:2304.15004; Hu et al. (2023), arXiv:2310.03262; Schaeffer et al. (2024),
arXiv:2406.04391.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..resampling.estimators import task_bootstrap


def by_problem(samples: pd.DataFrame) -> pd.DataFrame:
    """A row a proposer and problem: difficulty, and share of right answers over all seeds."""
    keys = ["proposer", "difficulty", "problem"]
    own = samples if "problem" in samples else samples.assign(problem=np.arange(len(samples)))
    sums = own.groupby(keys)[["right", "samples"]].sum()
    return (sums["right"] / sums["samples"]).rename("share").reset_index()


def by_length(samples: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Share of right answers by number of steps: proposer, steps, right with low and high (95 %), one_step, power.

    samples: a row a problem with proposer, difficulty (steps), right (of `samples` answers). power: right at one step to the power
    of the steps, what independent steps would give. Seeds of a problem are averaged first, then problems are resampled.
    """
    rows, each = [], by_problem(samples)
    for proposer, own in each.groupby("proposer"):
        share = own["share"].groupby(own["difficulty"])
        one = float(share.get_group(1).mean())
        for steps, values in share:
            low, high = task_bootstrap(np.mean, (values.to_numpy(),), resamples, seed)
            rows.append((proposer, int(steps), float(values.mean()), low, high, one, one ** int(steps)))
    return pd.DataFrame(rows, columns=["proposer", "steps", "right", "low", "high", "one_step", "power"])


def millions(name: str) -> float:
    """Parameters in a name such as "Pythia 410M" or "Pythia 2.8B"."""
    text = name.split()[-1]
    return float(text[:-1]) * {"M": 1e6, "B": 1e9}[text[-1]]


def passed(counts: pd.DataFrame) -> pd.DataFrame:
    """Right and drawn answers [models, problems] as two tables, models by size: c and n with the model's parameters as index."""
    named = counts.assign(N=counts["model"].map(millions))
    c, n = (named.pivot(index="N", columns="problem", values=k).sort_index() for k in ("correct", "samples"))
    return pd.concat({"c": c, "n": n}, axis=1)


def power_fit(N, p) -> tuple[float, float]:
    """(α, log c) of −log p = c·N^−α (Hu et al. 2023, Section 4.2): a straight line in log(−log p), least squares."""
    x, y = np.log(np.asarray(N, float)), np.log(-np.log(np.asarray(p, float)))
    slope, height = np.polyfit(x, y, 1)
    return float(-slope), float(height)


def forecast(table: pd.DataFrame, largest_seen: float, resamples: int, seed: int, level: float = 0.95) -> pd.DataFrame:
    """The chance to pass of each larger model, from the models up to `largest_seen` parameters.

    table: of `passed`. −log p = c·N^−α through the mean over problems. Columns: N, measured, predicted; told_low, told_high: the
    interval of the forecast, problems resampled for the small models only and one of their residuals (of log(−log p), widened by
    √(m/(m−2)) for m models) added to each; ratio, low, high: predicted over measured, the same problems drawn for both.
    """
    share = (table["c"] / table["n"]).to_numpy()
    N, rng = table.index.to_numpy(float), np.random.default_rng(seed)
    small = largest_seen >= N
    draws = np.vstack([np.arange(share.shape[1]), rng.integers(0, share.shape[1], (resamples, share.shape[1]))])
    ratio, guess, told = [], [], []
    widen = np.sqrt(small.sum() / max(small.sum() - 2, 1))
    for draw in draws:
        p = np.clip(share[:, draw].mean(1), 1e-9, 1 - 1e-9)
        alpha, height = power_fit(N[small], p[small])
        left = np.log(-np.log(p[small])) - (height - alpha * np.log(N[small]))
        guess.append(np.exp(-np.exp(height) * N[~small] ** -alpha))
        told.append(np.exp(-np.exp(height + widen * rng.choice(left, (20, 1))) * N[~small] ** -alpha))
        ratio.append(guess[-1] / p[~small])
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ratio[1:], tails, axis=0)
    told_low, told_high = np.quantile(np.concatenate(told[1:]), tails, axis=0)
    found = {"N": N[~small], "measured": share[~small].mean(1), "predicted": guess[0], "told_low": told_low, "told_high": told_high}
    return pd.DataFrame(found | {"ratio": ratio[0], "low": low, "high": high})


def seen_once(table: pd.DataFrame) -> pd.DataFrame:
    """What one answer a problem would show: N, share (the true mean), nothing (chance that not one problem is solved)."""
    share = (table["c"] / table["n"]).to_numpy()
    return pd.DataFrame({"N": table.index.to_numpy(float), "share": share.mean(1), "nothing": np.prod(1 - share, axis=1)})


def degraded(ends: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of each score with compute over runs, a row a task: loss (negated), soft, accuracy.

    ends: a row a run and task with N, D, loss (of the right answer), soft (its probability among the choices), accuracy.
    """
    rows = []
    for task, own in ends.groupby("task", sort=False):
        C = own["N"] * own["D"]
        rho = [spearmanr(C, sign * own[k]).statistic for sign, k in ((-1, "loss"), (1, "soft"), (1, "accuracy"))]
        rows.append((task, *map(float, rho)))
    return pd.DataFrame(rows, columns=["task", "loss", "soft", "accuracy"])


def bend(table: pd.DataFrame, resamples: int, seed: int, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """Quadratic coefficient of log(−log P) in log10 N over all models, with its interval from resampled problems.

    Below nought growth gathers speed (what Hu et al. call accelerated emergence), above it slows.
    """
    share = (table["c"] / table["n"]).to_numpy()
    x, rng = np.log10(table.index.to_numpy(float)), np.random.default_rng(seed)
    curve = lambda p: float(np.polyfit(x, np.log(-np.log(np.clip(p, 1e-9, 1 - 1e-9))), 2)[0])
    drawn = [curve(share[:, rng.integers(0, share.shape[1], share.shape[1])].mean(1)) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return curve(share.mean(1)), (float(low), float(high))


def by_question(counts: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation with training compute over models, a row a task: chance (share of right answers), majority (whether
    the most frequent answer is right; ties share). NaN where a score does not vary.

    counts: a row a model, seed and task with N, examples, n, c, majority. Compute counts as N times examples.
    """
    table, rows = counts.assign(C=counts["N"] * counts["examples"], p=counts["c"] / counts["n"]), []
    for task, own in table.groupby("task"):
        rho = [spearmanr(own["C"], own[k]).statistic if own[k].nunique() > 1 else np.nan for k in ("p", "majority")]
        rows.append((task, *map(float, rho)))
    return pd.DataFrame(rows, columns=["task", "chance", "majority"])
