"""Stored runs as the tidy tables that fits read: N, D, loss, C, one row a run or a point of a curve."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd

from .config import Run

COUNTS = {"total": "N_total", "non-embedding": "N"}
"""Which parameters count as N: with the embeddings, as Hoffmann et al., or without, as Kaplan et al."""


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """Of runs that differ in learning rate and seed only, those at the best learning rate, all its seeds.

    The best is the one with the lowest mean loss over the seeds; a rate at which a run diverged
    is out. The column `edge` says that the best rate was the smallest or largest of several tried:
    the true optimum may lie beyond.
    """
    table = table.assign(
        branches=table["branches"].map(tuple), evaluate_at=table["evaluate_at"].map(tuple)
    ).reset_index(drop=True)
    same = [f.name for f in fields(Run) if f.name not in ("learning_rate", "seed")]
    kept = []
    for _, group in table.groupby(same, sort=False):
        means = group.groupby("learning_rate")["loss"].agg(lambda v: v.mean(skipna=False))
        best = means.idxmin() if means.notna().any() else None
        if best is None:
            continue
        edge = len(means) > 1 and best in (means.index.min(), means.index.max())
        kept.append(group[group["learning_rate"] == best].assign(edge=edge, rates=len(means)))
    if not kept:
        return table.iloc[:0].assign(edge=False, rates=0)
    return pd.concat(kept).sort_index().reset_index(drop=True)


def seed_spread(table: pd.DataFrame) -> float:
    """Standard deviation of log loss between runs that differ in nothing but the seed, pooled. NaN without any."""
    same = [f.name for f in fields(Run) if f.name != "seed" and f.name in table]
    finished = table[np.isfinite(table["loss"])]
    key = finished[same].astype(str).agg("|".join, axis=1)
    groups = np.log(finished["loss"]).groupby(key)
    freedom = (groups.size() - 1).sum()
    return (
        float(np.sqrt(((groups.size() - 1) * groups.var(ddof=1).fillna(0)).sum() / freedom))
        if freedom
        else np.nan
    )


def as_runs(table: pd.DataFrame, count: str = "total") -> pd.DataFrame:
    """N, D, loss, C (6·N_total·D) of each run. Raises KeyError for another `count` than those of `COUNTS`."""
    columns = {"N": table[COUNTS[count]].astype(float), "D": table["D"].astype(float)}
    return pd.DataFrame(columns | {"loss": table["loss"], "C": table["C"]})


def as_curves(table: pd.DataFrame, count: str = "total", least_tokens: float = 0.02) -> pd.DataFrame:
    """N, D, loss, C and run (the hash) at each point of the training curves.

    The loss is the training loss averaged since the point before: every batch is new text, so
    it estimates the held-out loss. Points before `least_tokens` of a run are left out: its
    warm-up says nothing about scaling. D is the middle (geometric) of the stretch averaged over.
    Runs without a curve are left out. Raises ValueError for runs on a cut corpus, whose training
    loss shows what they have memorised.
    """
    if (table["unique_tokens"] > 0).any():
        raise ValueError("the training loss of runs on a cut corpus is no estimate of their held-out loss")
    parts = [pd.DataFrame(columns=["N", "D", "loss", "C", "run"])]
    for row in table[table["curve_tokens"].map(len) > 0].itertuples():
        end = np.asarray(row.curve_tokens, float)
        start = np.concatenate([[end[0] / 2], end[:-1]])
        keep = start >= least_tokens * row.D
        D = np.sqrt(start * end)[keep]
        part = pd.DataFrame({"D": D, "loss": np.asarray(row.curve_loss)[keep], "run": row.hash})
        part["N"] = float(getattr(row, COUNTS[count]))
        part["C"] = 6.0 * row.N_total * D
        parts.append(part[["N", "D", "loss", "C", "run"]])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def branches(table: pd.DataFrame) -> pd.DataFrame:
    """One row a cooldown branch of warm-up–stable–decay runs: N, N_total, D, loss, C and the run's hash."""
    rows = [
        {"N": row.N, "N_total": row.N_total, "D": int(D), "loss": float(loss), "C": 6.0 * row.N_total * D, "run": row.hash}
        for row in table.itertuples()
        for D, loss in zip(row.branch_tokens, row.branch_loss, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["N", "N_total", "D", "loss", "C", "run"])


def to_reach(table: pd.DataFrame, losses) -> pd.DataFrame:
    """Steps and tokens each run needed to reach given losses, from its training curve.

    The curve's running minimum is interpolated in log tokens; a loss the run did not reach has
    no row. Columns: run, batch (tokens), N, loss, steps, tokens.
    """
    rows = []
    for row in table.itertuples():
        curve = as_curves(pd.DataFrame([row]), least_tokens=0.0)
        low, tokens = np.minimum.accumulate(curve["loss"].to_numpy()), curve["D"].to_numpy()
        per_step = row.batch * row.context
        for loss in losses:
            if not len(low) or low[0] < loss or low[-1] > loss:
                continue
            after = int(np.argmax(low <= loss))
            share = (low[after - 1] - loss) / (low[after - 1] - low[after])
            at = float(np.exp(np.log(tokens[after - 1]) * (1 - share) + np.log(tokens[after]) * share))
            rows.append({"run": row.hash, "batch": per_step, "N": row.N, "loss": float(loss), "steps": at / per_step, "tokens": at})  # fmt: skip
    return pd.DataFrame(rows, columns=["run", "batch", "N", "loss", "steps", "tokens"])


def noise_scales(table: pd.DataFrame) -> pd.DataFrame:
    """B_simple in tokens along each run that measured it, beside the held-out loss at the time.

    Gradient and trace are averaged over three neighbouring measurements before they are divided,
    because a ratio of means is far less biased than a mean of ratios. Columns: N, D, loss, scale.
    """
    rows = []
    for row in table.itertuples():
        gradient, trace = (np.asarray(v, float) for v in (row.noise_gradient, row.noise_trace))
        for k in range(1, len(gradient) - 1):
            near = slice(k - 1, k + 2)
            if gradient[near].mean() > 0:
                rows.append({
                    "N": row.N, "D": int(row.evaluation_tokens_seen[k]), "loss": float(row.evaluation_loss[k]),
                    "scale": trace[near].mean() / gradient[near].mean() * row.context,
                })  # fmt: skip
    return pd.DataFrame(rows, columns=["N", "D", "loss", "scale"])


def at_budgets(table: pd.DataFrame, budgets, count: str = "total", least_tokens: float = 3e4) -> pd.DataFrame:
    """The loss of each run where its training crosses given budgets C = 6·N·D, N counted as in `COUNTS`.

    Held-out evaluations along the run are interpolated in log loss against log tokens; budgets
    outside a run's evaluations, or with fewer than `least_tokens` tokens, have no row. How
    Kaplan et al. and the first stages of Porian et al. read many budgets off one run.
    Columns N, D, loss, C and run (the hash).
    """
    rows = []
    for row in table.itertuples():
        N = float(getattr(row, COUNTS[count]))
        seen = np.log(np.asarray(row.evaluation_tokens_seen, float))
        loss = np.log(np.asarray(row.evaluation_loss, float))
        for C in budgets:
            D = C / (6 * N)
            if D >= least_tokens and len(seen) and seen[0] <= np.log(D) <= seen[-1]:
                rows.append((N, D, float(np.exp(np.interp(np.log(D), seen, loss))), float(C), row.hash))
    return pd.DataFrame(rows, columns=["N", "D", "loss", "C", "run"])
