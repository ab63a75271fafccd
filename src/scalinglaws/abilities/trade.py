"""Training against thinking: lines of equal success over FLOPs of training and FLOPs of answering (Jones 2021, arXiv:2104.03113, Figure 9).

A model of N parameters answers K times with L tokens, 2·N·L·K FLOPs, and succeeds if one answer is right (pass@K). On a line of
equal success log10(test) falls with log10(train); the slope is what a decade of training saves, in decades of answering.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..resampling.estimators import fixed_effects, pass_at


@dataclass(frozen=True)
class Models:
    """Models of one world. names; train: FLOPs of training (m,); answer: FLOPs of one answer (m,); n, c: answers drawn and right [m, tasks]."""

    names: tuple[str, ...]
    train: np.ndarray
    answer: np.ndarray
    n: np.ndarray
    c: np.ndarray


def grid(most: float, points: int = 60) -> np.ndarray:
    """Numbers of answers from one to `most`, evenly on a log scale, not whole."""
    return np.geomspace(1, most, points)


def success(models: Models, K: np.ndarray) -> np.ndarray:
    """pass@K [models, K, tasks]."""
    return np.stack([pass_at(n, c, K[:, None]) for n, c in zip(models.n, models.c, strict=True)])


def needed(curve: np.ndarray, K: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """log10 of the answers [models, targets] at which a mean curve [models, K] reaches each target; NaN where it is above at one answer or never reaches it."""
    found = np.full((len(curve), len(targets)), np.nan)
    for i, line in enumerate(curve):
        inside = (targets > line[0]) & (targets <= line[-1])
        found[i, inside] = np.interp(targets[inside], line, np.log10(K))
    return found


def slope(models: Models, K: np.ndarray, targets: np.ndarray, resamples: int, seed: int, level: float = 0.95):
    """Slope of log10 test on log10 train at equal success, its interval, and log10 test FLOPs [models, targets].

    A line for each target, all with one slope; at least two models must reach a target for it to count. Tasks are resampled.
    """
    each = success(models, K)

    def lines(tasks) -> np.ndarray:
        return needed(each[:, :, tasks].mean(2), K, targets) + np.log10(models.answer)[:, None]

    x = np.repeat(np.log10(models.train)[:, None], len(targets), 1)
    whole, rng, count = lines(slice(None)), np.random.default_rng(seed), models.n.shape[1]
    drawn = [fixed_effects(x, lines(rng.integers(0, count, count))) for _ in range(resamples)]
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return fixed_effects(x, whole), (float(low), float(high)), whole
