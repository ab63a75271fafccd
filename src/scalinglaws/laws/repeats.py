"""Data that are repeated: Muennighoff et al. (2023), "Scaling Data-Constrained Language Models", arXiv:2305.16264.

N parameters, D tokens seen, U distinct tokens among them, losses in nats per token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .chinchilla import Allocation, Chinchilla

RIVALS = ("decay", "data only", "parameters only", "none")
"""What loses value when repeated: both, one of them, or nothing (the surface of all tokens seen)."""


def worth(times, constant):
    """What `times` (≥ 1) of the same are worth in fresh ones: 1 + R*·(1 − exp(−R/R*)), R = times − 1 (Eq. 5).

    Never more than `times`, at most 1 + R*; R* = ∞ is no decay, R* = 0 no gain.
    """
    R = np.maximum(np.asarray(times, float)[()] - 1, 0.0)
    constant = np.asarray(constant, float)[()]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gain = -constant * np.expm1(-R / constant)
    gain = np.where(np.isinf(constant), R, np.where(constant == 0, 0.0, gain))
    return 1 + gain[()]


@dataclass(frozen=True)
class DataConstrained:
    """L(N, D, U) = E + A/N'^α + B/D'^β with D' = U·worth(D/U, R_D*) and N' = U_N·worth(N/U_N, R_N*) (Eqs. 5 and 6).

    U_N = min(N, N_opt(U)): the size for which U fresh tokens are compute-optimal under `base`. What is not repeated,
    D ≤ U, is worth itself. base: the surface of fresh data.
    """

    base: Chinchilla
    R_D: float
    R_N: float

    def effective(self, N, D, U) -> tuple:
        """N' and D': the parameters and fresh tokens that are worth as much."""
        N, D, U = (np.asarray(v, float)[()] for v in (N, D, U))
        unique = np.minimum(D, U)
        enough = np.minimum(N, self.base.G * (unique / self.tokens_at_unit) ** (self.base.a / self.base.b))
        return enough * worth(N / enough, self.R_N), unique * worth(D / unique, self.R_D)

    @property
    def tokens_at_unit(self) -> float:
        """D_opt at a budget where C/k = 1: 1/G, so that N_opt = G·(D·G)^{a/b}."""
        return 1 / self.base.G

    def predict(self, N, D, U):
        """Loss in nats per token after D tokens of which U are distinct."""
        return self.base.predict(*self.effective(N, D, U))

    def optimum(self, C: float, U: float, k: float = 6.0) -> Allocation:
        """The allocation of C FLOPs that minimises the loss with U distinct tokens: a scan in log N, then refined."""
        low, high = np.log(1e3), np.log(C / k)
        for _ in range(6):
            N = np.exp(np.linspace(low, high, 401))
            loss = self.predict(N, C / (k * N), U)
            best = int(np.argmin(loss))
            low, high = np.log(N[max(best - 2, 0)]), np.log(N[min(best + 2, 400)])
        return Allocation(float(N[best]), float(C / (k * N[best])), C, float(loss[best]))

    def only(self, form: str) -> DataConstrained:
        """A rival of RIVALS with the same constants: what is not named does not decay. Raises ValueError."""
        if form not in RIVALS:
            raise ValueError(f"form {form!r} must be one of {', '.join(RIVALS)}")
        return replace(
            self,
            R_D=self.R_D if form in ("decay", "data only") else np.inf,
            R_N=self.R_N if form in ("decay", "parameters only") else np.inf,
        )


C4 = Chinchilla.from_theta([6.255414, 7.3049974, 0.6254804, 0.3526596, 0.3526596])
"""The surface that the paper's code holds fixed (its Section 3; C4, fresh data)."""
MUENNIGHOFF = DataConstrained(C4, R_D=15.387756, R_N=5.309743)
"""The published constants, unrounded, as in the authors' code."""
