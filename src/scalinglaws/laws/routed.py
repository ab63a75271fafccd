"""Routed models: Clark et al. (2022), "Unified Scaling Laws for Routed Language Models", arXiv:2202.01169."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Routed:
    """log L(N, X) = a·log N + b·log X̂ + c·log N·log X̂ + d, natural logarithms (Eq. 1 with Eq. 2).

    N parameters that each token passes, X experts, X̂ = X saturated: 1/X̂ = 1/(X − 1 + 1/(1/start − 1/most)) + 1/most,
    so that X̂(1) = start and X̂(∞) = most. c > 0: experts help less the larger the model.
    """

    a: float
    b: float
    c: float
    d: float
    start: float = 1.0
    most: float = np.inf

    def experts(self, X):
        """X̂: the experts that count."""
        X = np.asarray(X, float)[()]
        first = 1 / (1 / self.start - 1 / self.most)
        return 1 / (1 / (X - 1 + first) + 1 / self.most)

    def predict(self, N, X):
        """Loss in nats per token."""
        n, x = np.log(np.asarray(N, float)[()]), np.log(self.experts(X))
        return np.exp(self.a * n + self.b * x + self.c * n * x + self.d)

    def worth(self, N, X):
        """The dense model with the same loss: N̄ with L(N̄, 1) = L(N, X) (Eq. 6, the effective parameter count)."""
        one = np.log(self.experts(1))
        return np.exp((np.log(self.predict(N, X)) - self.b * one - self.d) / (self.a + self.c * one))

    @property
    def cutoff(self) -> float:
        """The N beyond which more experts no longer help: e^{−b/c} (Section 5); infinite for c ≤ 0."""
        return float(np.exp(-self.b / self.c)) if self.c > 0 else np.inf
