"""Pretraining against sampling: which checkpoints reach the same pass@k, and what each way costs.

A model of N parameters trained on D tokens cost 6ND FLOPs. K answers of L tokens cost 2NLK more (Kaplan et al.
2020, Section 2.1). An isoquant joins the checkpoints at the K where each solves the same share of problems.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from .estimators import pass_at


def samples_needed(n: np.ndarray, c: np.ndarray, target: float) -> float:
    """K, a real number ≥ 1, at which c of n right samples a problem give a coverage of `target`.

    Log-linear between whole numbers. 0 < K ≤ min n, as far as the estimator is unbiased; NaN where the target
    is not reached there, and 1 where one sample is enough. Raises ValueError for a target outside (0, 1).
    """
    if not 0 < target < 1:
        raise ValueError(f"the share of problems must be between 0 and 1, got {target}")
    solved = lambda K: float(pass_at(n, c, K).mean())
    low, high = 1, int(np.min(n))
    if solved(low) >= target:
        return 1.0
    if solved(high) < target:
        return float("nan")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if solved(middle) < target else (low, middle)
    below, above = solved(low), solved(high)
    return float(low * (high / low) ** ((target - below) / (above - below)))


def grid(table: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint: N, D, arrays n and c over its problems, the pretraining FLOPs, how many were solved."""
    rows = []
    for (N, D), part in table.groupby(["N", "D"]):
        n, c = part["samples"].to_numpy(), part["correct"].to_numpy()
        rows.append(
            {
                "N": N,
                "D": D,
                "pretraining": 6.0 * N * D,
                "n": n,
                "c": c,
                "problems": len(n),
                "most": int(n.min()),
                "solved": float((c > 0).mean()),
                "pass@1": float((c / n).mean()),
            }
        )
    return pd.DataFrame(rows)


def isoquant(checkpoints: pd.DataFrame, target: float, length: float) -> pd.DataFrame:
    """Checkpoints that reach the target: N, D, pretraining, K, inference FLOPs a problem (2·N·length·K).

    `length`: tokens of one answer. Checkpoints that do not reach it within their samples are left out.
    """
    need = [samples_needed(n, c, target) for n, c in zip(checkpoints["n"], checkpoints["c"], strict=True)]
    out = checkpoints.assign(K=need, inference=2.0 * checkpoints["N"] * length * np.array(need))
    return out[["N", "D", "pretraining", "K", "inference"]].dropna().reset_index(drop=True)


def frontier(points: pd.DataFrame) -> pd.DataFrame:
    """The checkpoints that no other beats in both costs, by pretraining: each saves inference for what it cost."""
    ordered = points.sort_values(["pretraining", "inference"], kind="stable")
    best, kept = math.inf, []
    for row in ordered.itertuples():
        if row.inference < best:
            best = row.inference
            kept.append(row.Index)
    return points.loc[kept].reset_index(drop=True)


def uneven(n: np.ndarray, c: np.ndarray) -> float:
    """Mean success rate of problems that have more than the fewest samples, over that of the others.

    n, c [problems] of one checkpoint. NaN where under a tenth have more, or where the others are never solved.
    1 if samples were added without regard to success.
    """
    more, rate = n > n.min(), c / n
    if more.mean() < 0.1 or not c[~more].sum():
        return float("nan")
    return float(rate[more].mean() / rate[~more].mean())


def best_tokens(checkpoints: pd.DataFrame) -> dict[float, float]:
    """N → the training tokens D at which a size has its best pass@1, for sizes that ever solve anything (`grid`)."""
    alive = checkpoints[checkpoints["solved"] > 0]
    return {N: part.loc[part["pass@1"].idxmax(), "D"] for N, part in alive.groupby("N")}


def called(checkpoint: pd.Series) -> str:
    """A checkpoint in words: parameters in millions, training tokens in billions."""
    return f"{checkpoint.N / 1e6:.0f} M on {checkpoint.D / 1e9:.0f} B"


def cheapest(points: pd.DataFrame, problems: float) -> pd.Series:
    """The checkpoint with the smallest total cost when it is used on so many problems: pretraining + problems·inference."""
    total = points["pretraining"] + problems * points["inference"]
    return points.loc[total.idxmin()]
