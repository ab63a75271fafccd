"""Fewer bits: Kumar et al. (2024), "Scaling Laws for Precision", arXiv:2411.04330.

P bits a weight, N parameters, D tokens, losses in nats per token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chinchilla import Chinchilla


@dataclass(frozen=True)
class TrainedInBits:
    """L(N, D, P) = base(N_eff, D) with N_eff = N·(1 − e^{−P/γ}): weights of P bits while training (Eq. 3).

    P → ∞ is the base; γ is the number of bits at which 1 − 1/e of the parameters are left.
    """

    base: Chinchilla
    gamma: float

    def effective(self, N, P):
        """N_eff: the full-precision parameters that are worth as much."""
        return np.asarray(N, float)[()] * -np.expm1(-np.asarray(P, float)[()] / self.gamma)

    def predict(self, N, D, P):
        """Loss in nats per token."""
        return self.base.predict(self.effective(N, P), D)


@dataclass(frozen=True)
class Quantised:
    """δ(N, D, P) = K·D^{γ_D}/N^{γ_N}·e^{−P/γ}: what quantising to P bits after training adds to the loss (Eq. 2).

    With γ_D > 0 a model is harmed the more the longer it was trained, so that beyond some D more tokens make the
    quantised model worse. P → ∞ adds nothing.
    """

    K: float
    gamma_D: float
    gamma_N: float
    gamma: float

    def predict(self, N, D, P):
        """Added loss in nats per token."""
        N, D, P = (np.asarray(v, float)[()] for v in (N, D, P))
        return self.K * D**self.gamma_D / N**self.gamma_N * np.exp(-P / self.gamma)

    def most_tokens(self, base: Chinchilla, N, P):
        """The D beyond which more training raises the loss of the quantised model: where ∂(base + δ)/∂D = 0.

        D = (β·B·N^{γ_N}·e^{P/γ}/(K·γ_D))^{1/(β + γ_D)}; infinite for γ_D ≤ 0.
        """
        N, P = np.asarray(N, float)[()], np.asarray(P, float)[()]
        if self.gamma_D <= 0:
            return np.full(np.broadcast(N, P).shape, np.inf)[()]
        top = base.beta * base.B * N**self.gamma_N * np.exp(P / self.gamma) / (self.K * self.gamma_D)
        return top ** (1 / (base.beta + self.gamma_D))
