"""The parametric surface of Hoffmann et al. (2022) and frontiers of the form N_opt ∝ C^a.

Source: "Training Compute-Optimal Large Language Models", arXiv:2203.15556, Section 3.3
and Appendix D. Losses are in nats per token, N in parameters, D in tokens, C in FLOPs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FLOPS_PER_PARAMETER_TOKEN = 6.0
"""k in C = k·N·D: two FLOPs a weight forward, four backward (Kaplan 2020, Section 2.1)."""


class Allocation(NamedTuple):
    """How a compute budget is split.

    `N` parameters, `D` tokens, `C` FLOPs, `loss` nats per token (NaN if the law gives none).
    """

    N: float | np.ndarray
    D: float | np.ndarray
    C: float | np.ndarray
    loss: float | np.ndarray


@dataclass(frozen=True)
class Chinchilla:
    """L(N, D) = E + A/N^α + B/D^β.

    E, A, B in nats per token; α, β dimensionless; all positive.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __post_init__(self):
        for name in ("A", "B", "alpha", "beta"):
            value = getattr(self, name)
            # arrays hold resamples, in which NaN marks a failed one; a single law must be a law
            if np.any(np.asarray(value) <= 0) or (np.ndim(value) == 0 and not value > 0):
                raise ValueError(f"Chinchilla.{name} must be positive, got {getattr(self, name)!r}")
        if np.any(np.asarray(self.E) < 0) or (np.ndim(self.E) == 0 and not self.E >= 0):
            raise ValueError(f"Chinchilla.E must not be negative, got {self.E!r}")

    @property
    def theta(self) -> np.ndarray:
        """(a, b, e, α, β) = (log A, log B, log E, α, β), the coordinates of approach 3."""
        with np.errstate(divide="ignore"):
            return np.array([np.log(self.A), np.log(self.B), np.log(self.E), self.alpha, self.beta])

    @classmethod
    def from_theta(cls, theta) -> Chinchilla:
        """The inverse of `theta`."""
        a, b, e, alpha, beta = (float(t) for t in theta)
        return cls(E=float(np.exp(e)), A=float(np.exp(a)), B=float(np.exp(b)), alpha=alpha, beta=beta)

    def predict(self, N, D):
        """L(N, D) in nats per token; N and D broadcast."""
        return self.E + self.A * np.power(N, -self.alpha) + self.B * np.power(D, -self.beta)

    def log_gradient(self, N, D) -> np.ndarray:
        """∂ log L / ∂(a, b, e, α, β), shape (…, 5).

        With p = (A/N^α, B/D^β, E)/L the gradient is (p₁, p₂, p₃, −p₁ log N, −p₂ log D).
        """
        x, y = np.log(N), np.log(D)
        terms = np.stack(
            np.broadcast_arrays(
                self.A * np.exp(-self.alpha * x), self.B * np.exp(-self.beta * y), self.E + 0 * (x + y)
            )
        )
        p1, p2, p3 = terms / terms.sum(0)
        return np.stack([p1, p2, p3, -p1 * x, -p2 * y], axis=-1)

    @property
    def a(self) -> float:
        """Exponent of N_opt ∝ C^a: β/(α+β) (Eq. 4)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> float:
        """Exponent of D_opt ∝ C^b: α/(α+β) (Eq. 4)."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def G(self) -> float:
        """(αA/βB)^{1/(α+β)}, so that N_opt = G·(C/6)^a (Eq. 4)."""
        return (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))

    def optimum(self, C, k: float = FLOPS_PER_PARAMETER_TOKEN) -> Allocation:
        """The allocation that minimises L subject to k·N·D = C (Eq. 4).

        N = G·(C/k)^a, D = (C/k)^b / G.
        """
        C = np.asarray(C, float)[()]
        N = self.G * (C / k) ** self.a
        D = (C / k) ** self.b / self.G
        return Allocation(N, D, C, self.predict(N, D))

    def optimum_at(self, N, k: float = FLOPS_PER_PARAMETER_TOKEN) -> Allocation:
        """The allocation in which N parameters are compute-optimal: C = k·(N/G)^{1/a}."""
        return self.optimum(k * (np.asarray(N, float)[()] / self.G) ** (1 / self.a), k)


@dataclass(frozen=True)
class Frontier:
    """N_opt = N0·(C/C0)^a and D_opt = D0·(C/C0)^b: two lines in log–log space.

    What approaches 1 and 2 estimate, and the form of Kaplan's Table 6.
    N0 parameters, D0 tokens, C0 FLOPs.
    """

    N0: float
    a: float
    D0: float
    b: float
    C0: float = 1.0

    def optimum(self, C) -> Allocation:
        """N_opt and D_opt at C FLOPs; the loss is NaN because a frontier does not give one."""
        C = np.asarray(C, float)[()]
        ratio = C / self.C0
        return Allocation(self.N0 * ratio**self.a, self.D0 * ratio**self.b, C, np.nan * C)

    def optimum_at(self, N) -> Allocation:
        """The allocation in which N parameters are compute-optimal."""
        return self.optimum(self.C0 * (np.asarray(N, float)[()] / self.N0) ** (1 / self.a))


HOFFMANN_ROUNDED = Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
"""The constants as printed in Hoffmann et al. (2022), Eq. 10."""

HOFFMANN_TEX = Chinchilla.from_theta([6.0073404, 6.0179186, 0.5267228, 0.33917084, 0.2849083])
"""The unrounded constants in the paper's TeX source, noted by Besiroglu et al. (2024)."""

BESIROGLU = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
"""Besiroglu et al. (2024), arXiv:2404.10102, Table 1: the refit to the digitised points."""
