"""Corpora: byte-exact builds, clean books, a source whose entropy is what it says."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from scalinglaws import datasets
from scalinglaws.lm import corpus as corpora
from scalinglaws.lm import tokenizer
from scalinglaws.lm.source import Source


def test_entropy_rate_by_a_million_tokens():
    source = Source()
    x = source.sample(8000, 131, np.random.default_rng(3))
    surprise = -source.log_probability(x)
    assert surprise.size > 10**6
    error = surprise.std() / surprise.size**0.5
    assert error < 0.0015
    assert surprise.mean() == pytest.approx(source.entropy, abs=4 * error)


def test_the_source_is_what_its_conditional_law_says():
    """Counted continuations of the commonest context agree with p(rank) of their ranks."""
    source = Source()
    x = source.sample(20_000, 103, np.random.default_rng(4)).astype(np.int64)
    context = (x[:, :-3] * 32 + x[:, 1:-2]) * 32 + x[:, 2:-1]
    common = np.bincount(context.ravel()).argmax()
    after = x[:, 3:][context == common]
    counts = np.sort(np.bincount(after, minlength=32))[::-1]
    expected = source.probabilities * after.size
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert after.size > 5_000
    assert chi2 < 70  # 31 degrees of freedom: beyond it in one world of ten thousand


def test_no_context_is_enough_alone():
    """Bigrams and trigrams leave nats on the table: the entropy has to be learnt over several orders."""
    source = Source()
    x = source.sample(60_000, 60, np.random.default_rng(5)).astype(np.int64)

    def entropy_given(order):
        index = np.zeros((len(x), 57), np.int64)
        for j in range(order):
            index = index * 32 + x[:, 3 - order + j : 60 - order + j]
        joint = np.bincount((index * 32 + x[:, 3:]).ravel(), minlength=32 ** (order + 1)).reshape(-1, 32)
        share = joint / joint.sum(1, keepdims=True).clip(1)
        return -(joint * np.log(np.where(share > 0, share, 1))).sum() / joint.sum()

    steps = [entropy_given(0), entropy_given(1), entropy_given(2), source.entropy]
    assert (np.diff(steps) < -0.15).all()


def test_oracle_scores_only_what_has_its_context():
    corpus = corpora.open_corpus("known_entropy")
    windows = corpus.evaluation(6400, 64)
    assert windows.shape == (100, 65)
    assert (
        corpus.scored_from == 2
    )  # the prediction at position 2 is of token 3, the first with three before it
    assert (windows == corpus.evaluation(6400, 64)).all()


BOOK = b"Title: X\r\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\r\n\r\nOne line.\r\nTwo.\r\n\r\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\r\nlicence"


def test_headers_and_footers_go():
    assert corpora.strip_gutenberg(BOOK) == b"One line.\nTwo."
    with pytest.raises(datasets.DataError, match="markers"):
        corpora.strip_gutenberg(BOOK.replace(b"END OF", b"FINIS"))


@pytest.fixture
def library(monkeypatch, tmp_path):
    """A Gutenberg of 60 tiny books, and a cache of its own."""
    files = {}
    for i in range(60):
        path = tmp_path / f"book{i}.txt"
        path.write_bytes(
            BOOK.replace(b"One line.", b"It was the %d-th time that the cat sat on the mat. " % i * 20)
        )
        files[path.name] = path
    monkeypatch.setattr(corpora, "fetch", lambda name: files)
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(corpora, "registered", dict)
    corpora.open_corpus.cache_clear()
    yield files
    corpora.open_corpus.cache_clear()


def test_a_build_splits_by_book_and_maps_the_file(library):
    corpus = corpora.open_corpus("gutenberg")
    assert isinstance(corpus.train, np.memmap)
    train, held = bytes(corpus.train), bytes(corpus.heldout)
    assert len(train) > 10 * len(held) > 0
    for i in range(60):
        marker = b"the %d-th time" % i
        assert (marker in train) != (marker in held)
    assert b"GUTENBERG" not in train + held


def test_bpe_round_trips_and_compresses(library):
    plain, bpe = corpora.open_corpus("gutenberg"), corpora.open_corpus("gutenberg-bpe512")
    from tokenizers import Tokenizer

    saved = Tokenizer.from_file(str(corpora.corpora_folder() / "gutenberg-bpe512" / "tokenizer.json"))
    assert saved.decode(list(bpe.heldout)).encode() == bytes(plain.heldout)
    assert len(bpe.train) < len(plain.train) / 3
    assert bpe.train.max() < saved.get_vocab_size() <= 512


def test_pieces_do_not_change_the_encoding(library, monkeypatch):
    text = b"".join(corpora.texts("gutenberg", "train"))
    trained = tokenizer.train([text], 512)
    whole = tokenizer.encoder(trained)(text)
    monkeypatch.setattr(tokenizer, "BLOCK", 50)
    assert tokenizer.encoder(trained)(text) == whole


def test_a_build_that_differs_from_the_registry_is_an_error(library, monkeypatch):
    entry = corpora.build("gutenberg")
    monkeypatch.setattr(corpora, "registered", lambda: {"gutenberg": entry | {"train_sha256": "0" * 64}})
    with pytest.raises(datasets.DataError, match=r"train_sha256 is .* where data/corpora.toml says 000"):
        corpora.build("gutenberg")


@pytest.mark.parametrize("name", ["gutenberk", "gutenberg-bpe", "gutenberg-bpe10", "known_entropy-bpe512"])
def test_unknown_corpora_are_named(name):
    with pytest.raises(datasets.DataError, match=name):
        corpora.vocabulary(name)


def test_held_out_windows_spread_over_the_whole_part(library):
    corpus = corpora.open_corpus("gutenberg")
    windows = corpus.evaluation(320, 32)
    assert windows.shape == (10, 33)
    assert (windows[0] == corpus.heldout[:33]).all()
    assert (windows[-1] == corpus.heldout[-33:]).all()
    with pytest.raises(datasets.DataError, match="less than a context"):
        corpus.evaluation(10**6, 10**6)


@pytest.mark.network
@pytest.mark.parametrize("name", ["gutenberg", "tinyshakespeare", "tinyshakespeare-bpe1024"])
def test_real_builds_are_byte_exact(name, monkeypatch, tmp_path):
    base = name.split("-", 1)[0]
    try:  # a collection may still be packed in the mirror
        datasets.fetch(base, progress=False)
    except datasets.DataMissing:
        if os.environ.get("SCALINGLAWS_REQUIRE_DATA"):
            raise
        pytest.skip(f"dataset missing (set SCALINGLAWS_MIRROR or run make data): {base}")
    monkeypatch.setattr(corpora, "corpora_folder", lambda: tmp_path)
    entry = corpora.build(name)  # compares with data/corpora.toml itself
    digest = hashlib.sha256((tmp_path / name / "train.bin").read_bytes()).hexdigest()
    assert digest == entry["train_sha256"] == corpora.registered()[name]["train_sha256"]
    assert entry["train_tokens"] > 4e5
