"""The loss along a schedule: Tissue et al. (2024), "Scaling Law with Learning Rate Annealing", arXiv:2408.11029."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

MEMORY = 0.999
"""λ of the paper: what is left of the momentum of annealing after a step; it lasts 1/(1 − λ) steps."""


@dataclass(frozen=True)
class Annealing:
    """L(s) = E + A·S1^{−α} − K·S2: forward area less annealing area, at any step of any schedule.

    S1 = Σ_{i≤s} η_i; S2 = Σ_{i≤s} m_i with m_i = λ·m_{i−1} + (η_{i−1} − η_i) (`areas`). Nats per token.
    """

    E: float
    A: float
    alpha: float
    K: float

    def predict(self, S1, S2):
        """Loss at the areas S1 and S2."""
        return self.E + self.A * np.power(np.asarray(S1, float)[()], -self.alpha) - self.K * np.asarray(S2, float)[()]


def areas(rates, memory: float = MEMORY) -> tuple[np.ndarray, np.ndarray]:
    """S1 and S2 after each step of a schedule of learning rates [steps].

    A rise counts as annealing below nought, as where a model is warmed up again; leave the first warm-up out. Before
    the first step the rate is that of the first.
    """
    rates = np.asarray(rates, float)
    drops = -np.diff(rates, prepend=rates[:1])
    return np.cumsum(rates), np.cumsum(lfilter([1.0], [1.0, -memory], drops))
