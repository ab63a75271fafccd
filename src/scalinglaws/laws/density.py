"""How fast models of equal ability shrink: Xiao et al. (2024), "Densing Law of LLMs", arXiv:2412.04315."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Densing:
    """ln ρ_max(t) = A·t + B, with ρ = N̂/N: the parameters a reference model needs for the same score, over one's own.

    t in days.
    """

    A: float
    B: float

    def predict(self, t):
        """ρ_max at day t."""
        return np.exp(self.A * np.asarray(t, float)[()] + self.B)

    @property
    def doubling(self) -> float:
        """Days in which the density doubles: ln 2/A."""
        return float(np.log(2) / self.A)
