"""Simulated scaling studies: worlds in which the true law is known.

A study is a law, the runs an experimenter would have made, and noise that multiplies every
loss by exp(σ·z). Training curves follow the law at every token count, as if the schedule had
been matched to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..laws import Chinchilla

HOFFMANN_BUDGETS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
"""FLOP budgets of Hoffmann et al.'s IsoFLOP profiles (the paper gives their number and range)."""


@dataclass(frozen=True)
class Runs:
    """Columns of a study, one entry a run: N parameters, D tokens, C = 6·N·D, the noiseless loss.

    `group` labels what the study varies together: a budget, or a training curve.
    """

    N: np.ndarray
    D: np.ndarray
    loss: np.ndarray
    group: np.ndarray

    @property
    def C(self):
        """FLOPs."""
        return 6 * self.N * self.D


def isoflop_runs(law: Chinchilla, sizes, budgets=HOFFMANN_BUDGETS, factor: float = 8.0) -> Runs:
    """At each budget, every size within `factor` of the law's optimum."""
    sizes, N, C, group = np.asarray(sizes, float), [], [], []
    for k, budget in enumerate(budgets):
        best = law.optimum(budget).N
        near = sizes[(sizes >= best / factor) & (sizes <= best * factor)]
        N.append(near)
        C.append(np.full(len(near), float(budget)))
        group.append(np.full(len(near), k))
    N, C, group = np.concatenate(N), np.concatenate(C), np.concatenate(group)
    D = C / (6 * N)
    return Runs(N, D, law.predict(N, D), group)


def isoflop_grid(law: Chinchilla, budgets, factor: float, points: int, drift: float = 1.0) -> Runs:
    """A regular grid: `points` token counts log-spaced over D_opt·c/factor … D_opt·c·factor.

    The centre c moves log-linearly from 1 at the first budget to `drift` at the last.
    """
    budgets = np.asarray(budgets, float)
    steps = np.geomspace(1 / factor, factor, points)
    centre = drift ** np.linspace(0, 1, len(budgets))
    D = np.concatenate([law.optimum(C).D * c * steps for C, c in zip(budgets, centre, strict=True)])
    C = np.repeat(budgets, points)
    N = C / (6 * D)
    return Runs(N, D, law.predict(N, D), np.repeat(np.arange(len(budgets)), points))


def curve_runs(law: Chinchilla, sizes, horizons, points: int = 24) -> Runs:
    """Training curves: each size for every horizon (tokens per parameter), `points` a curve.

    A curve covers the last factor of 16 of its tokens, log-spaced.
    """
    N: list[np.ndarray] = []
    D: list[np.ndarray] = []
    group: list[np.ndarray] = []
    for size in sizes:
        for horizon in horizons:
            D.append(np.geomspace(size * horizon / 16, size * horizon, points))
            N.append(np.full(points, float(size)))
            group.append(np.full(points, len(group)))
    sizes, tokens = np.concatenate(N), np.concatenate(D)
    return Runs(sizes, tokens, law.predict(sizes, tokens), np.concatenate(group))


def with_noise(runs: Runs, sigma: float, rng: np.random.Generator, per_group: bool = False) -> np.ndarray:
    """Losses times exp(σ·z), z standard normal: one z a run, or one a group (a whole curve shifts)."""
    if per_group:
        return runs.loss * np.exp(sigma * rng.standard_normal(runs.group.max() + 1))[runs.group]
    return runs.loss * np.exp(sigma * rng.standard_normal(len(runs.loss)))
