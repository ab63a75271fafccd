"""Why a power: linear regression on features with a power-law spectrum, solved exactly, and interpolation on a manifold.

Bahri et al. (2021), "Explaining Neural Scaling Laws", arXiv:2102.06701. A target f(x) = Σ_k b_k·ψ_k(x) of orthonormal
functions is learnt from D samples with P random features φ_j = P^{−½}·Σ_k W_jk·λ_k^{½}·ψ_k, W Gaussian, by least squares of
least norm. The error for large D and P is that of Defilippis, Loureiro & Misiakiewicz (2024), arXiv:2405.15699,
Theorem 3.3, with the ridge let go to nought.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Spectrum:
    """λ_k = k^{−(1+α)}, k = 1 … size, and a target with b_k² = λ_k.

    Bahri et al.: then the loss falls as D^{−α} where data limit it and as P^{−α} where features do (Section 2.3.2).
    """

    alpha: float
    size: int = 400_000

    @property
    def values(self) -> np.ndarray:
        """λ_k [size]."""
        return np.arange(1, self.size + 1, dtype=float) ** -(1 + self.alpha)

    def resolution(self, count: float) -> float:
        """κ with Σ λ_k/(λ_k + κ) = count: directions with λ_k well above κ are learnt."""
        v = self.values
        if not 0 < count < self.size:
            raise ValueError(f"count must lie between 0 and the {self.size} directions, got {count:g}")
        return float(np.exp(brentq(lambda k: np.sum(v / (v + np.exp(k))) - count, -80, 20)))

    def error(self, D: float, P: float = np.inf) -> float:
        """Mean squared error after D samples with P features, no noise; P = ∞ is kernel regression. D ≠ P.

        With κ = κ(min(D, P)), q = Σ λ²/(λ+κ)² and s = Σ b²κ²/(λ+κ)²: for P = ∞ it is s/(1 − q/D). In general
        [s + κ²·χ·Σ b²λ/(λ+κ)²]/(1 − Υ), χ = Σ λ/(λ+κ)²/(P − q), Υ = (P/D)·[(1−r)² + r²·q/(P−q)], r = max(0, 1 − D/P).
        """
        v, kappa = self.values, self.resolution(min(D, P))
        at = v / (v + kappa)
        q = float(np.sum(at**2))
        s = float(np.sum(v * (1 - at) ** 2))
        if np.isinf(P):
            return s / (1 - q / D)
        r = max(0.0, 1 - D / P)
        chi = float(np.sum(v / (v + kappa) ** 2)) / (P - q)
        upsilon = P / D * ((1 - r) ** 2 + r**2 * q / (P - q))
        return (s + kappa**2 * chi * float(np.sum(v**2 / (v + kappa) ** 2))) / (1 - upsilon)

    def simulated(self, D: int, P: int | None = None, repeats: int = 8, seed: int = 0) -> np.ndarray:
        """Errors of least-norm fits to Gaussian functions ψ, [repeats]; P = None is kernel regression."""
        rng = np.random.default_rng(seed)
        root = np.sqrt(self.values)
        found = []
        for _ in range(repeats):
            psi = rng.standard_normal((D, self.size))
            b = root * rng.choice([-1.0, 1.0], self.size)
            X = psi * root  # features of the kernel; mixed by W where they are few
            W = np.eye(self.size) if P is None else rng.standard_normal((P, self.size)) / np.sqrt(P)
            Z = X @ W.T
            weights = np.linalg.lstsq(Z, psi @ b, rcond=None)[0]
            found.append(np.sum((b - root * (W.T @ weights)) ** 2))
        return np.array(found)


def interpolated(D: int, dimension: int, within: int, linear: bool, tests: int = 500, seed: int = 0) -> float:
    """Mean squared error of interpolating a smooth function known at D points of a curved manifold.

    The manifold: a torus of `dimension` angles with as many harmonics, falling as 1/h², as `within` ≥ 2·dimension
    coordinates hold, turned at random: more coordinates bend it more. The
    interpolator sees these alone: the nearest point, or (`linear`) the least-squares plane through the nearest
    4·dimension + 2, in the directions in which these spread most. Error ∝ D^{−n/dimension} with n = 2 and 4.
    """
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * np.pi, (D + tests, dimension))
    phase = rng.uniform(0, 2 * np.pi, dimension)
    harmonics = range(1, within // (2 * dimension) + 1)
    waves = np.concatenate([f(h * angles) / h**2 for h in harmonics for f in (np.cos, np.sin)], axis=1)
    points = waves @ np.linalg.qr(rng.standard_normal((within, waves.shape[1])))[0].T
    y = np.sin(angles + phase).sum(1)
    tree = cKDTree(points[:D])
    if not linear:
        _, near = tree.query(points[D:])
        return float(np.mean((y[near] - y[D:]) ** 2))
    _, near = tree.query(points[D:], k=4 * dimension + 2)
    guess = [_plane(points[i], y[i], x, dimension) for i, x in zip(near, points[D:], strict=True)]
    return float(np.mean((np.array(guess) - y[D:]) ** 2))


def _plane(points: np.ndarray, y: np.ndarray, at: np.ndarray, dimension: int) -> float:
    """Value at `at` of the least-squares plane over the leading directions of its neighbours."""
    centre = points.mean(0)
    directions = np.linalg.svd(points - centre, full_matrices=False)[2][:dimension]
    flat = np.column_stack([np.ones(len(y)), (points - centre) @ directions.T])
    weights = np.linalg.lstsq(flat, y, rcond=None)[0]
    return float(weights[0] + (at - centre) @ directions.T @ weights[1:])
