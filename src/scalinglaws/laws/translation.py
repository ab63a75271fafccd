"""Encoder and decoder: Ghorbani et al. (2021), "Scaling Laws for Neural Machine Translation", arXiv:2109.07740."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EncoderDecoder:
    """L = E + A·N_e^{−p_e}·N_d^{−p_d}: cross-entropy against parameters of encoder and decoder (Eq. 2).

    A in units of the typical sizes to the powers p_e and p_d; nats per token.
    """

    E: float
    A: float
    p_e: float
    p_d: float

    def predict(self, N_e, N_d):
        """Loss in nats per token."""
        N_e, N_d = np.asarray(N_e, float)[()], np.asarray(N_d, float)[()]
        return self.E + self.A * N_e**-self.p_e * N_d**-self.p_d

    @property
    def decoder_share(self) -> float:
        """The share of all parameters that the decoder should have: p_d/(p_e + p_d), whatever their number."""
        return self.p_d / (self.p_e + self.p_d)


@dataclass(frozen=True)
class ScoreOfLoss:
    """BLEU = K·e^{−kL}: Gordon, Duh & Kaplan (2021), "Data and Parameter Scaling Laws for Neural Machine Translation"."""

    K: float
    k: float

    def predict(self, loss):
        """BLEU at a loss in nats per token."""
        return self.K * np.exp(-self.k * np.asarray(loss, float)[()])
