"""Which tokens a step sees: a pure function of corpus, seed and step, so a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch

from ..datasets import DataError
from .config import Run
from .corpus import Corpus
from .executor import CHUNK

BLOCK = 1024
"""A cut corpus is made of random blocks of this many tokens, from all over the corpus."""
POOL = 2**23
"""Tokens of worse text: blocks of the corpus of which some tokens are exchanged."""
EXCHANGED = 0.3
"""Share of the pool's tokens that are replaced by a token drawn from anywhere in the pool."""
SPAN = 24
"""Mean length of a span, geometric."""
MICRO_BATCH = 32
"""Sequences in one backward pass on a CPU; larger batches are summed from several."""


def generator(seed: int, counter: int) -> np.random.Generator:
    """A stream of its own for each (seed, counter)."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, counter, 0, 0]))


class Batches:
    """Training batches of one run."""

    def __init__(self, run: Run, corpus: Corpus):
        self.run, self.corpus = run, corpus
        self.tokens = training_tokens(corpus, run.unique_tokens, run.seed)
        if self.tokens is not None and len(self.tokens) <= run.context:
            raise DataError(
                f"{corpus.name}: {len(self.tokens)} training tokens do not fill a context of {run.context}"
            )
        self.clean = 0 if self.tokens is None else len(self.tokens)
        if run.noised:
            if self.tokens is None:
                raise DataError(f"{corpus.name}: an endless source has no worse text: set unique_tokens, or noised = 0")
            self.tokens = np.concatenate([self.tokens, worse(corpus.name, run.seed)])
        if run.denoised:
            if self.tokens is None:
                raise DataError(f"{corpus.name}: an endless source has no windows to cut: set unique_tokens, or denoised = 0")
            cut = spans(corpus.name, run.context + 1, mark(corpus.vocabulary), run.seed)
            self.tokens = np.concatenate([self.tokens, cut])
        self._drawn: tuple[int, np.ndarray] = (-1, np.empty(0))

    def chunk(self, step: int) -> np.ndarray:
        """What is drawn for the `CHUNK` steps around `step`, from one counter of the generator: window starts, or an
        endless source's windows."""
        index = step // CHUNK
        if self._drawn[0] != index:
            rng, run = generator(self.run.seed, index), self.run
            if self.tokens is None:
                assert self.corpus.source  # or there would be tokens
                drawn = self.corpus.source.sample(CHUNK * run.batch, run.context + 1, rng)
                drawn = drawn.reshape(CHUNK, run.batch, -1)
            else:
                drawn = rng.integers(0, self.clean - run.context, (CHUNK, run.batch))
                if run.denoised:
                    window, cut = run.context + 1, len(self.tokens) - self.clean
                    pooled = self.clean + window * rng.integers(0, cut // window, drawn.shape)
                    drawn = np.where(rng.random(drawn.shape) < run.denoised, pooled, drawn)
                if run.noised:
                    pooled = rng.integers(self.clean, len(self.tokens) - run.context, drawn.shape)
                    drawn = np.where(rng.random(drawn.shape) < run.noised, pooled, drawn)
            self._drawn = (index, drawn)
        return self._drawn[1]

    def batch(self, step: int) -> np.ndarray:
        """Windows int64 [batch, context + 1] of a step."""
        drawn = self.chunk(step)[step % CHUNK]
        if self.tokens is not None:
            drawn = self.tokens[drawn[:, None] + np.arange(self.run.context + 1)]
        return drawn.astype(np.int64)


class Streams:
    """Batches of several runs side by side, as an executor is fed them: tokens [R, batch, context + 1]."""

    def __init__(self, runs: list[Batches]):
        self.runs = runs

    def batch(self, step: int) -> tuple[torch.Tensor, ...]:
        """Each run's own windows."""
        return (torch.from_numpy(np.stack([b.batch(step) for b in self.runs])),)

    def parts(self, batch: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
        """`MICRO_BATCH` sequences of every run at a time."""
        return ((part,) for part in batch[0].split(MICRO_BATCH, dim=1))

    def chunk(self, step: int) -> np.ndarray:
        """Window starts [CHUNK, R, batch], or an endless source's windows."""
        return np.stack([b.chunk(step) for b in self.runs], axis=1)

    def on_device(self, device: torch.device) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
        """Each run's training tokens, one copy where runs share them; none for an endless source."""
        copies: dict[int, torch.Tensor] = {}
        for tokens in (b.tokens for b in self.runs):
            if tokens is None:
                return lambda windows: (windows,)
            if id(tokens) not in copies:
                kind = np.uint8 if tokens.dtype == np.uint8 else np.int32
                copies[id(tokens)] = torch.from_numpy(np.array(tokens, kind)).to(device)
        data = [copies[id(b.tokens)] for b in self.runs]
        window = torch.arange(self.runs[0].run.context + 1, device=device)
        if len(copies) == 1:
            return lambda starts: (data[0][starts[..., None] + window].long(),)
        return lambda starts: (
            torch.stack([d[s[:, None] + window] for d, s in zip(data, starts, strict=True)]).long(),
        )


@lru_cache(maxsize=4)
def _cut(name: str, unique: int, seed: int) -> np.ndarray:
    from .corpus import open_corpus

    corpus, rng = open_corpus(name), generator(seed, 2**62)
    block = min(BLOCK, unique)
    wanted = -(-unique // block)
    if corpus.source:
        return corpus.source.sample(wanted, block, rng).reshape(-1)[:unique]
    chosen = rng.permutation(len(corpus.train) // block)[:wanted]
    return np.concatenate([corpus.train[b * block : (b + 1) * block] for b in sorted(chosen)])[:unique]


@lru_cache(maxsize=2)
def worse(name: str, seed: int) -> np.ndarray:
    """`POOL` tokens in random blocks of the corpus, `EXCHANGED` of them replaced by a token from elsewhere in the pool."""
    pool = _cut(name, POOL, seed + 2**32).copy()
    rng = generator(seed, 2**62 + 1)
    at = np.flatnonzero(rng.random(len(pool)) < EXCHANGED)
    pool[at] = pool[rng.permutation(len(pool))[: len(at)]]
    return pool


def mark(vocabulary: int) -> int:
    """The token that stands where a span was cut out and before the span: a byte of no text, or the last of a small alphabet."""
    return 1 if vocabulary == 256 else vocabulary - 1


def cut_out(rows: np.ndarray, sign: int, rng: np.random.Generator) -> np.ndarray:
    """Rows [n, length] with a span cut out, `sign` in its place, and the span behind a second one: [n, length + 2].

    Tay et al. (2022), arXiv:2210.11399, for a model that reads from left to right. Lengths geometric, half a row at most.
    """
    n, width = rows.shape
    length = np.minimum(rng.geometric(1 / SPAN, n), width // 2)
    start = rng.integers(0, width - length + 1)
    return np.stack(
        [np.concatenate([r[:a], [sign], r[a + k :], [sign], r[a : a + k]]) for r, a, k in zip(rows, start, length, strict=True)]
    ).astype(rows.dtype)


@lru_cache(maxsize=2)
def spans(name: str, window: int, sign: int, seed: int) -> np.ndarray:
    """Half of `POOL` in windows of `window` tokens, one after the other, each `cut_out` of the corpus."""
    text = _cut(name, POOL // 2, seed + 2**33)
    rows = text[: len(text) // (window - 2) * (window - 2)].reshape(-1, window - 2)
    return cut_out(rows, sign, generator(seed, 2**62 + 2)).reshape(-1)


def training_tokens(corpus: Corpus, unique: int, seed: int) -> np.ndarray | None:
    """The training tokens a run may see: all, or `unique` of them in random blocks (the seed's choice).

    None for an endless source that is not cut.
    """
    if 0 < unique < corpus.tokens:
        return _cut(corpus.name, unique, seed)
    return corpus.train
