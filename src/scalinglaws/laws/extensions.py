"""Where the surface is not enough: inference counted, data repeated."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from .chinchilla import Allocation, Chinchilla

REPEAT_CONSTANT = 15.39
"""R_D* of Muennighoff et al. (2023), arXiv:2305.16264: how fast repeated tokens lose value."""


def fresh_equivalent(epochs, constant: float = REPEAT_CONSTANT):
    """Epochs of fresh data worth as much as `epochs` over the same data.

    D'/U = 1 + R*·(1 − exp(−R/R*)) with R = epochs − 1 repetitions (Muennighoff et al. 2023).
    Never above `epochs`, at most 1 + R*.
    """
    R = np.asarray(epochs, float)[()] - 1
    return 1 + constant * (1 - np.exp(-R / constant))


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
