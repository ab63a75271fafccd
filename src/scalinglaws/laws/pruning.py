"""Which examples to keep: the perceptron theory of Sorscher et al. (2022), "Beyond Neural Scaling Laws", arXiv:2206.14486.

A teacher T labels Gaussian inputs x in d dimensions, y = sign(T·x). A probe at an angle θ to the teacher, as good as
it is, says how hard each example is: |probe·x| is small for the hard ones. A share of the examples is kept, the
hardest or the easiest, and a student learns from them with the largest margin. Its error is arccos(R)/π, R = w·T.

The paper solves it by replicas. Here the same follows from Gordon's comparison of Gaussian processes (the convex
Gaussian min-max theorem): in the limit d → ∞ with α = kept examples/d, a unit vector w = r + s·w⊥, r in the plane of
teacher and probe, reaches the margin κ on all examples if and only if

    α·E[(κ − y·(r·x) − s·g)₊²] ≤ s²,   g ~ N(0, 1),

so the student is the w for which the largest such κ is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import ndtr, ndtri

NODES = 64


@dataclass(frozen=True)
class Pruned:
    """A pool of which a share `kept` is kept, the hardest (or the easiest) by a probe at `angle` (radians) to the teacher."""

    kept: float = 1.0
    hardest: bool = True
    angle: float = 0.0

    def __post_init__(self):
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept must be above 0 and at most 1, got {self.kept:g}")
        if not 0 <= self.angle < np.pi / 2:
            raise ValueError(f"angle must be from 0 to below π/2, got {self.angle:g}")

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """y·(teacher, other direction) [nodes, 2] of the kept examples, and their weights."""
        t, w = leggauss(NODES)
        share, w = (t + 1) / 2, w / 2
        # |probe·x| of the kept: uniform in their part of the distribution of |z|
        low, high = (0.0, self.kept) if self.hardest else (1 - self.kept, 1.0)
        probed = ndtri((1 + low + (high - low) * share) / 2)
        if self.angle == 0:
            return np.column_stack([probed, np.zeros(NODES)]), w
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        border = ndtr(-cos / sin * probed)  # below it the teacher's label differs from the probe's
        points, weights = [], []
        for begin, end, y in ((np.zeros(NODES), border, -1.0), (border, np.ones(NODES), 1.0)):
            v = ndtri(np.clip(begin[:, None] + (end - begin)[:, None] * share, 1e-300, 1 - 1e-16))
            teacher = cos * probed[:, None] + sin * v
            other = sin * probed[:, None] - cos * v
            points.append(y * np.stack([teacher, other], -1).reshape(-1, 2))
            weights.append((w[:, None] * (end - begin)[:, None] * w).ravel())
        return np.concatenate(points), np.concatenate(weights)

    def _missing(self, margin: float, r: np.ndarray, s: float, alpha: float) -> float:
        """α·E[(κ − y·(r·x) − s·g)₊²]/s² − 1: at most 0 where the margin is reached."""
        points, weights = self._points
        c = (margin - points @ r) / s
        short = (c * c + 1) * ndtr(c) + c * np.exp(-c * c / 2) / np.sqrt(2 * np.pi)
        return float(alpha * weights @ short - 1)

    def _best(self, margin: float, alpha: float) -> tuple[float, np.ndarray]:
        """The smallest `_missing` over unit vectors, and r there."""
        if self.angle == 0:
            one = lambda t: self._missing(margin, np.array([np.cos(t), 0.0]), np.sin(t), alpha)
            found = minimize_scalar(one, bounds=(1e-6, np.pi / 2), method="bounded", options={"xatol": 1e-10})
            return found.fun, np.array([np.cos(found.x), 0.0])
        both = lambda t: self._missing(margin, *_sphere(t), alpha)
        starts = [(a, b) for a in (0.3, 1.0) for b in (-0.4, 0.0, 0.4)]
        found = min(
            (minimize(both, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 2000}) for start in starts),
            key=lambda f: f.fun,
        )
        return found.fun, _sphere(found.x)[0]

    def student(self, alpha: float) -> tuple[float, float]:
        """Error and margin of the student with α kept examples a dimension. Raises ValueError for α ≤ 0."""
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha:g}")
        low, high = 1e-9, 1.0
        while self._best(high, alpha)[0] < 0:
            high *= 2
        margin = brentq(lambda k: self._best(k, alpha)[0], low, high, xtol=1e-12, rtol=1e-10)
        r = self._best(margin, alpha)[1]
        return float(np.arccos(np.clip(r[0], -1, 1)) / np.pi), float(margin)

    def error(self, alpha: float) -> float:
        """Share of new inputs that the student labels wrongly, with α kept examples a dimension."""
        return self.student(alpha)[0]


def _sphere(t) -> tuple[np.ndarray, float]:
    """r in the plane and s > 0, together of length one, from two angles."""
    s = np.clip(np.sin(abs(t[0])), 1e-9, 1.0)
    flat = np.cos(t[0])
    return np.array([flat * np.cos(t[1]), flat * np.sin(t[1])]), float(s)
