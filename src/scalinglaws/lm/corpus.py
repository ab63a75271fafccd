"""Corpora: built once into flat token files, memory-mapped ever after, the build checked byte for byte.

Names: `gutenberg` and `tinyshakespeare` are bytes (vocabulary 256); `gutenberg-bpe4096` and the
like are byte-pair encodings trained here on the corpus' own training part; `known_entropy` is
the synthetic source of `source`, endless and without files. `data/corpora.toml` has each
build's token counts and hashes.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import DataError, fetch
from ..datasets.registry import cache_folder
from ..paths import data_file
from .source import Source

HELD_OUT = 20
"""One book in 20 is held out, by the hash of its name."""
SEPARATOR = b"\n\n\n"
TOKENIZER_SAMPLE = 2**25
"""Bytes of training text that a tokenizer is trained on."""
_MARK = rb"\*\*\* ?%s OF (?:THIS|THE) PROJECT GUTENBERG EBOOK"
_START = re.compile(_MARK % b"START" + rb".*?\*\*\*", re.DOTALL | re.IGNORECASE)
_END = re.compile(_MARK % b"END", re.IGNORECASE)


@dataclass(frozen=True)
class Corpus:
    """Two flat arrays of token ids, memory-mapped: `train` and `heldout`; `source` instead if endless."""

    name: str
    vocabulary: int
    train: Any = field(repr=False, default=None)
    heldout: Any = field(repr=False, default=None)
    source: Source | None = None

    @property
    def scored_from(self) -> int:
        """First position of a window whose loss counts: the source's floor needs its whole context."""
        return 2 if self.source else 0

    @property
    def tokens(self) -> float:
        """Distinct training tokens."""
        return float("inf") if self.source else len(self.train)

    def evaluation(self, tokens: int, context: int) -> np.ndarray:
        """Held-out windows int64 [tokens // context, context + 1], the same at every call, spread evenly."""
        windows = max(1, tokens // context)
        if self.source:
            # training counters are [0, step, 0, 0]: no seed can meet these windows
            rng = np.random.Generator(np.random.Philox(key=1, counter=[0, 0, 1, 0]))
            return self.source.sample(windows, context + 1, rng).astype(np.int64)
        last = len(self.heldout) - context - 1
        if last < 0:
            raise DataError(
                f"{self.name}: the held-out part has {len(self.heldout)} tokens, less than a context of {context}"
            )
        starts = np.linspace(0, last, windows).astype(np.int64)
        return self.heldout[starts[:, None] + np.arange(context + 1)].astype(np.int64)


def vocabulary(name: str) -> int:
    """Vocabulary of a corpus, from its name alone. Raises DataError for an unknown name."""
    if name == "known_entropy":
        return Source().vocabulary
    base, cut, size = name.partition("-bpe")
    if base not in ("gutenberg", "tinyshakespeare") or (cut and not size.isdecimal()):
        raise DataError(
            f"no corpus {name!r}; there are gutenberg, tinyshakespeare, both also as NAME-bpe4096 or another size, and known_entropy"
        )
    if size and not 512 <= int(size) <= 65_536:
        raise DataError(f"corpus {name!r}: a byte-pair vocabulary has 512 to 65536 entries")
    return int(size) if size else 256


def same_tokens(first: str, second: str) -> None:
    """Raise DataError unless a model of one corpus can read the other: bytes and bytes, or the same corpus."""
    vocabulary(second)
    coded = "-bpe" in first or "-bpe" in second or "known_entropy" in (first, second)
    if coded and first != second:
        raise DataError(
            f"transfer from {first} to {second}: their tokens mean different things; use two corpora of bytes"
        )


@cache
def open_corpus(name: str) -> Corpus:
    """The corpus, built first if it is not in the cache. Raises DataMissing or DataError with the remedy."""
    size = vocabulary(name)
    if name == "known_entropy":
        return Corpus(name, size, source=Source())
    folder = corpora_folder() / name
    known = registered().get(name, {})
    paths = {part: folder / f"{part}.bin" for part in ("train", "heldout")}
    kind = np.dtype(np.uint8 if size <= 256 else np.uint16)
    complete = all(
        p.is_file() and (not known or p.stat().st_size == known[f"{part}_tokens"] * kind.itemsize)
        for part, p in paths.items()
    )
    if not complete:
        build(name)
    train, heldout = (np.memmap(paths[part], kind, "r") for part in ("train", "heldout"))
    return Corpus(name, size, train, heldout)


def corpora_folder() -> Path:
    """Where built corpora are kept: under the cache of `datasets`."""
    return cache_folder() / "corpora"


@cache
def registered() -> dict:
    """data/corpora.toml: vocabulary, token counts and hashes of each build."""
    return tomllib.loads(data_file("corpora.toml").read_text(encoding="utf-8"))


def build(name: str) -> dict:
    """Write NAME/{train,heldout}.bin; returns their token counts and hashes.

    Books are read one at a time; each part is written under a temporary name, checked, renamed.
    Raises DataError if the result differs from data/corpora.toml.
    """
    from . import tokenizer  # Hugging Face tokenizers, needed for byte-pair corpora only

    base, _, size = name.partition("-bpe")
    folder = corpora_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    encode = tokenizer.byte_encoder
    if size:
        trained = tokenizer.train(texts(base, "train", TOKENIZER_SAMPLE), int(size))
        trained.save(str(folder / "tokenizer.json"))
        encode = tokenizer.encoder(trained)
    entry: dict = {"vocabulary": vocabulary(name)}
    written = {}
    for part in ("train", "heldout"):
        digest, count = hashlib.sha256(), 0
        target = folder / f"{part}.bin"
        partial = folder / f"{part}.{os.getpid()}.part"
        try:
            with partial.open("wb") as handle:
                for text in texts(base, part):
                    block = encode(text)
                    digest.update(block)
                    count += handle.write(block)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DataError(
                f"{name}: cannot write {target}: {error.strerror}; set SCALINGLAWS_CACHE to a folder with room"
            ) from None
        written[partial] = target
        entry[f"{part}_tokens"] = count // (2 if entry["vocabulary"] > 256 else 1)
        entry[f"{part}_sha256"] = digest.hexdigest()
    try:
        _check_build(name, entry)
    except DataError:
        for partial in written:
            partial.unlink()
        raise
    for partial, target in written.items():
        partial.replace(target)
    return entry


def _check_build(name: str, entry: dict) -> None:
    known = registered().get(name)
    if known and known != entry:
        wrong = next(k for k in known if known[k] != entry.get(k))
        raise DataError(
            f"corpus {name}: {wrong} is {entry.get(wrong)} where data/corpora.toml says {known[wrong]}; "
            "another version of tokenizers builds another vocabulary: install the one in requirements.lock"
        )


def texts(base: str, part: str, limit: int | None = None):
    """Yield the texts (bytes) of a part, cleaned, until `limit` bytes."""
    total = 0
    for text in _texts(base, part):
        if limit is not None and total >= limit:
            return
        total += len(text)
        yield text


def _texts(base: str, part: str):
    files = fetch(base)
    if base == "tinyshakespeare":
        text = files["input.txt"].read_bytes()
        cut = text.rindex(b"\n\n", 0, len(text) * 19 // 20)
        yield text[:cut] if part == "train" else text[cut:]
        return
    for name in sorted(files):
        held_out = int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT == 0
        if held_out == (part == "heldout"):
            yield strip_gutenberg(files[name].read_bytes()) + SEPARATOR


def strip_gutenberg(raw: bytes) -> bytes:
    """A book without Project Gutenberg's header and footer, line ends as \\n.

    Raises DataError where the markers `*** START OF …` and `*** END OF …` are missing.
    """
    start, end = _START.search(raw), _END.search(raw)
    if not start or not end or end.start() < start.end():
        raise DataError(
            "a book has no '*** START OF' and '*** END OF' markers; is it from Project Gutenberg?"
        )
    return raw[start.end() : end.start()].replace(b"\r\n", b"\n").strip()
