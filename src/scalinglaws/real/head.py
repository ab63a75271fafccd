"""An outcome verifier on a model's states: logistic regression, as strong a penalty as held-out problems want."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

PENALTIES = tuple(10.0**k for k in range(-1, 5))


@dataclass(frozen=True)
class Head:
    """P(right) = σ(weight · (state − centre)/scale + bias)."""

    weight: np.ndarray
    bias: float
    centre: np.ndarray
    scale: np.ndarray
    penalty: float

    def log_odds(self, states: np.ndarray) -> np.ndarray:
        """log P/(1 − P) [n] of states [n, d]."""
        return (states.astype(np.float64) - self.centre) / self.scale @ self.weight + self.bias

    def probability(self, states: np.ndarray) -> np.ndarray:
        """P(right) [n] of states [n, d]."""
        return expit(self.log_odds(states))


def fit_one(states: np.ndarray, right: np.ndarray, penalty: float) -> Head:
    """Maximum likelihood with penalty/2 · |weight|² on standardised states [n, d]; the bias is free.

    Where all are right, or all wrong, nothing tells them apart: weights of 0, and the odds of (r + ½)/(n + 1).
    """
    right, x = np.asarray(right, bool), states.astype(np.float64)
    centre, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    if right.all() or not right.any():
        odds = np.log((right.sum() + 0.5) / ((~right).sum() + 0.5))
        return Head(np.zeros(x.shape[1]), float(odds), centre, scale, penalty)
    x, sign = (x - centre) / scale, np.where(right, 1.0, -1.0)

    def loss(t):
        margin = sign * (x @ t[:-1] + t[-1])
        pull = -sign * expit(-margin)
        value = -log_expit(margin).sum() + penalty / 2 * t[:-1] @ t[:-1]
        return value, np.append(x.T @ pull + penalty * t[:-1], pull.sum())

    start = np.zeros(x.shape[1] + 1)
    start[-1] = np.log(right.sum() / (~right).sum())
    t = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    return Head(t[:-1], float(t[-1]), centre, scale, penalty)


def fit(states: np.ndarray, right: np.ndarray, problem: np.ndarray, folds: int = 5) -> Head:
    """`fit_one` with the penalty of PENALTIES under which left-out problems are most likely.

    Whole problems are left out, fold by fold.
    """
    right, fold = np.asarray(right, bool), np.unique(problem, return_inverse=True)[1] % folds
    told = []
    for penalty in PENALTIES:
        found = 0.0
        for k in range(folds):
            held = fold == k
            odds = fit_one(states[~held], right[~held], penalty).log_odds(states[held])
            found += log_expit(np.where(right[held], odds, -odds)).sum()
        told.append(found)
    return fit_one(states, right, PENALTIES[int(np.argmax(told))])
