"""Byte-pair encodings, trained here with Hugging Face tokenizers."""

from __future__ import annotations

import numpy as np

BLOCK = 2**16
"""Characters encoded at a time: pieces of a book can then be encoded in parallel."""


def byte_encoder(text: bytes) -> bytes:
    """Bytes are their own tokens."""
    return text


def train(texts, vocabulary: int):
    """A byte-level BPE tokenizer with `vocabulary` entries (256 bytes plus merges), GPT-2's pre-splitting."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    result = Tokenizer(models.BPE())
    result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    result.train_from_iterator((t.decode("utf-8") for t in texts), trainer)
    return result


def encoder(tokenizer):
    """A function bytes → token ids as uint16 bytes."""

    def encode(text: bytes) -> bytes:
        pieces = _pieces(text.decode("utf-8"))
        encoded = tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        return b"".join(np.array(e.ids, np.uint16).tobytes() for e in encoded)

    return encode


def _pieces(text: str) -> list[str]:
    """The text cut after line ends, so that no word is split, into pieces of about BLOCK characters."""
    pieces, start = [], 0
    while start < len(text):
        cut = text.find("\n", start + BLOCK)
        cut = len(text) if cut < 0 else cut + 1
        pieces.append(text[start:cut])
        start = cut
    return pieces
