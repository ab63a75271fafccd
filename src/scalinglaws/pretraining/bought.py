"""What a smaller model bought: how sure a difference of two benchmark scores is, and what training costs in hours.

Scores are shares right of a number of items. Two models answer the same items, and their answers are alike, so
intervals that take them for independent are too wide: what they decide is decided.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from ..flops import CHINCHILLA_VOCABULARY, Shape, parameters
from ..laws import Allocation, Chinchilla

A100_PEAK = 312e12
"""FLOP/s of an A100 in bf16, dense (NVIDIA's data sheet)."""


def sizes(family: pd.DataFrame) -> pd.Series:
    """Parameters of each row's shape, relative positions and embeddings counted (`flops.parameters`).

    family: name, n_layers, d_model, kv_size, n_heads; the feed-forward width is 4·d_model.
    """
    column = lambda name: family[name].to_numpy()
    shape = Shape(
        column("n_layers"), column("d_model"), 4 * column("d_model"), column("kv_size"), column("n_heads"),
        CHINCHILLA_VOCABULARY,
    )  # fmt: skip
    return pd.Series(parameters(shape), index=family["name"])


def difference(first: float, second: float, items: int, level: float = 0.95) -> tuple[float, tuple[float, float]]:
    """first − second of two shares of `items` each, with Newcombe's interval (1998, method 10).

    From Wilson's intervals (l, u) of the shares: low = d − √((p₁−l₁)² + (u₂−p₂)²), high = d + √((u₁−p₁)² + (p₂−l₂)²).
    """
    ends = [
        binomtest(round(p * items), items).proportion_ci(level, method="wilson") for p in (first, second)
    ]
    (l1, u1), (l2, u2) = ((e.low, e.high) for e in ends)
    d = first - second
    return d, (float(d - np.hypot(first - l1, u2 - second)), float(d + np.hypot(u1 - first, second - l2)))


def counts(percent: float, items: int, digits: int = 1) -> int | None:
    """The number right that a printed percentage stands for; None where no whole number prints so."""
    right = round(percent / 100 * items)
    off = abs(100 * right / items - percent)
    return right if off <= 0.5 * 10.0**-digits + 1e-9 else None


def losses_by_chance(gain: float, share: float, items: float, tasks: int) -> float:
    """Tasks of `tasks` that a better model loses by chance, if it is better by `gain` on each.

    Each task has `items` questions, of which a model gets about `share` right: tasks·Φ(−gain/√(2p(1−p)/n)).
    """
    return float(tasks * norm.cdf(-gain / np.sqrt(2 * share * (1 - share) / items)))


def known_by_heart(first: float, second: float) -> float:
    """Share of items that the first model must know by heart, and the second not, to explain its whole lead."""
    return (first - second) / (1 - second)


def utilisation(N: float, D: float, hours: float, peak: float = A100_PEAK) -> float:
    """Share of the peak that a run of 6·N·D FLOPs in so many GPU hours has used."""
    return 6 * N * D / (3600 * hours * peak)


def overtrained(law: Chinchilla, N: float, D: float) -> tuple[Allocation, float]:
    """What a law would have done with the compute of a model of N parameters on D tokens, and what its loss is worth.

    Returns the optimum at C = 6·N·D, and the share of C with which an optimal model has the loss of (N, D).
    """
    C, loss = 6 * N * D, law.predict(N, D)
    worth = brentq(lambda x: law.optimum(np.exp(x)).loss - loss, np.log(C) - 30, np.log(C) + 1e-9)
    return law.optimum(C), float(np.exp(worth) / C)


def compared(rivals: pd.DataFrame, against: str) -> pd.DataFrame:
    """Chinchilla's lead over another model, a row a task that both have: task, items, lead, low, high (points)."""
    both = rivals.dropna(subset=[against])
    rows = []
    for row in both.to_dict("records"):
        d, (low, high) = difference(row["chinchilla"] / 100, row[against] / 100, int(row["items"]))
        rows.append({"task": row["task"], "items": row["items"], "lead": 100 * d, "low": 100 * low, "high": 100 * high})
    return pd.DataFrame(rows)
