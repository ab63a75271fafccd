"""Cached decoding against the plain forward pass; proposers step by step against all at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalinglaws.lm.decode import Decoder, draw
from scalinglaws.lm.examples import Size
from scalinglaws.testtime import labels
from scalinglaws.testtime.chain import Chain
from scalinglaws.testtime.proposer import Proposer
from scalinglaws.testtime.world import ANSWER

WORLD = Chain()
SIZE = Size(2, 16, 2)


@pytest.fixture(scope="module")
def model():
    return SIZE.transformer(len(WORLD.tokens))


@pytest.fixture(scope="module")
def flat(model):
    return 3 * model.initial(0)


@pytest.fixture
def proposer(model, flat):
    return Proposer(WORLD, model, flat, seed=3)


def plain(model, flat, tokens):
    return model.logits(model.layout.views(flat[None]), torch.tensor(tokens)[None, None])[0, 0]


def test_cached_logits_are_the_plain_ones_at_any_raggedness(model, flat):
    rng = np.random.default_rng(0)
    rows = [rng.integers(5, 60, n).tolist() for n in (3, 9, 5, 12)]
    decoder = Decoder(model, flat)
    cache = decoder.cache(4, 13)
    done = [0] * 4
    while any(d < len(r) for d, r in zip(done, rows, strict=True)):
        take = [min(int(rng.integers(0, 5)), len(r) - d) for d, r in zip(done, rows, strict=True)]
        if not max(take):
            continue
        fed = torch.zeros(4, max(take), dtype=torch.int64)
        for i, (r, d, t) in enumerate(zip(rows, done, take, strict=True)):
            fed[i, :t] = torch.tensor(r[d : d + t])
        hidden = decoder.feed(cache, fed, torch.tensor(take))
        for i, t in enumerate(take):
            done[i] += t
            if t:
                ours = decoder.logits(hidden[i, t - 1][None])[0]
                torch.testing.assert_close(
                    ours, plain(model, flat, rows[i][: done[i]])[-1], rtol=1e-4, atol=1e-4
                )
    assert cache.used.tolist() == [len(r) for r in rows]


def test_chosen_rows_continue_as_their_originals(model, flat):
    decoder = Decoder(model, flat)
    cache = decoder.cache(2, 8)
    decoder.feed(cache, torch.tensor([[7, 8, 9], [10, 11, 0]]), torch.tensor([3, 2]))
    copies = cache.select(torch.tensor([1, 0, 1]))
    hidden = decoder.feed(copies, torch.tensor([[20], [21], [22]]))
    for i, tokens in enumerate(([10, 11, 20], [7, 8, 9, 21], [10, 11, 22])):
        torch.testing.assert_close(
            decoder.logits(hidden[i])[0], plain(model, flat, tokens)[-1], rtol=1e-4, atol=1e-4
        )
    assert cache.used.tolist() == [3, 2]


def test_some_rows_of_a_cache_can_be_fed_alone(model, flat):
    decoder = Decoder(model, flat)
    cache = decoder.cache(3, 8)
    decoder.feed(cache, torch.tensor([[7, 8], [9, 10], [11, 12]]))
    decoder.feed(cache, torch.tensor([[13]]), rows=torch.tensor([1]))
    hidden = decoder.feed(cache, torch.tensor([[14], [15], [16]]))
    for i, tokens in enumerate(([7, 8, 14], [9, 10, 13, 15], [11, 12, 16])):
        torch.testing.assert_close(
            decoder.logits(hidden[i])[0], plain(model, flat, tokens)[-1], rtol=1e-4, atol=1e-4
        )


def test_a_cache_does_not_outgrow_the_context(model, flat):
    with pytest.raises(ValueError, match="context of 160"):
        Decoder(model, flat).cache(1, 161)


def test_draws_follow_the_distribution():
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.7]])).expand(40_000, 3)
    drawn = draw(logits, 1.0, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / 40_000
    torch.testing.assert_close(share, torch.tensor([0.1, 0.2, 0.7]), atol=0.01, rtol=0)
    sharper = draw(logits, 0.5, torch.Generator().manual_seed(0))
    squared = torch.tensor([0.01, 0.04, 0.49]) / 0.54
    torch.testing.assert_close(torch.bincount(sharper, minlength=3) / 40_000, squared, atol=0.01, rtol=0)
    assert (draw(logits[:5], 0) == 2).all()


def greedy(model, flat, prompt, room):
    """Greedy decoding without a cache, one sequence."""
    out = []
    while len(out) < room:
        out.append(int(plain(model, flat, [*prompt, *out])[-1].argmax()))
        if len(out) > 1 and out[-2] == ANSWER and WORLD.ends[out[-1]]:
            break
    return tuple(out)


def test_greedy_solutions_are_those_of_a_plain_loop(model, flat, proposer):
    problems = WORLD.sample(12, np.random.default_rng(1), target=True)
    rows = proposer.solve(problems, 1, 0.0)
    for i, problem in enumerate(problems):
        room = max(WORLD.longest(p) for p in problems)
        expected = greedy(model, flat, problem.prompt, room)
        ours = rows.solution(i)
        assert ours == expected[: len(ours)]
        assert rows.finished[i] == (WORLD.answer(ours) >= 0)
        assert rows.spent[i] == rows.length[i] == len(ours)


def test_steps_one_by_one_are_the_whole(proposer, model, flat):
    problems = WORLD.sample(8, np.random.default_rng(2), target=True)
    room = max(WORLD.longest(p) for p in problems)
    prompts = [p.prompt for p in problems]
    rows = proposer.begin(prompts, range(8), room)
    while not (rows.finished | (rows.length == room)).all():
        before = rows.length.copy()
        proposer.advance(rows, 0.0, 1)
        assert (rows.length - before <= WORLD.longest_step).all()
        rows = rows.select(np.arange(8))
    for i in range(8):
        expected = greedy(model, flat, problems[i].prompt, room)
        assert rows.solution(i) == expected


def test_a_prefix_is_continued_as_if_it_had_been_written(proposer, model, flat):
    problem = WORLD.sample(1, np.random.default_rng(3), target=True)[0]
    prefix = WORLD.reference(problem)[:2]
    room = WORLD.longest(problem) + 4
    rows = proposer.complete([problem.prompt], [0], [room], 1, 0.0, [prefix])
    assert rows.solution(0)[:2] == tuple(prefix)
    assert rows.solution(0)[2:] == greedy(model, flat, [*problem.prompt, *prefix], room - 2)
    assert rows.spent[0] == rows.length[0] - 2


def test_sampling_is_reproducible_and_its_answers_are_read_right(model, flat):
    problems = WORLD.sample(6, np.random.default_rng(4), target=True)
    first, again = (Proposer(WORLD, model, flat, seed=5).solve(problems, 8) for _ in range(2))
    assert (first.tokens == again.tokens).all()
    assert (first.problem == np.repeat(np.arange(6), 8)).all()
    for i in range(len(first)):
        assert first.answer[i] == (WORLD.answer(first.solution(i)) if first.finished[i] else -1)


def test_nothing_asked_is_nothing_written(proposer):
    rows = proposer.complete([], [], [], 4)
    assert len(rows) == 0
    assert len(proposer.solve([], 3)) == 0


def test_labels_where_no_sample_has_a_step_to_continue(proposer, monkeypatch):
    """A proposer whose samples never end: nothing to roll out, nothing labelled."""
    problems = WORLD.sample(2, np.random.default_rng(5), target=True)
    monkeypatch.setattr(proposer, "_stop", lambda before, token: torch.zeros_like(token, dtype=torch.bool))
    monkeypatch.setattr(WORLD, "answer", lambda solution: -1)
    found = labels.label(proposer, problems, 3, 2)
    assert len(found.solutions) == 0
