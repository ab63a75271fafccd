"""From one distribution to another: what pretraining is worth in data, and how the losses on two sets move together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Transfer:
    """D_T = k·D_F^α·N^β: the data of the target that pretraining on another distribution is worth.

    Hernandez et al. (2021), "Scaling Laws for Transfer", arXiv:2102.01293, Eq. 1. D_F: data finetuned on, D_T: the more
    of it that training from scratch would need for the same loss; both in characters, N non-embedding parameters.
    """

    k: float
    alpha: float
    beta: float

    def predict(self, D_F, N):
        """Effective data transferred, in the unit of D_F."""
        return self.k * np.power(np.asarray(D_F, float)[()], self.alpha) * np.power(np.asarray(N, float)[()], self.beta)

    def ossified(self, N):
        """The D_F at which pretraining is worth as much as the data themselves, D_T = D_F: (k·N^β)^{1/(1−α)}."""
        return (self.k * np.power(np.asarray(N, float)[()], self.beta)) ** (1 / (1 - self.alpha))


@dataclass(frozen=True)
class LossToLoss:
    """L1 = K·(L0 − E0)^κ + E1: the losses of the same models on two sets, or of two trainings at equal compute.

    Brandfonbrener et al. (2024), "Loss-to-Loss Prediction", arXiv:2411.12925. Nats per token.
    """

    K: float
    kappa: float
    E0: float
    E1: float

    def predict(self, L0):
        """L1 at L0, which must lie above E0 (NaN elsewhere)."""
        above = np.asarray(L0, float)[()] - self.E0
        with np.errstate(invalid="ignore"):
            return self.K * np.power(above, self.kappa) + self.E1


TEXT_TO_PYTHON = Transfer(k=1.9e4, alpha=0.18, beta=0.38)
"""Hernandez et al. (2021), Section 1: English text to Python, in characters."""
