"""A synthetic language whose entropy rate is known exactly.

Token t is x_t = rank⁻¹[c_t](r_t): the ranks r_t are drawn independently from a Zipf law
p(r) ∝ (r + shift)^{−s}, and the context c_t = (x_{t−3}, x_{t−2}, x_{t−1}) only decides which
token holds which rank. Given the context that is a one-to-one map, so

    H(x_t | all before) = H(r) = −Σ p(r) log p(r)

exactly, whatever the stationary distribution. A model that knew every map would reach H and
none can do better. Each map sorts the tokens by log-popularity plus Gumbel noise that depends
on one, two and three tokens of context: the popular tokens stay popular, so contexts occur
with very different frequencies and are learnt one after the other, over decades of data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ORDER = 3


@dataclass(frozen=True)
class Source:
    """A known-entropy source: `vocabulary` tokens, Zipf exponent `zipf`, noise per context order."""

    vocabulary: int = 32
    zipf: float = 1.5
    shift: float = 1.0
    strength: tuple[float, float, float] = (1.0, 0.7, 0.7)
    """Weight of the noise that hangs on one, two and three tokens of context."""
    seed: int = 2020

    @cached_property
    def probabilities(self) -> np.ndarray:
        """p(r) of the ranks, descending, float64 [vocabulary]."""
        p = (np.arange(1, self.vocabulary + 1) + self.shift - 1) ** -self.zipf
        return p / p.sum()

    @property
    def entropy(self) -> float:
        """The entropy rate in nats per token, H(r)."""
        return float(-(self.probabilities * np.log(self.probabilities)).sum())

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        V = self.vocabulary
        rng = np.random.default_rng(self.seed)
        popularity = -np.log(np.arange(1, V + 1))
        score = popularity + self.strength[0] * rng.gumbel(size=(1, 1, V, V))
        score = score + self.strength[1] * rng.gumbel(size=(1, V, V, V))
        score = score + self.strength[2] * rng.gumbel(size=(V, V, V, V))
        token_of_rank = np.argsort(-score, axis=-1).reshape(V**ORDER, V)
        rank_of_token = np.argsort(token_of_rank, axis=-1)
        return token_of_rank.astype(np.uint8), rank_of_token.astype(np.uint8)

    def sample(self, sequences: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Token ids uint8 [sequences, length], each sequence an independent chain.

        A chain starts from random tokens and runs 16 steps before it is kept.
        """
        token_of_rank, _ = self._tables
        V, burn = self.vocabulary, 16
        ranks = np.searchsorted(
            np.cumsum(self.probabilities)[:-1], rng.random((burn + length, sequences)), side="right"
        )
        context = rng.integers(0, V**ORDER, sequences)
        out = np.empty((burn + length, sequences), np.uint8)
        for t in range(burn + length):
            out[t] = token_of_rank[context, ranks[t]]
            context = (context * V + out[t]) % V**ORDER
        return np.ascontiguousarray(out[burn:].T)

    def log_probability(self, tokens: np.ndarray) -> np.ndarray:
        """The truth's log p of each token from the fourth on, [sequences, length − 3], nats."""
        _, rank_of_token = self._tables
        x = tokens.astype(np.int64)
        V = self.vocabulary
        context = (x[:, :-3] * V + x[:, 1:-2]) * V + x[:, 2:-1]
        return np.log(self.probabilities)[rank_of_token[context, x[:, 3:]]]
