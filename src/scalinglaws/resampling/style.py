"""How falsely accepted programs are written, beside right ones, over all samples and within tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..testtime.select import seed_means


def style_gaps(part: pd.DataFrame, m: int, trait: str) -> np.ndarray:
    """A trait of falsely accepted programs minus that of right ones, [seeds, tasks]; NaN where a task lacks either.

    part: counts of one model. Tasks are in the order of their numbers, so that models can be compared on the same ones.
    """
    c, f = part["c"].to_numpy(float), (part[f"b{m}"] - part["c"]).to_numpy(float)
    both = (c > 0) & (f > 0)
    false, right = (part[column].to_numpy(float) for column in (f"false{m}_{trait}", f"right_{trait}"))
    gap = np.full(len(part), np.nan)
    gap[both] = false[both] / f[both] - right[both] / c[both]
    return part.assign(gap=gap).pivot(index="seed", columns="task", values="gap").to_numpy()


def matched(gaps: list[np.ndarray], resamples: int, seed: int) -> tuple[float, tuple[float, float]]:
    """Mean over models of their mean gaps (`style_gaps`), and its 95 % interval.

    Seeds are drawn within each model, then tasks, the same for all models. NaN for models without a task.
    """
    rng, n = np.random.default_rng(seed), gaps[0].shape[1]
    tasks = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), resamples)])
    means = []
    for gap in gaps:
        S = len(gap)
        seeds = np.vstack([np.ones(S), rng.multinomial(S, np.full(S, 1 / S), resamples)])
        means.append(seed_means(gap, seeds, tasks))
    whole, *drawn = np.mean(means, axis=0)
    if np.isnan(whole) or np.isnan(drawn).all():
        return float(whole), (np.nan, np.nan)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(whole), (float(low), float(high))


def style(counts: pd.DataFrame, m: int, trait: str, resamples: int = 500, seed: int = 0) -> pd.DataFrame:
    """Falsely accepted programs beside right ones: a trait ("operations", "redundant") of each, by model.

    right, false: means over samples, whatever their task. matched, low, high: mean over tasks that have both of the
    difference within the task, false − right, seeds averaged first, and its interval (`matched`).
    """
    rows = []
    for name, part in counts.groupby("model", sort=False):
        c, f = part["c"].sum(), (part[f"b{m}"] - part["c"]).sum()
        gaps = style_gaps(part, m, trait)
        mean, (low, high) = matched([gaps], resamples, seed)
        rows.append(
            {
                "model": name,
                "right": part[f"right_{trait}"].sum() / c if c else np.nan,
                "false": part[f"false{m}_{trait}"].sum() / f if f else np.nan,
                "matched": mean,
                "low": low,
                "high": high,
                "tasks": int((~np.isnan(gaps)).any(0).sum()),
            }
        )
    return pd.DataFrame(rows)


def by_depth(counts: pd.DataFrame, m: int, trait: str, fewest: int = 10) -> dict[int, pd.DataFrame]:
    """Depth of the tasks → `style` on them. Depths above 1 only where a model has `fewest` tasks with both kinds."""
    depths = sorted(set(counts["depth"]))
    found = {d: style(counts[counts["depth"] == d], m, trait) for d in depths}
    return {d: t for d, t in found.items() if d == 1 or t["tasks"].max() >= fewest}


def lowest(table: pd.DataFrame) -> tuple[float, tuple[float, float]]:
    """The matched difference of the model whose interval has the lowest lower end, and that interval."""
    k = table["low"].idxmin()
    return table["matched"][k], (table["low"][k], table["high"][k])


def over_models(
    counts: pd.DataFrame, m: int, trait: str, resamples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """The mean over models of their matched differences, false − right, and its 95 % interval (`matched`).

    Models with fewer than two tasks that have both kinds are left out; with no model left it is 0 and (NaN, NaN).
    """
    gaps = [style_gaps(part, m, trait) for _, part in counts.groupby("model", sort=False)]
    gaps = [g for g in gaps if (~np.isnan(g)).any(0).sum() > 1]
    return matched(gaps, resamples, seed) if gaps else (0.0, (np.nan, np.nan))
