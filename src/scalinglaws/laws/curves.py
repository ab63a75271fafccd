"""Learning curves: an error or a loss y against one measure of scale x (examples, parameters, compute).

M1 to M4 are the names of Alabdulmohsin, Neyshabur & Zhai (2022), "Revisiting Neural Scaling Laws in Language and
Vision", arXiv:2209.06640. x and y in any unit, both positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit


@dataclass(frozen=True)
class Power:
    """M1: y = A·x^{−α}."""

    A: float
    alpha: float

    def predict(self, x):
        """y at x."""
        return self.A * np.power(np.asarray(x, float)[()], -self.alpha)


@dataclass(frozen=True)
class Offset:
    """M2: y = E + A·x^{−α}, a power law above an irreducible level.

    Henighan et al. (2020), arXiv:2010.14701, write it L = L∞ + (x0/x)^α; Hestness et al. (2017), arXiv:1712.00409,
    ε = α·m^β + γ.
    """

    E: float
    A: float
    alpha: float

    def predict(self, x):
        """y at x."""
        return self.E + self.A * np.power(np.asarray(x, float)[()], -self.alpha)

    @property
    def x0(self) -> float:
        """The x at which the reducible part is one: A^{1/α}."""
        return self.A ** (1 / self.alpha)


@dataclass(frozen=True)
class Levelled:
    """M3: y = A·(1/x + γ)^α, which levels off at A·γ^α."""

    A: float
    gamma: float
    alpha: float

    def predict(self, x):
        """y at x."""
        return self.A * (1 / np.asarray(x, float)[()] + self.gamma) ** self.alpha


@dataclass(frozen=True)
class Implicit:
    """M4: (y − E)/(top − y)^β = A·x^{−α}: from the level of guessing, top, to the irreducible one, E."""

    E: float
    top: float
    A: float
    alpha: float
    beta: float

    def predict(self, x):
        """y at x: the only root between E and top, by Newton's method on the log odds of (y − E)/(top − E)."""
        room = self.top - self.E
        # log u − β·log(1 − u) = goal, whose slope in the log odds of u lies between 1 and β
        goal = np.log(self.A) - self.alpha * np.log(np.asarray(x, float)[()]) + (self.beta - 1) * np.log(room)
        odds = np.where(goal < 0, goal, goal / self.beta)
        for _ in range(30):
            u = expit(odds)
            step = (log_expit(odds) - self.beta * log_expit(-odds) - goal) / (1 - u + self.beta * u)
            odds = odds - step
            if np.max(np.abs(step)) < 1e-13:
                break
        return self.E + room * expit(odds)


@dataclass(frozen=True)
class Shifted:
    """y = E + A·(x + d)^{−α}: bounded at x = 0, as an error is.

    Zhai et al. (2022), "Scaling Vision Transformers", arXiv:2106.04560.
    """

    E: float
    A: float
    d: float
    alpha: float

    def predict(self, x):
        """y at x."""
        return self.E + self.A * (np.asarray(x, float)[()] + self.d) ** (-self.alpha)


@dataclass(frozen=True)
class Broken:
    """BNSL: y = E + A·x^{−c0}·Π_i (1 + (x/d_i)^{1/f_i})^{−c_i·f_i}.

    Caballero et al. (2022), "Broken Neural Scaling Laws", arXiv:2210.14891, Eq. 1. Piece by piece a power law: before
    d_1 with the exponent c0, after it with c0 + c_1, and so on; f_i is the width of the break in log x. An exponent
    may be negative. d, c, f: a number for each break.
    """

    E: float
    A: float
    c0: float
    d: tuple[float, ...]
    c: tuple[float, ...]
    f: tuple[float, ...]

    def predict(self, x):
        """y at x."""
        x = np.asarray(x, float)[()]
        log = np.log(self.A) - self.c0 * np.log(x)
        for d, c, f in zip(self.d, self.c, self.f, strict=True):
            log = log - c * f * np.logaddexp(0.0, (np.log(x) - np.log(d)) / f)
        return self.E + np.exp(log)

    def slopes(self) -> np.ndarray:
        """Exponents of the pieces, [breaks + 1]: c0, c0 + c_1, …"""
        return self.c0 + np.concatenate([[0.0], np.cumsum(self.c)])


ZHAI = Shifted(E=0.09, A=0.26, d=0.01, alpha=0.35)
"""Zhai et al. (2022): error on ImageNet after finetuning, x in TPUv3 core-days, .2 to 1e4."""
ZHAI_TEN_SHOTS = Shifted(E=0.12, A=0.63, d=0.52, alpha=0.32)
"""The same, from ten examples a class."""
GPT3 = Power(A=2.57, alpha=0.048)
"""Brown et al. (2020), arXiv:2005.14165, Figure 3.1: validation loss, nats per token, x in PF-days."""
