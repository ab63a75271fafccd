"""Why Kaplan measured N ∝ C^.73 on a surface whose exponent is near .5.

Source: Pearce & Song (2024), "Reconciling Kaplan and Chinchilla Scaling Laws",
arXiv:2406.12907. Kaplan counted parameters and FLOPs without embeddings, on small models,
where embeddings are most of the count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chinchilla import Chinchilla


@dataclass(frozen=True)
class EmbeddingShare:
    """N_total = N + γ·N^{1/3}, with N the non-embedding parameters.

    With N = 12·n_layer·d² and aspect ratio d/n_layer = r, d = (rN/12)^{1/3}, so vocabulary
    V and context T give γ = (V + T)·(r/12)^{1/3}. The paper's γ is 47491 (V + T = 32000,
    r = 39.2).
    """

    gamma: float = 47491.0

    @classmethod
    def from_shape(cls, vocabulary: int, aspect_ratio: float, context: int = 0) -> EmbeddingShare:
        """γ = (V + T)·(r/12)^{1/3}."""
        return cls((vocabulary + context) * (aspect_ratio / 12) ** (1 / 3))

    def total(self, N):
        """N_total from non-embedding N."""
        return N + self.gamma * np.cbrt(N)

    def dlog_total(self, N):
        """d log N_total / d log N = (N + γN^{1/3}/3)/(N + γN^{1/3}); 1/3 for small N, 1 for large."""
        return (N + self.gamma * np.cbrt(N) / 3) / self.total(N)

    def dlog_total_slope(self, N):
        """d/d log N of `dlog_total`, (4/9)·s/(1+s)² with s = γN^{−2/3}."""
        s = self.gamma * np.asarray(N, float) ** (-2 / 3)
        return (4 / 9) * s / (1 + s) ** 2

    def invert(self, N_total):
        """Non-embedding N from N_total: the real root of t³ + γt − N_total = 0, t = N^{1/3}.

        Cardano in the hyperbolic form t = 2√(γ/3)·sinh(asinh(3N_total/(2γ)·√(3/γ))/3).
        """
        g = self.gamma
        N_total = np.asarray(N_total, float)[()]
        t = 2 * np.sqrt(g / 3) * np.sinh(np.arcsinh(1.5 * N_total / g * np.sqrt(3 / g)) / 3)
        return t**3


@dataclass(frozen=True)
class NonEmbeddingFrontier:
    """The compute-optimal frontier of a Chinchilla surface seen through Kaplan's counts.

    The surface is in N_total and D. The reader sees N (non-embedding) and C = 6·N·D.
    Minimising L at fixed non-embedding C gives
    D^β = (βB/αA)·N_total^{α}·(N_total/N)/(dN_total/dN).

    That is where dL = 0. It is a minimum wherever `local_exponent` is positive, as it is
    everywhere for published constants; for exponents near .1 N_total bends faster than the
    loss and the frontier folds back.
    """

    surface: Chinchilla
    share: EmbeddingShare = EmbeddingShare()

    def tokens(self, N):
        """Optimal D at non-embedding N, by dL = 0 along N·D = const."""
        s, T = self.surface, self.share.total(N)
        return (s.beta * s.B / (s.alpha * s.A) * T**s.alpha / self.share.dlog_total(N)) ** (1 / s.beta)

    def compute(self, N):
        """C = 6·N·D(N) in non-embedding FLOPs."""
        return 6 * N * self.tokens(N)

    def loss(self, N):
        """Loss along the frontier, nats per token."""
        return self.surface.predict(self.share.total(N), self.tokens(N))

    def local_exponent(self, N):
        """d log N / d log C in closed form.

        log C = log N + (α log N_total − log h)/β + const with h = `dlog_total`, so
        1/slope = 1 + (α h − h'/h)/β, where h' = dh/d log N.
        """
        h = self.share.dlog_total(N)
        s = self.surface
        return 1 / (1 + (s.alpha * h - self.share.dlog_total_slope(N) / h) / s.beta)

    def measured_exponent(self, sizes, budgets, total: bool = False, token_grid=None) -> tuple[float, float]:
        """What a study with these non-embedding sizes reports: slopes of log N_opt and log L on log C.

        At each budget (FLOPs) every size trains on D = C/6N tokens and the lowest loss wins,
        with N and C non-embedding, or both total. With `token_grid` D is the grid's value whose
        compute is nearest to C, as in the authors' script. This is the paper's experiment,
        edges of the size range included as there.
        """
        N_total = self.share.total(np.asarray(sizes, float))
        N = N_total if total else np.asarray(sizes, float)
        C = np.asarray(budgets, float)
        D = C[:, None] / (6 * N)
        if token_grid is not None:
            grid = np.asarray(token_grid, float)
            D = grid[np.abs(6 * N[:, None] * grid - C[:, None, None]).argmin(axis=2)]
        loss = self.surface.predict(N_total, D)
        best = loss.argmin(axis=1)
        x = np.log(C)
        return (
            float(np.polyfit(x, np.log(N[best]), 1)[0]),
            float(np.polyfit(x, np.log(loss.min(axis=1)), 1)[0]),
        )

    @property
    def limits(self) -> tuple[float, float]:
        """Exponents for N → 0 and N → ∞: β/(α/3 + β) and β/(α + β)."""
        s = self.surface
        return s.beta / (s.alpha / 3 + s.beta), s.a
