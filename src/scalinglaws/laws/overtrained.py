"""Models trained beyond their compute-optimal length, because they will be used: loss, and the cheapest lifetime.

Gadre et al. (2024), "Language Models Scale Reliably with Over-Training and on Downstream Tasks", arXiv:2403.08540, and
Sardana & Frankle (2023), "Beyond Chinchilla-Optimal", arXiv:2401.00448.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from .chinchilla import FLOPS_PER_PARAMETER_TOKEN, Allocation, Chinchilla


@dataclass(frozen=True)
class Overtrained:
    """L(C, M) = E + (a·M^η + b·M^{−η})·C^{−η}, M = D/N tokens a parameter (Gadre et al. 2024, Eq. 4).

    The Chinchilla surface with α = β = 2η: at fixed M the loss falls as C^{−η} whatever M is, and more tokens a
    parameter only raise the line.
    """

    E: float
    a: float
    b: float
    eta: float

    def predict(self, C, M):
        """Loss in nats per token after C FLOPs at M tokens a parameter."""
        C, M = np.asarray(C, float)[()], np.asarray(M, float)[()]
        return self.E + (self.a * M**self.eta + self.b * M**-self.eta) * C**-self.eta

    @property
    def best_ratio(self) -> float:
        """The M that minimises the loss at any C: (b/a)^{1/(2η)}."""
        return (self.b / self.a) ** (1 / (2 * self.eta))

    def surface(self, k: float = FLOPS_PER_PARAMETER_TOKEN) -> Chinchilla:
        """The same law in N and D: A = a·k^{−η}, B = b·k^{−η}, α = β = 2η, with C = k·N·D."""
        scale = k**-self.eta
        return Chinchilla(self.E, self.a * scale, self.b * scale, 2 * self.eta, 2 * self.eta)


@dataclass(frozen=True)
class ErrorOfLoss:
    """Err(L) = top − K·e^{−γL}: a task's error against the loss (Gadre et al. 2024, Eq. 5).

    top: the error of guessing, where the loss is large.
    """

    top: float
    K: float
    gamma: float

    def predict(self, loss):
        """Error, a share, at a loss in nats per token."""
        return self.top - self.K * np.exp(-self.gamma * np.asarray(loss, float)[()])


def lifetime_optimum(law: Chinchilla, loss: float, inference_tokens: float) -> Allocation:
    """The (N, D) that reaches `loss` with the least 6·N·D + 2·N·D_inference FLOPs.

    Sardana & Frankle (2023), arXiv:2401.00448. With D fixed by the loss, D(N), the total is stationary where
    (6D + 2D_inf)·dN + 6N·dD = 0 and αA·N^{−α}·dN/N + βB·D^{−β}·dD/D = 0, that is
    αA·N^{−α}/(βB·D^{−β}) = 1 + D_inf/(3D). `C` is the total, training and inference.
    Raises ValueError when `loss` is not above E.
    """
    if loss <= law.E:
        raise ValueError(f"loss {loss:g} is not above the irreducible E = {law.E:g}")

    def tokens(N):
        return (law.B / (loss - law.E - law.A * N ** (-law.alpha))) ** (1 / law.beta)

    def stationary(log_N):
        N = np.exp(log_N)
        D = tokens(N)
        ratio = law.alpha * law.A * N ** (-law.alpha) / (law.beta * law.B * D ** (-law.beta))
        return np.log(ratio) - np.log1p(inference_tokens / (3 * D))

    smallest = np.log(law.A / (loss - law.E)) / law.alpha  # where D would be infinite
    N = float(np.exp(brentq(stationary, smallest + 1e-9, smallest + 40, xtol=1e-12)))
    D = float(tokens(N))
    return Allocation(N, D, 6 * N * D + 2 * N * inference_tokens, float(law.predict(N, D)))
