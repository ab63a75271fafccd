"""Abilities that seem to appear at once: what a metric and a resolution do to a smooth curve.

Schaeffer, Miranda & Koyejo (2023), arXiv:2304.15004; Hu et al. (2023), arXiv:2310.03262; Schaeffer et al. (2024),
arXiv:2406.04391.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from ..resampling.estimators import task_bootstrap


def by_length(samples: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Share of right answers by number of steps: proposer, steps, right with low and high (95 %), one_step, power.

    samples: a row a problem with proposer, difficulty (steps), right (of `samples` answers). power: right at one step to the power
    of the steps, what independent steps would give. Seeds are pooled; problems are resampled.
    """
    rows = []
    for proposer, own in samples.groupby("proposer"):
        share = (own["right"] / own["samples"]).groupby(own["difficulty"])
        one = float(share.get_group(1).mean())
        for steps, values in share:
            low, high = task_bootstrap(np.mean, (values.to_numpy(),), resamples, seed)
            rows.append((proposer, int(steps), float(values.mean()), low, high, one, one ** int(steps)))
    return pd.DataFrame(rows, columns=["proposer", "steps", "right", "low", "high", "one_step", "power"])


def step_rate(samples: pd.DataFrame) -> pd.Series:
    """Per-step accuracy of each proposer: right at the longest chains to the power 1/steps."""
    longest = samples["difficulty"].max()
    own = samples[samples["difficulty"] == longest]
    return (own["right"] / own["samples"]).groupby(own["proposer"]).mean() ** (1 / longest)


def millions(name: str) -> float:
    """Parameters in a name such as "Pythia 410M" or "Pythia 2.8B"."""
    text = name.split()[-1]
    return float(text[:-1]) * {"M": 1e6, "B": 1e9}[text[-1]]


def passed(counts: pd.DataFrame) -> pd.DataFrame:
    """Right and drawn answers [models, problems] as two tables, models by size: c and n with the model's parameters as index."""
    named = counts.assign(N=counts["model"].map(millions))
    c, n = (named.pivot(index="N", columns="problem", values=k).sort_index() for k in ("correct", "samples"))
    return pd.concat({"c": c, "n": n}, axis=1)


def power_fit(N, p, weights=None) -> tuple[float, float]:
    """(α, log c) of −log p = c·N^−α (Hu et al. 2023, Section 4.2): a straight line in log(−log p), least squares."""
    x, y = np.log(np.asarray(N, float)), np.log(-np.log(np.asarray(p, float)))
    slope, height = np.polyfit(x, y, 1, w=None if weights is None else np.sqrt(weights))
    return float(-slope), float(height)


def forecast(table: pd.DataFrame, largest_seen: float, resamples: int, seed: int, level: float = 0.95) -> pd.DataFrame:
    """The chance to pass of each larger model, from the models up to `largest_seen` parameters: N, measured, predicted, low, high.

    table: of `passed`. −log p = c·N^−α through the mean over problems; problems are resampled, the same for all models, and the
    measured mean of each resample is taken with its prediction: low and high are of predicted over measured.
    """
    share = (table["c"] / table["n"]).to_numpy()
    N, rng = table.index.to_numpy(float), np.random.default_rng(seed)
    small = largest_seen >= N
    draws = np.vstack([np.arange(share.shape[1]), rng.integers(0, share.shape[1], (resamples, share.shape[1]))])
    ratio, guess = [], []
    for draw in draws:
        p = share[:, draw].mean(1)
        alpha, height = power_fit(N[small], np.clip(p[small], 1e-9, 1 - 1e-9))
        guess.append(np.exp(-np.exp(height) * N[~small] ** -alpha))
        ratio.append(guess[-1] / p[~small])
    low, high = np.quantile(ratio[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return pd.DataFrame({"N": N[~small], "measured": share[~small].mean(1), "predicted": guess[0], "ratio": ratio[0], "low": low, "high": high})


def seen_once(table: pd.DataFrame) -> pd.DataFrame:
    """What one answer a problem would show: N, share (the true mean), nothing (chance that not one problem is solved), expected (solved problems)."""
    share = (table["c"] / table["n"]).to_numpy()
    return pd.DataFrame({"N": table.index.to_numpy(float), "share": share.mean(1), "nothing": np.prod(1 - share, axis=1), "expected": share.sum(1)})


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


def jumps(ends: pd.DataFrame, chance: dict[str, float]) -> pd.DataFrame:
    """Where accuracy leaves guessing: task, and of all that loss falls over the ladder the share that had fallen by then.

    A run has left guessing when its accuracy is three points above `chance`; runs are ordered by loss.
    """
    rows = []
    for task, own in ends.groupby("task", sort=False):
        own = own.sort_values("loss", ascending=False)
        left = own["accuracy"].to_numpy() > chance[task] + 0.03
        first, worst, best = own["loss"].to_numpy()[left.argmax()], own["loss"].max(), own["loss"].min()
        rows.append((task, float((worst - first) / (worst - best)) if left.any() else np.nan))
    return pd.DataFrame(rows, columns=["task", "fallen"])


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
