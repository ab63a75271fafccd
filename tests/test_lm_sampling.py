"""Whole sequences sampled in a grid: the same as one by one, whatever stands beside them; drawn from the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalinglaws.lm import sampling
from scalinglaws.lm.decode import Decoder
from scalinglaws.lm.examples import PAD, Size

VOCABULARY, END = 12, 3
SIZE = Size(2, 16, 2)


@pytest.fixture(scope="module")
def model():
    return SIZE.transformer(VOCABULARY)


@pytest.fixture(scope="module")
def flat(model):
    return 4 * model.initial(0)


@pytest.fixture(scope="module")
def decoder(model, flat):
    return Decoder(model, flat)


def stop(before, token):
    return token == END


def plain(model, flat, tokens):
    return model.logits(model.layout.views(flat[None]), torch.tensor(tokens)[None, None])[0, 0]


def greedy(model, flat, context, room):
    """One sequence, no cache."""
    out = []
    while len(out) < room and END not in out:
        out.append(int(plain(model, flat, [*context, *out])[-1].argmax()))
    return out


def ragged(n, rng):
    return [rng.integers(4, VOCABULARY, rng.integers(1, 14)).tolist() for _ in range(n)]


@pytest.mark.parametrize(("at_once", "samples"), [(512, 1), (3, 1), (4, 3), (2, 5)])
def test_greedy_rows_are_those_of_a_plain_loop_whatever_stands_beside_them(
    model, flat, decoder, at_once, samples
):
    rng = np.random.default_rng(1)
    contexts, room = ragged(9, rng), rng.integers(0, 12, 9)
    tokens, lengths, _ = sampling.sample(decoder, contexts, samples, room, stop, 0.0, at_once=at_once)
    assert tokens.shape == (9, samples, room.max())
    for c, r, rows, length in zip(contexts, room, tokens, lengths, strict=True):
        expected = greedy(model, flat, c, r)
        for row, n in zip(rows, length, strict=True):
            assert row[:n].tolist() == expected
            assert (row[n:] == PAD).all()


def test_sequences_come_as_often_as_the_model_says(model, flat, decoder):
    """Every sequence of up to two tokens: its probability by the plain model against its share of the draws."""
    contexts, n, warmth = [[5, 6, 7], [8]], 60_000, 1.5
    generator = torch.Generator().manual_seed(0)
    tokens, lengths, _ = sampling.sample(decoder, contexts, n, [2, 2], stop, warmth, generator, at_once=20_000)
    for i, context in enumerate(contexts):
        first = (plain(model, flat, context)[-1] / warmth).softmax(-1)
        for a in range(VOCABULARY):
            then = (plain(model, flat, [*context, a])[-1] / warmth).softmax(-1)
            for b in range(VOCABULARY) if a != END else (PAD,):
                p = float(first[a] * then[b]) if a != END else float(first[a])
                share = (
                    (tokens[i, :, 0] == a) & (tokens[i, :, 1] == b) & (lengths[i] == 2 - (a == END))
                ).mean()
                assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / n) + 1e-4
    assert set(np.unique(lengths)) == {1, 2}


def test_samples_of_one_context_differ_and_a_seed_repeats_them(decoder):
    rng = np.random.default_rng(2)
    contexts = ragged(5, rng)
    draw = lambda seed: sampling.sample(
        decoder, contexts, 8, [10] * 5, stop, 1.0, torch.Generator().manual_seed(seed)
    )
    first, again, other = draw(0), draw(0), draw(1)
    assert (first[0] == again[0]).all()
    assert (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()
    assert len(np.unique(first[0][0], axis=0)) > 4


def test_the_step_that_a_gpu_captures_is_the_same(monkeypatch, decoder):
    """The form for a graph, all places with a mask and `at` counted in it, run plainly here."""
    rng = np.random.default_rng(3)
    contexts, room = ragged(7, rng), rng.integers(1, 12, 7)
    plainly = sampling.sample(
        decoder, contexts, 4, room, stop, 1.0, torch.Generator().manual_seed(5), at_once=28
    )

    def captured(self, temperature, generator):
        self.static = True
        if not hasattr(self, "cleared"):
            self.own, self.cleared = torch.zeros_like(self.own), True
        return lambda t: self._advance(0, temperature, generator)

    monkeypatch.setattr(sampling._Grid, "_captured", captured)
    monkeypatch.setattr(sampling, "CUDA_EVERY", 1)
    monkeypatch.setattr(sampling, "CUDA_KEPT", sampling.KEPT)
    masked = sampling.sample(
        decoder, contexts, 4, room, stop, 1.0, torch.Generator().manual_seed(5), at_once=28
    )
    assert (plainly[0] == masked[0]).all()
    assert (plainly[1] == masked[1]).all()


def test_packing_keeps_every_row(monkeypatch, model, flat, decoder):
    rng = np.random.default_rng(4)
    contexts, room = ragged(12, rng), rng.integers(1, 20, 12)
    packs = []
    original = sampling._Grid._pack
    monkeypatch.setattr(
        sampling._Grid, "_pack", lambda self, *a: packs.append(len(self.ended)) or original(self, *a)
    )
    tokens, lengths, _ = sampling.sample(decoder, contexts, 3, room, stop, 0.0)
    assert len(packs) > 2
    for c, r, rows, length in zip(contexts, room, tokens, lengths, strict=True):
        assert rows[2, : length[2]].tolist() == greedy(model, flat, c, r)


def test_a_context_too_long_is_refused(decoder):
    with pytest.raises(ValueError, match="161 positions asked of a model with a context of 160"):
        sampling.sample(decoder, [[5] * 150], 1, [11], stop)
