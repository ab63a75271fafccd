"""The laws of Kaplan et al. (2020), "Scaling Laws for Neural Language Models", arXiv:2001.08361.

N counts non-embedding parameters, D tokens, S optimiser steps, B tokens a batch, C PF-days
(1 PF-day = 8.64e19 FLOPs) and losses are nats per token, all as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chinchilla import Allocation, Frontier

PF_DAY = 8.64e19
"""FLOPs in one petaflop/s-day: 10^15 · 24 · 3600 (Section 1.3)."""


@dataclass(frozen=True)
class PowerLaw:
    """L(X) = (X_c/X)^α, where X is N, D or C, the other two not limiting (Eqs. 1.1–1.3)."""

    alpha: float
    scale: float

    def predict(self, X):
        """Loss in nats per token at X, in the unit of `scale`."""
        return (self.scale / np.asarray(X, float)[()]) ** self.alpha

    def invert(self, loss):
        """The X at which the law predicts `loss`: X_c · L^{−1/α}."""
        return self.scale * np.asarray(loss, float)[()] ** (-1 / self.alpha)


@dataclass(frozen=True)
class KaplanND:
    """L(N, D) = [(N_c/N)^{α_N/α_D} + D_c/D]^{α_D} (Eq. 1.5).

    D is the size of a data set that is reused until early stopping. It is not C/6N: there is
    no compute in this law and hence no compute-optimal allocation.
    """

    alpha_N: float
    alpha_D: float
    N_c: float
    D_c: float

    def predict(self, N, D):
        """Early-stopped test loss in nats per token."""
        r = self.alpha_N / self.alpha_D
        return (np.power(self.N_c / N, r) + self.D_c / D) ** self.alpha_D

    def overfitting(self, N, D):
        """δL = L(N, D)/L(N, ∞) − 1 (Eq. 4.2)."""
        return self.predict(N, D) / np.power(self.N_c / N, self.alpha_N) - 1

    def tokens_without_overfitting(self, N, delta: float = 0.02):
        """The D at which δL = `delta` (Eq. 4.4 uses the seed noise, .02): D ∝ N^{α_N/α_D}."""
        r = self.alpha_N / self.alpha_D
        return self.D_c * np.power(N / self.N_c, r) / ((1 + delta) ** (1 / self.alpha_D) - 1)


@dataclass(frozen=True)
class CriticalBatch:
    """B_crit(L) = B_*/L^{1/α_B} in tokens (Eq. 1.4)."""

    B_star: float
    alpha_B: float

    def predict(self, loss):
        """Critical batch size in tokens at `loss` nats per token."""
        return self.B_star * np.asarray(loss, float)[()] ** (-1 / self.alpha_B)

    def minimum_steps(self, S, B, loss):
        """S_min = S/(1 + B_crit/B) (Eq. 5.4)."""
        return S / (1 + self.predict(loss) / B)

    def minimum_compute(self, C, B, loss):
        """C_min = C/(1 + B/B_crit) (Eq. 5.5), in the unit of C."""
        return C / (1 + B / self.predict(loss))


@dataclass(frozen=True)
class KaplanNS:
    """L(N, S_min) = (N_c/N)^{α_N} + (S_c/S_min)^{α_S} (Eq. 1.6)."""

    alpha_N: float
    alpha_S: float
    N_c: float
    S_c: float

    def predict(self, N, S_min):
        """Loss in nats per token after S_min steps at a batch far above B_crit."""
        return np.power(self.N_c / N, self.alpha_N) + np.power(self.S_c / S_min, self.alpha_S)

    def compute_exponent(self, batch: CriticalBatch) -> float:
        """α_C^min = 1/(1/α_S + 1/α_B + 1/α_N) (Eq. 6.4)."""
        return 1 / (1 / self.alpha_S + 1 / batch.alpha_B + 1 / self.alpha_N)

    def stopped_at(self, excess: float, than: float) -> dict[str, float]:
        """What training to `excess` above the converged loss costs, over training to `than` above it.

        Both reach the same loss L = (1 + f)·(N_c/N)^{α_N}, the one with a larger model and fewer
        steps: N ∝ (1 + f)^{1/α_N} and S_min ∝ (1 + 1/f)^{1/α_S} (Appendix B.3). Returns the ratios
        `N`, `S` and `C` = N·S at f = excess over f = than. The optimum is at f = α_N/α_S.
        """
        N = ((1 + excess) / (1 + than)) ** (1 / self.alpha_N)
        S = ((1 + 1 / excess) / (1 + 1 / than)) ** (1 / self.alpha_S)
        return {"N": N, "S": S, "C": N * S}

    def optimum(self, C_min, batch: CriticalBatch) -> Allocation:
        """The allocation of C_min PF-days that minimises the loss (Appendix B.1).

        C_min = 6·N·S_min·B_crit(L). Where dL = 0 along that surface, α_N u = α_S v for the
        two terms u, v of L, so L = u(1 + α_N/α_S); every factor of C is then a power of L.
        `D` is N's tokens at the critical batch, S_min·B_crit.
        """
        ratio = self.alpha_N / self.alpha_S
        # C(L) = C(1)·L^{−1/α_C}: evaluate at L = 1, then invert.
        u, v = 1 / (1 + ratio), ratio / (1 + ratio)
        at_one = (
            6 * (self.N_c * u ** (-1 / self.alpha_N)) * (self.S_c * v ** (-1 / self.alpha_S)) * batch.B_star
        )
        C = np.asarray(C_min, float)[()]
        loss = (at_one / (C * PF_DAY)) ** self.compute_exponent(batch)
        N = self.N_c * (u * loss) ** (-1 / self.alpha_N)
        S = self.S_c * (v * loss) ** (-1 / self.alpha_S)
        return Allocation(N, S * batch.predict(loss), C, loss)


def contradiction(of_C: PowerLaw, of_D: PowerLaw, D_e, p_D) -> dict[str, float]:
    """Where L(C_min) falls below what its own data can give (Section 6.3, Eq. 6.8).

    Compute-efficient training uses D = D_e·C^{p_D} tokens (C in PF-days), each once; L(D) bounds
    its loss from below. The two power laws cross at C* with

        ln C* = [α_D ln(D_c/D_e) − α_C ln C_c]/(α_D p_D − α_C).

    Returns C (PF-days), D (tokens) and loss there. Arguments may be arrays.
    """
    top = of_D.alpha * np.log(of_D.scale / np.asarray(D_e, float)) - of_C.alpha * np.log(of_C.scale)
    C = np.exp(top / (of_D.alpha * p_D - of_C.alpha))
    return {"C": C, "D": D_e * C**p_D, "loss": of_C.predict(C)}


L_OF_N = PowerLaw(alpha=0.076, scale=8.8e13)
"""Table 5: N in non-embedding parameters."""
L_OF_D = PowerLaw(alpha=0.095, scale=5.4e13)
"""Table 5: D in tokens."""
L_OF_C = PowerLaw(alpha=0.057, scale=1.6e7)
"""Table 5: C in PF-days, at fixed batch size."""
L_OF_C_MIN = PowerLaw(alpha=0.050, scale=3.1e8)
"""Table 5: C_min in PF-days."""
L_OF_N_D = KaplanND(alpha_N=0.076, alpha_D=0.103, N_c=6.4e13, D_c=1.8e13)
"""Table 2."""
L_OF_N_S = KaplanNS(alpha_N=0.077, alpha_S=0.76, N_c=6.5e13, S_c=2.1e3)
"""Table 3."""
B_CRIT = CriticalBatch(B_star=2.1e8, alpha_B=0.21)
"""Table 5: B_* in tokens."""
KAPLAN_FRONTIER = Frontier(N0=1.3e9, a=0.73, D0=2.0e10, b=0.27, C0=PF_DAY)
"""Table 6: N = 1.3e9·C^.73, D = 2e10·C^.27 with C_min in PF-days."""
