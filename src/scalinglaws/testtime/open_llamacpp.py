"""The embedded model by llama.cpp, where `llama-cpp-python` is installed: fastest for a few sequences on a CPU.

It reads the package's four-bit file as it is, and rounds activations to eight bits.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from . import embedded, open_load

BATCH = 16
FEED = 512
"""Tokens that are read in one call."""


class LlamaCpp:
    """A `Writer` by llama.cpp; equal texts are read once. Raises open_load.ModelError."""

    def __init__(self, name: str, batch: int | None = None, seed: int = 0, threads: int | None = None):
        import os

        if name != embedded.NAME:
            raise open_load.ModelError(
                f"--backend llama.cpp reads the embedded model alone: --model {embedded.NAME}"
            )
        import llama_cpp

        self.api, self.batch = llama_cpp, batch or BATCH
        self.quiet = llama_cpp.llama_log_callback(lambda *told: None)  # kept: the library calls it later
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        path = str(embedded.packaged()).encode()
        self.model = llama_cpp.llama_model_load_from_file(path, llama_cpp.llama_model_default_params())
        if not self.model:
            raise open_load.ModelError(
                f"llama.cpp cannot load {path.decode()}: {embedded.INSTALL} --force-reinstall"
            )
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.tokenizer, self.rng = open_load.tokenizer(name), np.random.default_rng(seed)
        self.threads = threads or os.cpu_count() or 1

    def write(self, texts: Sequence[str], temperature: float, stop: str | None, limit: int) -> list[tuple]:
        """As `Writer.write`, so many rows at once as `batch` says."""
        out: list[tuple] = []
        for start in range(0, len(texts), self.batch):
            out += self._some(texts[start : start + self.batch], temperature, stop, limit)
        return out

    def _some(self, texts: Sequence[str], temperature: float, stop: str | None, limit: int) -> list[tuple]:
        fed = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        with _Rows(self, sum(map(len, fed)) + len(texts) * limit, len(texts)) as rows:
            first: dict[tuple, list[int]] = defaultdict(list)
            for row, ids in enumerate(fed):
                first[tuple(ids)].append(row)
            logits = np.empty((len(texts), self.vocabulary), np.float32)
            for ids, some in first.items():
                logits[some] = rows.read(list(ids), some)
            written: list[list[int]] = [[] for _ in texts]
            ended, live = [False] * len(texts), list(range(len(texts)))
            while live:
                for row, token in zip(live, self._draw(logits[live], temperature).tolist(), strict=True):
                    written[row].append(token)
                    ended[row] = token == self.tokenizer.eos_token_id
                stopped = lambda row: stop is not None and stop in self.tokenizer.decode(written[row][-8:])
                live = [r for r in live if not ended[r] and len(written[r]) < limit and not stopped(r)]
                if live:
                    at = [len(fed[r]) + len(written[r]) - 1 for r in live]
                    logits[live] = rows.go_on([written[r][-1] for r in live], at, live)
        return [self._told(ids, end, stop) for ids, end in zip(written, ended, strict=True)]

    def _told(self, ids: list[int], ended: bool, stop: str | None) -> tuple[str, int, bool]:
        text = self.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True)
        if stop is not None and stop in text:
            return text[: text.index(stop) + len(stop)], len(ids), False
        return text, len(ids), ended

    def _draw(self, logits: np.ndarray, temperature: float) -> np.ndarray:
        """One token a row: the most probable at temperature 0, else a draw from softmax(logits/temperature)."""
        if not temperature:
            return logits.argmax(1)
        total = np.exp((logits - logits.max(1, keepdims=True)) / temperature).cumsum(1)
        return (total < self.rng.random((len(logits), 1)) * total[:, -1:]).sum(1)


class _Rows:
    """A context of llama.cpp for so many tokens of so many rows, and the batch that feeds it."""

    def __init__(self, writer: LlamaCpp, tokens: int, rows: int):
        self.api, self.vocabulary = writer.api, writer.vocabulary
        how = self.api.llama_context_default_params()
        how.n_ctx, how.n_batch, how.n_ubatch, how.n_seq_max = tokens + FEED, FEED, FEED, rows
        how.n_threads = how.n_threads_batch = writer.threads
        how.kv_unified = True
        self.context = self.api.llama_init_from_model(writer.model, how)
        if not self.context:
            raise open_load.ModelError(f"llama.cpp cannot hold {tokens} tokens: give a smaller --batch")
        self.batch = self.api.llama_batch_init(max(FEED, rows), 0, 1)

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_) -> None:
        self.api.llama_batch_free(self.batch)
        self.api.llama_free(self.context)

    def read(self, ids: list[int], rows: list[int]) -> np.ndarray:
        """Logits [vocabulary] after a text that all these rows begin with."""
        for start in range(0, len(ids), FEED):
            part = ids[start : start + FEED]
            found = self._feed(part, range(start, start + len(part)), [rows[0]] * len(part), last=True)
        memory = self.api.llama_get_memory(self.context)
        for row in rows[1:]:
            self.api.llama_memory_seq_cp(memory, rows[0], row, -1, -1)
        return found[0]

    def go_on(self, ids: list[int], at: list[int], rows: list[int]) -> np.ndarray:
        """Logits [rows, vocabulary] after one more token of each row, at its place."""
        return self._feed(ids, at, rows, last=False)

    def _feed(self, ids, at, rows, last: bool) -> np.ndarray:
        wanted = []
        for k, (token, place, row) in enumerate(zip(ids, at, rows, strict=True)):
            self.batch.token[k], self.batch.pos[k] = token, place
            self.batch.n_seq_id[k], self.batch.seq_id[k][0] = 1, row
            self.batch.logits[k] = not last or k == len(ids) - 1
            wanted += [k] if self.batch.logits[k] else []
        self.batch.n_tokens = len(ids)
        if code := self.api.llama_decode(self.context, self.batch):
            raise open_load.ModelError(f"llama.cpp stopped with {code}")
        one = lambda k: np.ctypeslib.as_array(
            self.api.llama_get_logits_ith(self.context, k), (self.vocabulary,)
        )
        return np.stack([one(k) for k in wanted])
