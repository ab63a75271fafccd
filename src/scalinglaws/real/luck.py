"""How often a right number is luck: answers to one problem, held against the right answers of the others.

A sample "solves" a problem when its last number is the right one. That it would also be for an answer to another
problem now and then: right answers are mostly small whole numbers, and so are wrong ones. Samples that were asked
something else cannot know, so what they reach is luck.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from ..resampling.estimators import pass_at


def number(answer: str | None) -> float:
    """An answer as a number; NaN, which equals nothing, where it is none."""
    try:
        return float(answer) if isinstance(answer, str) else float("nan")
    except ValueError:
        return float("nan")


def hits(reference: Sequence[str], answers: Sequence[Sequence[str | None]]) -> np.ndarray:
    """How many answers to problem j are the right answer of problem i, [problems i, problems j]; the diagonal counts
    right answers."""
    right = np.array([number(r) for r in reference])
    given = [np.array([number(a) for a in own]) for own in answers]
    return np.array([[int((own == r).sum()) for own in given] for r in right])


def by_luck(counts: np.ndarray, n: int, K: int) -> np.ndarray:
    """pass@K [problems] with K of the n answers to another problem, the mean over the others."""
    off = ~np.eye(len(counts), dtype=bool)
    found = pass_at(np.full(off.sum(), n), counts[off], K).reshape(len(counts), -1)
    return found.mean(1)


def beyond(counts: np.ndarray, n: int, level: float = 0.05) -> np.ndarray:
    """Whether luck cannot explain a problem's right answers [problems].

    So many or more of n would come by luck, at the rate of answers to other problems, with a probability below
    level/problems (Bonferroni), by the binomial distribution. A rate of 0 is taken as half an answer of all.
    """
    rate = by_luck(counts, n, 1)
    return stats.binom.sf(np.diag(counts) - 1, n, np.clip(rate, 0.5 / (n * len(counts)), None)) < level / len(
        counts
    )
