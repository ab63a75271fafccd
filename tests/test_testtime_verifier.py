"""Verifiers: two ways of reading give one score; what the measures of quality mean; labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalinglaws.lm.examples import Recipe, Size
from scalinglaws.testtime import labels
from scalinglaws.testtime.chain import Chain
from scalinglaws.testtime.proposer import Proposer
from scalinglaws.testtime.verifier import HEADS, Verifier, auc, calibration, log_complement, within

WORLD = Chain()
SIZE = Size(2, 16, 2)


@pytest.fixture(scope="module")
def flat():
    return 3 * SIZE.transformer(len(WORLD.tokens)).initial(0)


@pytest.fixture(scope="module")
def proposer(flat):
    return Proposer(WORLD, SIZE.transformer(len(WORLD.tokens)), flat, seed=1)


def untrained(head, flat):
    judge = Verifier(WORLD, SIZE, head)
    start = judge.start(flat)
    extra = len(start) - len(flat)
    noise = torch.randn(extra, generator=torch.Generator().manual_seed(2))
    return Verifier(WORLD, SIZE, head, torch.cat([flat, start[len(flat) :] + 0.3 * noise]))


@pytest.mark.parametrize("head", HEADS)
def test_reading_along_is_reading_the_whole(head, flat, proposer):
    judge = untrained(head, flat)
    problems = WORLD.sample(6, np.random.default_rng(3), target=True)
    contexts = [p.prompt for p in problems]
    rows = proposer.begin(contexts, range(6), max(map(WORLD.longest, problems)))
    rows = rows.select(np.repeat(np.arange(6), 3))
    rng = np.random.default_rng(4)
    for _ in range(4):
        proposer.advance(rows, 1.0, 1)
        ours = judge.score(rows, contexts)
        solutions = [rows.solution(i) for i in range(len(rows))]
        whole = judge.judge([contexts[i] for i in rows.problem], solutions)
        np.testing.assert_allclose(ours, whole[np.arange(len(rows)), rows.length - 1], rtol=2e-4, atol=2e-4)
        rows = rows.select(rng.integers(len(rows), size=len(rows)))


def test_the_factored_head_is_a_product(flat):
    judge = untrained("factored", flat)
    problem = WORLD.sample(1, np.random.default_rng(5), target=True)[0]
    solution = WORLD.reference(problem)
    tokens = torch.tensor([[*problem.prompt, *solution]])
    p = {k: v[0] for k, v in judge.layout.views(judge.flat[None]).items()}
    hidden = judge.model.hidden(judge.model.layout.views(flat[None]), tokens[None])[0]
    value = torch.sigmoid(hidden @ p["value"][:, 0] + p["value.bias"])
    opinion = torch.sigmoid(hidden @ p["token"] + p["token.bias"])
    start, product = len(problem.prompt), 1.0
    found = np.exp(judge.judge([problem.prompt], [solution])[0])
    for t in range(len(solution)):
        product *= float(opinion[start + t - 1, tokens[0, start + t]])
        assert found[t] == pytest.approx(product * float(value[start + t]), rel=1e-4)


def test_an_unknown_head_is_named():
    with pytest.raises(ValueError, match="plain, factored"):
        Verifier(WORLD, SIZE, "linear")


@pytest.mark.parametrize("head", HEADS)
def test_training_learns_what_the_labels_say(head, flat, proposer):
    """On its own few examples a verifier tells right from wrong; with outcome labels only the end counts."""
    problems = WORLD.sample(24, np.random.default_rng(6), target=True)
    known = labels.label(proposer, problems, 8, 1)
    recipe = Recipe(steps=150, batch=32, learning_rate=0.01, warmup=10)
    # an untrained proposer is never right: let odd answer tokens be the right ones
    known.exact = [
        np.full(len(e), float(s[-1] % 2), np.float32)
        for e, s in zip(known.exact, known.solutions, strict=True)
    ]
    judge = Verifier(WORLD, SIZE, head).train(flat, known.examples("exact"), recipe)
    last = [s[-1] for s in judge.steps([problems[i].prompt for i in known.problem], known.solutions)]
    assert auc(np.array(last), np.array([s[-1] % 2 for s in known.solutions])) > 0.95


def test_rollout_labels_are_shares_and_exact_labels_the_worlds(proposer):
    problems = WORLD.sample(10, np.random.default_rng(7), target=True)
    known = labels.label(proposer, problems, 6, 4)
    for i, s, exact, rollout, right, ends in zip(
        known.problem, known.solutions, known.exact, known.rollout, known.right, known.ends, strict=True
    ):
        steps = WORLD.steps(s)
        assert len(exact) == len(rollout) == len(ends) == len(steps)
        assert exact.sum() == WORLD.right_steps(problems[i], s)
        assert rollout[-1] == right == WORLD.check_answer(problems[i], s)
        assert set(np.round(rollout * 4, 6)) <= {0.0, 1.0, 2.0, 3.0, 4.0}
        assert all(WORLD.ends[s[e]] for e in ends)
    assert len({(i, s) for i, s in zip(known.problem, known.solutions, strict=True)}) == len(known.solutions)


def test_flips_turn_the_share_that_was_asked(proposer):
    known = labels.label(proposer, WORLD.sample(60, np.random.default_rng(8), target=True), 8, 1)
    turned = known.take(10**6, flip=0.2, seed=1)
    before, after = np.concatenate(known.exact), np.concatenate(turned.exact)
    changed = (before != after).mean()
    assert abs(changed - 0.2) < 4 * (0.16 / len(before)) ** 0.5
    assert len(known.take(7).solutions) == 7
    weights = known.take(7).examples("outcome").weight
    assert ((weights == 1).sum(1) == 1).all()
    with pytest.raises(ValueError, match="rollout, exact, hard or outcome"):
        known.examples("soft")


def test_log_complement_is_stable_at_both_ends():
    log_p = torch.tensor([-1e-6, -1e-3, -0.5, -0.7, -5.0, -40.0], dtype=torch.float64)
    expected = torch.log(-torch.expm1(log_p))
    torch.testing.assert_close(log_complement(log_p), expected, rtol=1e-9, atol=1e-12)
    assert torch.isfinite(log_complement(torch.tensor([0.0, -1e3]))).all()


def test_auc_counts_pairs():
    rng = np.random.default_rng(9)
    score, right = rng.integers(0, 5, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in score[right] for b in score[~right]]
    assert auc(score, right) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(score, np.ones(60)))


def test_pooled_auc_can_be_high_where_within_is_chance():
    """A score that only knows which problem is easy cannot choose among its samples."""
    rng = np.random.default_rng(10)
    problem = np.repeat(np.arange(200), 20)
    ease = np.linspace(0.05, 0.95, 200)[problem]
    right = rng.random(4000) < ease
    score = ease + 1e-3 * rng.random(4000)
    assert auc(score, right) > 0.75
    assert abs(within(score, right, problem).mean() - 0.5) < 0.05


def test_calibration_of_a_calibrated_score():
    rng = np.random.default_rng(11)
    p = rng.random(50_000)
    found = calibration(p, rng.random(50_000) < p)
    assert found[:, 2].sum() == 50_000
    assert np.abs(found[:, 0] - found[:, 1]).max() < 0.03
