"""Open models of the Llama family in this library's own sampler: a prompt is read once for all its samples.

Against `generate` of transformers, whose cache is copied at every token and holds each prompt once a sample, this
writes several times as fast on two cores (`tests/bench/open_speed.py`), with the same probabilities.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from ..lm.llama import Llama
from ..lm.sampling import sample
from . import open_load

ROWS = 128
CACHE = 1 << 30
"""Bytes that keys and values of a batch may take on a CPU; where they would take more, fewer rows go together."""


def fits(name: str) -> bool:
    """Whether a model is of the family. Raises open_load.ModelError."""
    return open_load.config(name).model_type == "llama"


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 on a GPU, and on a CPU that multiplies it faster than float32 (measured here, .1 s); else float32."""
    if device.type != "cpu":
        return torch.bfloat16

    def seconds(dtype: torch.dtype) -> float:
        x, w = torch.ones(64, 768, dtype=dtype), torch.ones(2048, 768, dtype=dtype)
        times = []
        for _ in range(8):
            started = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - started)
        return min(times)

    return torch.bfloat16 if seconds(torch.bfloat16) < seconds(torch.float32) else torch.float32


class Own:
    """A `Writer`. Raises open_load.ModelError, lm.llama.NotLlama.

    dtype: "float32", "bfloat16", or "auto" for what is fast here (`fast_dtype`). told: mean log p a token, in nats at
    temperature 1, of what the last call of `write` or `samples` wrote.
    """

    def __init__(
        self,
        name: str,
        batch: int | None = None,
        dtype: str = "auto",
        seed: int = 0,
        device: str | None = None,
    ):
        self.tokenizer = open_load.tokenizer(name)
        loaded = open_load.model(name, "auto", device)
        self.decoder = Llama(loaded, fast_dtype(loaded.device) if dtype == "auto" else getattr(torch, dtype))
        self.parameters = sum(p.numel() for p in loaded.parameters())
        self.batch = batch or ROWS
        self.generator = torch.Generator(self.decoder.device).manual_seed(seed)
        self.end = self.tokenizer.eos_token_id
        self.told = np.zeros(0, np.float32)

    def tokens(self, text: str) -> list[int]:
        """A text as tokens; nothing is put in front of it."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def samples(
        self, texts: Sequence[str], count: int, temperature: float, stop: str | None, limit: int
    ) -> list[list]:
        """`count` continuations of every text, each (text, tokens, whether it ended by itself), as `Writer.write`."""
        contexts, room = [self.tokens(t) for t in texts], np.full(len(texts), limit)
        written, length, told = sample(
            self.decoder,
            contexts,
            count,
            room,
            self._stop(stop),
            temperature,
            self.generator,
            self._rows(limit),
        )
        self.told = (told / np.maximum(length, 1)).ravel()
        one = lambda i, j: self._read(written[i, j, : length[i, j]].tolist(), stop)
        return [[one(i, j) for j in range(count)] for i in range(len(texts))]

    def write(self, texts: Sequence[str], temperature: float, stop: str | None, limit: int) -> list[tuple]:
        """As `Writer.write`; equal texts are read once."""
        by_count: dict[int, list[str]] = defaultdict(list)
        for text, count in Counter(texts).items():
            by_count[count].append(text)
        found: dict[str, list] = {}
        for count, some in sorted(by_count.items()):
            written = self.samples(some, count, temperature, stop, limit)
            told = self.told.reshape(len(some), count)
            found |= {t: list(zip(w, p, strict=True)) for t, w, p in zip(some, written, told, strict=True)}
        rows = [found[text].pop() for text in texts]
        self.told = np.array([told for _, told in rows], np.float32)
        return [row for row, _ in rows]

    def _rows(self, limit: int) -> int:
        decoder = self.decoder
        if decoder.device.type != "cpu":
            return self.batch
        each = 2 * decoder.layers * decoder.kept * decoder.width * decoder.dtype.itemsize
        return max(1, min(self.batch, CACHE // (each * limit)))

    def _read(self, ids: list[int], stop: str | None) -> tuple[str, int, bool]:
        ended = bool(ids) and ids[-1] == self.end
        text = self.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
        if stop is not None and stop in text:
            return text[: text.index(stop) + len(stop)], len(ids), False
        return text, len(ids), ended

    def _stop(self, text: str | None):
        """Where a row ends: at the end token, and after `text`: a character, or two that one token holds or two in turn."""
        if text is None:
            return lambda before, token: token == self.end
        within, opens, closes = self._tables(text)
        return lambda before, token: (token == self.end) | within[token] | (opens[before] & closes[token])

    def holding(self, text: str) -> torch.Tensor:
        """Which tokens [vocabulary] hold a character, or two."""
        return self._tables(text)[0]

    @lru_cache  # noqa: B019  # one model, two stops at most
    def _tables(self, text: str) -> tuple[torch.Tensor, ...]:
        if len(text) not in (1, 2):
            raise ValueError(f"a text to stop at has one character or two, not {len(text)}")
        spelt = self.tokenizer.batch_decode([[i] for i in range(self.decoder.vocabulary)])
        kinds = (
            [text in s for s in spelt],
            [s.endswith(text[0]) for s in spelt],
            [len(text) == 2 and s.startswith(text[1]) for s in spelt],
        )
        return tuple(torch.tensor(kind, device=self.decoder.device) for kind in kinds)
