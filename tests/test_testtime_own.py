"""Our own sampler as a writer of open models: what it writes, where it stops, how much it holds at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalinglaws.commands import UserError, open_model
from scalinglaws.testtime import open_models, open_own
from scalinglaws.testtime.answers import Form, asked
from test_testtime_open import QUESTIONS, tiny  # noqa: F401

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def own(tiny):  # noqa: F811
    return open_own.Own(str(tiny), dtype="float32")


def test_greedy_texts_are_those_of_transformers_in_the_order_they_were_asked(own, tiny):  # noqa: F811
    theirs = open_models.Transformers(str(tiny), batch=3)
    texts = ["one", "a longer one", "one", "x", "a longer one", "one"]
    assert own.write(texts, 0.0, None, 11) == theirs.write(texts, 0.0, None, 11)
    assert len(own.told) == 6
    assert own.told[0] == own.told[2] == own.told[5]
    assert own.told[0] != own.told[1]


@pytest.mark.parametrize("stop", ["\n\n", "\n", "e"])
def test_a_row_ends_at_the_text_where_it_is_to_stop_wherever_tokens_part_it(own, stop, monkeypatch):
    """A model that spells a text we choose: its tokens are bytes, so that the two line breaks are two tokens."""
    spelt = "one\ntwo\n\nthree" if stop != "e" else "on\nthree"
    ids, given = own.tokens(spelt), own.decoder

    class Spells:
        """The decoder, whose next token is the next of the text."""

        at = 0

        def __getattr__(self, name):
            return getattr(given, name)

        def logits(self, hidden):
            odds = torch.full((len(hidden), given.vocabulary), -50.0)
            odds[:, ids[min(self.at, len(ids) - 1)]] = 50.0
            self.at += 1
            return odds

    monkeypatch.setattr(own, "decoder", Spells())
    ((text, tokens, ended),) = own.write(["q"], 0.0, stop, len(ids))
    assert text == spelt[: spelt.index(stop) + len(stop)]
    assert (tokens, ended) == (len(text), False)


def test_draws_repeat_with_their_seed(tiny):  # noqa: F811
    def texts(seed):
        return open_own.Own(str(tiny), dtype="float32", seed=seed).write(["one"] * 4, 1.0, None, 9)

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_the_cache_of_a_batch_stays_within_its_bytes(own, monkeypatch):
    each = 2 * 2 * 32 * 4  # keys and values, layers, d, bytes of float32
    monkeypatch.setattr(open_own, "CACHE", 5 * each * 100 + each)
    assert own._rows(100) == 5
    assert own._rows(10**6) == 1
    assert own._rows(1) == own.batch


def test_only_one_character_or_two_can_be_a_stop(own):
    with pytest.raises(ValueError, match="one character or two"):
        own.write(["one"], 0.0, "end", 4)


def test_an_engine_searches_with_it_and_a_verifier_that_reads_whole_solutions(own):
    class Length:
        def last(self, question, solutions):
            return np.array([1 / (1 + len(s)) for s in solutions])

    engine = open_models.OpenEngine(own, Length(), QUESTIONS, most=12, longest_step=4, form=Form("hashes"))
    rows = engine.complete([0, 1], 3, 1.0)
    assert engine.score(rows) == pytest.approx([math.log(1 / (1 + len(t))) for t in rows.texts])
    engine.advance(again := engine.begin([0, 1, 1]), 1.0, 1)
    assert again.length.max() <= 4


def test_the_fastest_backend_that_can_is_taken_and_others_are_refused(tiny, monkeypatch):  # noqa: F811
    from argparse import Namespace

    ask = lambda backend=None, **more: open_model.backend(
        Namespace(model=str(tiny), device=None, backend=backend), **more
    )
    assert ask() == "own"
    assert ask(own=False) == "transformers"
    assert ask("transformers") == "transformers"
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="needs a GPU"):
            ask("vllm")
    with pytest.raises(UserError, match="continues texts"):
        ask("own", own=False)
    monkeypatch.setattr(open_own, "fits", lambda name: False)
    assert ask() == "transformers"
    with pytest.raises(UserError, match="no model of the Llama family"):
        ask("own")


@pytest.mark.long
def test_llama_cpp_writes_what_our_sampler_writes():
    """Greedily, where it is installed: its activations are rounded, but an easy answer does not hang on that."""
    import importlib.util

    from scalinglaws.testtime import embedded, open_llamacpp

    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    if importlib.util.find_spec(embedded.PACKAGE) is None:
        pytest.skip(f"no packaged model: {embedded.INSTALL}")
    theirs, ours = open_llamacpp.LlamaCpp("smollm2", batch=3), open_own.Own("smollm2", dtype="float32")
    form = Form("hashes")
    texts = [
        asked(ours.tokenizer, form, q)
        for q in ("What is 2+3?", "What is the capital of France?", "What is 2+3?", "Say hello.")
    ]
    assert theirs.write(texts, 0.0, None, 8) == ours.write(texts, 0.0, None, 8)
    (stopped,) = theirs.write(texts[:1], 0.0, "+", 8)
    assert stopped[0].endswith("+")
    assert not stopped[2]


def test_llama_cpp_reads_the_embedded_model_alone_and_says_what_it_needs(tiny, monkeypatch):  # noqa: F811
    import importlib.util
    from argparse import Namespace

    from scalinglaws.testtime import open_llamacpp, open_load

    with pytest.raises(open_load.ModelError, match="--model smollm2"):
        open_llamacpp.LlamaCpp(str(tiny))
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "llama_cpp" else there(name, *more)
    )
    with pytest.raises(UserError, match="pip install llama-cpp-python"):
        open_model.backend(Namespace(model=str(tiny), device=None, backend="llama.cpp"))
