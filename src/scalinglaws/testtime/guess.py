"""Guessing how hard a question is: from few samples' scores, or from what it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .policy import quantile_bins
from .readout import Sampled
from .world import Problem


def by_scores(view: Sampled, n: int) -> np.ndarray:
    """Bins [problems] from the verifier's mean final score of each problem's first n samples."""
    return quantile_bins(np.exp(view.last[:, :n]).mean(1))


def features(problems: Sequence[Problem], operations: int) -> np.ndarray:
    """What a chain's question says [problems, 2 + operations]: one, its length, how often each operation occurs."""
    told = np.zeros((len(problems), 2 + operations))
    told[:, 0] = 1
    for row, p in zip(told, problems, strict=True):
        row[1] = p.difficulty
        np.add.at(row, [2 + o for o in p.notes[0]], 1)
    return told


def by_regression(told: np.ndarray, ease: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Bins [problems] by a ridge regression (penalty 1) of ease on the features, fitted outside each fold."""
    guess = np.empty(len(ease))
    for f in range(int(fold.max()) + 1):
        X, y = told[fold != f], ease[fold != f]
        guess[fold == f] = told[fold == f] @ np.linalg.solve(X.T @ X + np.eye(X.shape[1]), X.T @ y)
    return quantile_bins(guess)
