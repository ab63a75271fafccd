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
from scipy.optimize import brentq, minimize, minimize_scalar, nnls
from scipy.special import ndtr, ndtri

NODES, PLANE = 64, 32
"""Nodes of the quadrature over |probe·x|, and over each direction of the plane."""
_STARTS = ((0.3, 0.0), (0.8, -0.3), (0.8, 0.3))


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
        count = NODES if self.angle == 0 else PLANE
        t, w = leggauss(count)
        share, w = (t + 1) / 2, w / 2
        # |probe·x| of the kept: uniform in their part of the distribution of |z|
        low, high = (0.0, self.kept) if self.hardest else (1 - self.kept, 1.0)
        probed = ndtri((1 + low + (high - low) * share) / 2)
        if self.angle == 0:
            return np.column_stack([probed, np.zeros(count)]), w
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        border = ndtr(-cos / sin * probed)  # below it the teacher's label differs from the probe's
        points, weights = [], []
        for begin, end, y in ((np.zeros(count), border, -1.0), (border, np.ones(count), 1.0)):
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

    def _best(self, margin: float, alpha: float, starts) -> tuple[float, np.ndarray]:
        """The smallest `_missing` over unit vectors, and the angles at which it is found (`_sphere`)."""
        if self.angle == 0:
            one = lambda t: self._missing(margin, *_sphere((t, 0.0)), alpha)
            found = minimize_scalar(one, bounds=(1e-6, np.pi / 2), method="bounded", options={"xatol": 1e-10})
            return found.fun, np.array([found.x, 0.0])
        both = lambda t: self._missing(margin, *_sphere(t), alpha)
        exact = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000}
        found = min((minimize(both, start, method="Nelder-Mead", options=exact) for start in starts), key=lambda f: f.fun)
        return found.fun, found.x

    def student(self, alpha: float) -> tuple[float, float]:
        """Error and margin of the student with α kept examples a dimension. Raises ValueError for α ≤ 0."""
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha:g}")
        at = [np.array(start) for start in _STARTS]

        def lacking(margin: float) -> float:
            value, found = self._best(margin, alpha, at)
            at[:] = [found]  # the next margin's minimum is near
            return value

        low = high = 1.0
        while lacking(high) < 0:
            low, high = high, 2 * high
        while lacking(low) > 0:
            low, high = low / 2, low
        margin = brentq(lacking, low, high, xtol=1e-12, rtol=1e-8)
        r, _ = _sphere(self._best(margin, alpha, at)[1])
        return float(np.arccos(np.clip(r[0], -1, 1)) / np.pi), float(margin)

    def error(self, alpha: float) -> float:
        """Share of new inputs that the student labels wrongly, with α kept examples a dimension."""
        return self.student(alpha)[0]


def _sphere(t) -> tuple[np.ndarray, float]:
    """r in the plane and s > 0, together of length one, from two angles."""
    s = np.clip(np.sin(abs(t[0])), 1e-9, 1.0)
    flat = np.cos(t[0])
    return np.array([flat * np.cos(t[1]), flat * np.sin(t[1])]), float(s)


def simulated(
    alpha: float, kept: float, hardest: bool, angle: float, d: int = 100, repeats: int = 8, seed: int = 0
) -> np.ndarray:
    """Errors [repeats] of students in d dimensions with α·d examples kept, each with the largest margin exactly.

    The w of least length with y·(w·x) ≥ 1 on all examples is a least-distance problem, solved through non-negative
    least squares (Lawson & Hanson 1974, Chapter 23).
    """
    count, rng, found = round(alpha * d), np.random.default_rng(seed), []
    for _ in range(repeats):
        x = rng.normal(size=(round(count / kept), d))
        probed = np.abs(np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1])
        order = np.argsort(probed if hardest else -probed)[:count]
        signed = (np.sign(x[:, 0])[:, None] * x)[order]
        table, goal = np.vstack([signed.T, np.ones(count)]), np.append(np.zeros(d), 1.0)
        u, _ = nnls(table, goal, maxiter=200 * count)
        rest = table @ u - goal
        w = -rest[:d] / rest[d]
        found.append(np.arccos(w[0] / np.linalg.norm(w)) / np.pi)
    return np.array(found)
