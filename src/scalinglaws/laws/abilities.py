"""From a loss to what is measured on a task, and from compute to it directly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sigmoid:
    """Acc(L) = b + a/(1 + e^{−k(L − L0)}), −1 ≤ a ≤ 0 (Bhagia et al. 2024, Eq. 2).

    b: accuracy where the loss is low; a + b: where it is high; L0: loss halfway, in the units of the loss; k: steepness.
    """

    a: float
    k: float
    L0: float
    b: float

    def predict(self, loss):
        """Accuracy, a share."""
        with np.errstate(over="ignore"):
            return self.b + self.a / (1 + np.exp(-self.k * (np.asarray(loss, float)[()] - self.L0)))


@dataclass(frozen=True)
class LogAccuracy:
    """−log Q = A/N^α + B/D^β, Q the accuracy above guessing, as a share of what is possible (Krajewski et al. 2025, Eq. 4, second hand).

    No floor: accuracy goes to one with N and D. `chance`: accuracy of guessing, Q = (Acc − chance)/(1 − chance).
    """

    A: float
    B: float
    alpha: float
    beta: float
    chance: float = 0.0

    def predict(self, N, D):
        """Accuracy, a share, of N parameters after D tokens."""
        nats = self.A * np.asarray(N, float)[()] ** -self.alpha + self.B * np.asarray(D, float)[()] ** -self.beta
        return self.chance + (1 - self.chance) * np.exp(-nats)
