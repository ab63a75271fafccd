"""Search, chains and parallel samples of a real model, read out side by side at equal tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..testtime import select
from .evidence import Solutions

TWINS = {
    "snell.search.majority": "snell.real.majority",
    "snell.search.beam-small": "snell.real.beam-small",
    "snell.search.beam-large": "snell.real.beam-large",
    "snell.search.hard": "snell.real.hard",
    "snell.prm.min": "snell.real.min",
    "snell.prm.product": "snell.real.product",
    "snell.prm.orm": "snell.real.orm",
    "snell.revision.sequential-majority": "snell.real.sequential",
}
"""Claims that are checked in a small world and with the real model: id there → id here."""


@dataclass(frozen=True)
class Spent:
    """Accuracy [problems] of a way to spend tokens, and the tokens a problem that it wrote, [problems]."""

    right: np.ndarray
    tokens: np.ndarray

    @property
    def mean(self) -> tuple[float, float]:
        """Mean tokens a problem and mean accuracy."""
        return float(self.tokens.mean()), float(self.right.mean())


def curve(spent: list[Spent], resamples: int, seed: int) -> tuple[np.ndarray, ...]:
    """Mean tokens a problem, mean accuracy and the ends of its 95 % intervals, problems resampled: [entries] each."""
    mean, low, high = select.band(np.array([s.right for s in spent])[None], resamples, seed)
    return np.array([s.mean[0] for s in spent]), mean, low, high


def searched(searches: pd.DataFrame, choice: str = "right") -> dict[tuple[str, int], Spent]:
    """Each method and budget of the stored searches. choice: "right" (weighted by the verifier), "majority", "covered"."""
    found = {}
    for (method, budget), own in searches.sort_values("problem").groupby(["method", "budget"], sort=True):
        found[method, int(budget)] = Spent(own[choice].to_numpy(float), own["generated"].to_numpy(float))
    return found


def chains(table: pd.DataFrame, way: str) -> dict[str, list[Spent]]:
    """What chains of a way give after each round: a list a choice, one entry a round, the means over a problem's chains.

    "last": the last answer. "majority": the most frequent answer of the chain so far, ties shared. "covered": whether
    any was right. tokens: of all rounds so far.
    """
    own = table[table["way"] == way].sort_values(["problem", "chain", "round"])
    shape = own["problem"].nunique(), -1, own["round"].nunique()
    right, tokens = (own[name].to_numpy().reshape(shape) for name in ("right", "tokens"))
    answers = np.array([a if isinstance(a, str) else "" for a in own["answer"]], object).reshape(shape)
    numbered = _numbered(answers, right)
    spent = tokens.cumsum(2).mean(1)
    out: dict[str, list[Spent]] = {"last": [], "majority": [], "covered": []}
    for r in range(shape[2]):
        voted = np.array(
            [
                [select.accuracy(chain[: r + 1], np.zeros(r + 1), 0, "majority") for chain in some]
                for some in numbered
            ]
        )
        each = {"last": right[:, :, r], "majority": voted, "covered": right[:, :, : r + 1].any(2)}
        for name, value in each.items():
            out[name].append(Spent(value.mean(1), spent[:, r]))
    return out


def changed(table: pd.DataFrame, way: str) -> float:
    """Share of a way's rounds whose answer differs from that of the round before, as text, of those where both can be read."""
    own = table[table["way"] == way].sort_values(["problem", "chain", "round"])
    before = own.groupby(["problem", "chain"])["answer"].shift()
    both = own["answer"].notna() & before.notna()
    return float((own["answer"] != before)[both].mean()) if both.any() else float("nan")


def _numbered(answers: np.ndarray, right: np.ndarray) -> np.ndarray:
    """0 for a right answer, −1 for none, another number for each other text."""
    _, number = np.unique(answers.ravel().astype(str), return_inverse=True)
    return np.where(right, 0, np.where(answers == "", -1, number.reshape(answers.shape) + 1))


def parallel(of: Solutions, budgets, rule: str = "majority", score=None) -> list[Spent]:
    """As many samples side by side as each budget says: what a rule chooses, and the tokens that they take.

    rule: one of `testtime.select.RULES`, or "covered".
    """
    if rule == "covered":
        right = np.array([select.coverage(row, budgets) for row in of.right])
    else:
        right = of.chosen(budgets, rule, score)
    return [Spent(right[:, i], of.tokens.mean(1) * N) for i, N in enumerate(budgets)]


def at(spent: list[Spent], tokens: float) -> np.ndarray:
    """Accuracy [problems] of a way at so many tokens a problem: between its entries, linear in log tokens.

    Raises ValueError outside of what was spent.
    """
    x = np.log([s.mean[0] for s in spent])
    if not x[0] - 1e-9 <= np.log(tokens) <= x[-1] + 1e-9:
        raise ValueError(f"{tokens:.0f} tokens lie outside of {np.exp(x[0]):.0f} to {np.exp(x[-1]):.0f}")
    right = np.array([s.right for s in spent])
    k = int(np.clip(np.searchsorted(x, np.log(tokens)), 1, len(x) - 1))
    share = np.clip((np.log(tokens) - x[k - 1]) / (x[k] - x[k - 1]), 0, 1)
    return (1 - share) * right[k - 1] + share * right[k]
