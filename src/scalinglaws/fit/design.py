"""Which runs to make next: those that would narrow the interval of the optimum most.

At the fitted law the runs carry the information M = Σ g gᵀ, g = ∂ log L/∂θ, and the optimum's
delta-method variance is σ²·cᵀM⁻¹c with c = ∂ log N_opt/∂θ. A further run adds its own g gᵀ and
lowers that by

    (cᵀM⁻¹g)² / (1 + gᵀM⁻¹g)

(Sherman & Morrison): the greedy c-optimal design (Elfving 1952; Fedorov 1972).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..laws import Chinchilla
from .diagnose import compute
from .result import Fit


@dataclass(frozen=True)
class NextRun:
    """A run to make: N parameters, D tokens, C FLOPs; the factor by which the interval of log N_opt shrinks
    once this run and those before it are made."""

    N: float
    D: float
    C: float
    narrows_to: float


def optimum_gradient(law: Chinchilla, C: float, k: float = 6.0) -> np.ndarray:
    """∂ log N_opt(C)/∂(a, b, e, α, β), with a = log A, b = log B, e = log E.

    log N_opt = [log(αA/βB) + β·log(C/k)]/(α + β).
    """
    s, log_N = law.alpha + law.beta, np.log(law.optimum(C, k).N)
    return np.array([1.0, -1.0, 0.0, 1 / law.alpha - log_N, np.log(C / k) - 1 / law.beta - log_N]) / s


def next_runs(
    fit: Fit, runs: pd.DataFrame, count: int, budget: float, *, k: float = 6.0, most: float | None = None
) -> list[NextRun]:
    """The `count` runs, each of at most `most` FLOPs (default: the largest run's), that narrow N_opt(`budget`) most.

    Candidates: sizes and lengths up to a factor of 3 outside those of the runs. Points of one run
    share a run's worth of information. Raises ValueError where the law gives no loss.
    """
    if not isinstance(fit.law, Chinchilla):
        raise ValueError(f"{fit.method} gives no loss to plan runs with; use surface or varpro")
    law, C = fit.law, compute(runs)
    most = float(C.max()) * 1.0001 if most is None else most
    N = np.geomspace(runs["N"].min() / 3, runs["N"].max() * 3, 49)
    D = np.geomspace(runs["D"].min() / 3, runs["D"].max() * 3, 49)
    N, D = (v.ravel() for v in np.meshgrid(N, D))
    allowed = (k * N * D <= most) & (k * N * D >= C.min())
    if not allowed.any():
        raise ValueError(f"no run of at most {most:.3g} FLOPs lies near the runs there are")
    N, D = N[allowed], D[allowed]
    centre = np.log(runs["N"]).mean(), np.log(runs["D"]).mean()

    def coordinates(g):  # centred as in the fit: (a − αx̄, b − βȳ, e, α, β)
        g = np.array(g, float)
        g[..., 3] += g[..., 0] * centre[0]
        g[..., 4] += g[..., 1] * centre[1]
        return g

    G = coordinates(law.log_gradient(runs["N"].to_numpy(), runs["D"].to_numpy()))
    share = np.ones(len(G))
    if fit.groups is not None:
        _, label, size = np.unique(fit.groups, return_inverse=True, return_counts=True)
        share = 1 / size[label]
    c = coordinates(optimum_gradient(law, budget, k))
    information = (G * share[:, None]).T @ G
    V = np.linalg.inv(information + 1e-12 * np.trace(information) * np.eye(5))
    g = coordinates(law.log_gradient(N, D))
    before = c @ V @ c
    out = []
    for _ in range(count):
        Vg = g @ V
        gain = (Vg @ c) ** 2 / (1 + np.einsum("ij,ij->i", Vg, g))
        best = int(np.argmax(gain))
        V = V - np.outer(Vg[best], Vg[best]) / (1 + Vg[best] @ g[best])
        out.append(
            NextRun(
                float(N[best]),
                float(D[best]),
                float(k * N[best] * D[best]),
                float(np.sqrt(c @ V @ c / before)),
            )
        )
    return out
