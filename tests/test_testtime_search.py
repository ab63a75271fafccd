"""Search and selection on a small world without networks: budgets, invariants, limits that are known."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalinglaws.testtime import search, select, tree

K = 3  # steps, then the answer; a step is a token 0, 1 or 2; the right one is always 0


@dataclass
class Line:
    """Rows of token lists: the `Rows` that searches see."""

    problem: np.ndarray
    tokens: list[list[int]]
    reads: list[int] = field(default_factory=list)

    def __len__(self):
        return len(self.problem)

    @property
    def length(self):
        return np.array([len(t) for t in self.tokens])

    @property
    def finished(self):
        return self.length == K

    @property
    def answer(self):
        return np.where(self.finished, [sum(t) for t in self.tokens], -1)

    def select(self, index):
        return Line(self.problem[index], [list(self.tokens[i]) for i in index])

    def solution(self, row):
        return tuple(self.tokens[row])


class Toy:
    """An engine whose steps are drawn evenly and whose scores are a given function of the tokens."""

    longest_step = 1

    def __init__(self, score, seed=0):
        self.judge, self.rng, self.written = score, np.random.default_rng(seed), 0

    def begin(self, problems, prefixes=None):
        prefixes = prefixes or [()] * len(problems)
        return Line(np.array(problems), [list(p) for p in prefixes])

    def advance(self, rows, temperature, steps):
        for tokens in rows.tokens:
            for _ in range(steps):
                if len(tokens) < K:
                    greedy = (
                        max(range(3), key=lambda x: self.judge((*tokens, x))) if temperature == 0 else None
                    )
                    tokens.append(int(self.rng.integers(3)) if greedy is None else greedy)
                    self.written += 1

    def complete(self, problems, samples, temperature, prefixes=None):
        rows = self.begin(problems, prefixes).select(np.repeat(np.arange(len(problems)), samples))
        before = rows.length
        self.advance(rows, temperature, K)
        rows.spent = rows.length - before
        return rows

    def score(self, rows):
        return np.log([max(self.judge(tuple(t)), 1e-9) for t in rows.tokens])

    def longest(self, problem):
        return K


def perfect(tokens):
    return float(sum(tokens) == 0)


@cache
def noisy(tokens):
    return 0.1 + 0.8 * np.random.default_rng(abs(hash(tokens)) % 2**32).random()


SEARCHES = {
    "best_of": search.best_of,
    "beam": search.beam,
    "beam of two": lambda e, p, N: search.beam(e, p, N, M=2),
    "distinct": lambda e, p, N: search.beam(e, p, N, distinct=True),
    "lookahead": lambda e, p, N: search.beam(e, p, N, lookahead=1),
    "far lookahead": lambda e, p, N: search.beam(e, p, N, lookahead=3),
    "diverse": search.diverse,
    "mcts": tree.mcts,
}


@pytest.mark.parametrize("N", [1, 2, 3, 4, 7, 11, 16, 64])
@pytest.mark.parametrize("method", SEARCHES)
def test_no_method_writes_more_than_its_budget_and_all_report_what_they_wrote(method, N):
    engine = Toy(noisy)
    found = SEARCHES[method](engine, list(range(7)), N)
    assert len(found) == 7
    assert sum(f.generated for f in found) == engine.written
    for f in found:
        assert 0 < f.generated <= N * K
        assert f.scored <= f.generated
        assert len(f.answers) == len(f.solutions) == len(f.scores) == len(f.groups)
        assert f.solutions
        assert all(len(s) == K and a == sum(s) for s, a in zip(f.solutions, f.answers, strict=True))
        assert f.unique == len(set(f.solutions))


@pytest.mark.parametrize("method", SEARCHES)
def test_with_one_sample_every_method_is_pass_1(method):
    """A uniform proposer is right with probability 1/27; so is every method with N = 1."""
    problems = list(range(3000))
    found = SEARCHES[method](Toy(noisy), problems, 1)
    accuracy = np.mean([f.choose().get(0, 0.0) for f in found])
    assert abs(accuracy - 1 / 27) < 4 * (1 / 27 / 3000) ** 0.5


@pytest.mark.long
def test_with_a_perfect_verifier_weighted_best_of_n_is_coverage():
    found = search.best_of(Toy(perfect), list(range(500)), 16)
    for f in found:
        assert f.choose().get(0, 0.0) == float(0 in f.answers)
    share = np.mean([0 in f.answers for f in found])
    assert abs(share - (1 - (26 / 27) ** 16)) < 4 * 0.5 / 500**0.5


def test_with_a_perfect_verifier_beam_needs_one_right_step_a_round():
    """keep = 1 of 4: right unless some round has no 0 among 4 draws, (1 − (2/3)⁴)³."""
    found = search.beam(Toy(perfect), list(range(1000)), 4)
    accuracy = np.mean([f.choose().get(0, 0.0) for f in found])
    assert abs(accuracy - (1 - (2 / 3) ** 4) ** K) < 4 * 0.5 / 1000**0.5


def test_a_beam_of_one_follows_the_best_step():
    """Of enough candidates that every step occurs, keeping one is the greedy choice by the verifier."""
    best, tokens = [], ()
    for _ in range(K - 1):
        tokens = max(((*tokens, x) for x in range(3)), key=noisy)
        best.append(tokens)
    found = search.stepwise(Toy(noisy), [0], 64, groups=1, keep=1)[0]
    assert {s[: K - 1] for s in found.solutions} == {best[-1]}


@pytest.mark.long
def test_lookahead_chooses_by_what_comes_after():
    """A verifier that sees only finished solutions is blind for a plain beam and not for one that looks ahead."""

    def late(tokens):
        return 0.5 if len(tokens) < K else perfect(tokens) + 1e-6 * (2 - tokens[-1])

    plain = search.beam(Toy(late), list(range(400)), 16)
    ahead = search.beam(Toy(late), list(range(400)), 64, lookahead=K)
    right = [np.mean([f.choose().get(0, 0.0) for f in found]) for found in (plain, ahead)]
    assert right[1] > right[0] + 0.3


def test_trees_of_a_diverse_search_share_nothing():
    found = search.diverse(Toy(noisy, seed=3), list(range(200)), 16)
    first_steps = [{s[0] for s in f.solutions} for f in found]
    # a beam keeps the best over all, so its first steps agree more often
    beams = [{s[0] for s in f.solutions} for f in search.beam(Toy(noisy, seed=3), list(range(200)), 16)]
    assert all(set(f.groups) == {0, 1, 2, 3} for f in found)
    assert np.mean([len(x) for x in first_steps]) >= np.mean([len(x) for x in beams])


def test_copies_within_a_group_vote_once_and_independent_finds_each():
    f = search.Found([(1,), (1,), (2,)], [1, 1, 2], [np.log(0.5), np.log(0.5), np.log(0.8)], [0, 0, 0])
    assert f.choose() == {2: 1.0}
    f.groups = [0, 1, 0]
    assert f.choose() == {1: 1.0}


def test_candidates_that_cannot_be_shared_are_refused():
    with pytest.raises(ValueError, match="10 candidates"):
        search.stepwise(Toy(noisy), [0], 10, groups=1, keep=3)


def test_batches_keep_the_order_of_problems():
    engine = Toy(noisy)
    engine.longest = lambda i: K + i % 3
    whole = search.in_batches(search.best_of, engine, list(range(700)), 4)
    assert len(whole) == 700
    assert all(len(f.answers) == 4 for f in whole)


def test_tree_search_with_a_perfect_verifier_finds_what_there_is():
    found = tree.mcts(Toy(perfect), list(range(300)), 16)
    assert np.mean([f.choose().get(0, 0.0) for f in found]) > 0.9


def test_puct_prefers_value_then_rarely_visited():
    root = tree.Node((), visits=20, expansions=10)
    good, rare = tree.Node((0,), 1, 1.8, 2, False), tree.Node((1,), 1, 0.1, 1, False)
    root.children = {(0,): good, (1,): rare}
    assert tree.walk(root, 0.0)[1] is good
    good.visits, good.total = 200, 60.0
    assert tree.walk(root, 5.0)[1] is rare
    good.ended = rare.ended = True
    assert tree.walk(root, 1.0) == [root]


# -- selection -------------------------------------------------------------------------------


SAMPLES = st.lists(st.tuples(st.integers(-1, 4), st.floats(-8, -0.01)), min_size=1, max_size=24)


@settings(deadline=None)
@given(SAMPLES, st.randoms(use_true_random=False), st.sampled_from(select.RULES))
def test_a_permutation_of_samples_changes_nothing(samples, random, rule):
    answers, scores = map(np.array, zip(*samples, strict=True))
    order = list(range(len(samples)))
    random.shuffle(order)
    first, then = select.choose(answers, scores, rule), select.choose(answers[order], scores[order], rule)
    assert first.keys() == then.keys()
    assert first == pytest.approx(then)
    assert not first or sum(first.values()) == pytest.approx(1)
    assert -1 not in first


@settings(deadline=None)
@given(SAMPLES, st.sampled_from(select.RULES))
def test_one_sample_is_chosen_as_it_is(samples, rule):
    answer, score = samples[0]
    assert select.choose(np.array([answer]), np.array([score]), rule) == (
        {answer: 1.0} if answer >= 0 else {}
    )


@settings(deadline=None)
@given(SAMPLES)
def test_rules_against_plain_counting(samples):
    answers, scores = map(np.array, zip(*samples, strict=True))
    votes: dict[int, list[float]] = {}
    for a, s in samples:
        if a >= 0:
            votes.setdefault(a, []).append(float(np.exp(s)))
    for rule, total in (("majority", len), ("weighted", sum), ("best", max)):
        chosen = select.choose(answers, scores, rule)
        if votes:
            top = max(map(total, votes.values()))
            assert all(total(votes[a]) == pytest.approx(top) for a in chosen)


@pytest.mark.parametrize("rule", select.RULES)
def test_replay_agrees_with_choosing_in_every_block(rule):
    """With ties, unfinished samples, whole blocks of them, and scores of zero probability."""
    rng = np.random.default_rng(1)
    for t in range(60):
        n = int(rng.integers(1, 40))
        answers = rng.integers(-1, 1 if t % 4 == 0 else 4, n)
        scores = np.round(3 * rng.normal(size=n), 1)
        scores[rng.random(n) < 0.3] = -np.inf
        budgets = [N for N in (1, 2, 3, 5, 8) if N <= n]
        blocks = [
            [select.accuracy(answers[i : i + N], scores[i : i + N], 2, rule) for i in range(0, n - N + 1, N)]
            for N in budgets
        ]
        plain = [np.mean(b) for b in blocks]
        assert select.replay(answers, scores, 2, budgets, rule) == pytest.approx(plain)


def test_copies_vote_only_where_they_are_asked():
    found = search.Found(
        [(1, 2), (1, 2), (1, 2), (3, 4)], [7, 7, 7, 8], list(np.log([0.4, 0.4, 0.4, 0.9])), [0] * 4
    )
    assert found.choose() == {8: 1.0}
    assert found.choose(copies=True) == {7: 1.0}
    found.groups = [0, 1, 2, 3]  # independent finds of the same solution always count
    assert found.choose() == found.choose(copies=True) == {7: 1.0}


def test_survivors_share_the_whole_budget_also_without_copies():
    class Few:
        problem = np.zeros(16, int)
        finished = np.zeros(16, bool)

        def solution(self, i):
            return (i % 3,)  # three distinct prefixes among sixteen

    score = -np.arange(16.0)
    for distinct, kinds in ((False, 4), (True, 3)):
        index, group = search._survivors(Few(), np.zeros(16, int), score, 4, 4, distinct)
        assert len(set(index.tolist())) == kinds
        assert len(index) == len(group) == (16 if kinds == 4 else 15)


def test_replay_is_the_mean_over_blocks_and_unbiased():
    rng = np.random.default_rng(0)
    answers = rng.choice(3, 512, p=[0.5, 0.3, 0.2])
    scores = np.log(rng.random(512))
    one = select.replay(answers, scores, 0, [1], "best")[0]
    assert one == pytest.approx((answers == 0).mean())
    blocks = [
        select.accuracy(answers[i : i + 64], scores[i : i + 64], 0, "weighted") for i in range(0, 512, 64)
    ]
    assert select.replay(answers, scores, 0, [64], "weighted")[0] == pytest.approx(np.mean(blocks))
    with pytest.raises(ValueError, match="1024 asks for more than the 512"):
        select.replay(answers, scores, 0, [1024], "best")


def test_coverage_against_all_subsets():
    right = np.array([1, 0, 0, 1, 0, 0, 0])
    for N in range(1, 8):
        subsets = list(itertools.combinations(right, N))
        expected = np.mean([any(s) for s in subsets])
        assert select.coverage(right, [N])[0] == pytest.approx(expected)
    assert select.coverage(np.zeros(5), [5])[0] == 0


def test_aggregates():
    steps = np.log(np.array([0.9, 0.5, 0.8]))
    assert select.aggregate(steps, "last") == pytest.approx(np.log(0.8))
    assert select.aggregate(steps, "min") == pytest.approx(np.log(0.5))
    assert select.aggregate(steps, "product") == pytest.approx(np.log(0.36))
    with pytest.raises(ValueError, match="last, min, product"):
        select.aggregate(steps, "mean")


def test_the_bootstrap_interval_covers():
    rng = np.random.default_rng(1)
    hits = 0
    for i in range(200):
        low, high = select.paired_bootstrap(rng.normal(0.3, 1, 60), 200, i)
        hits += low <= 0.3 <= high
    assert 0.88 < hits / 200 < 0.99


def test_an_interval_over_seeds_covers_where_one_over_problems_does_not():
    """Eight trainings that differ by luck: resampled problems alone know nothing of the next training."""
    rng, both, problems_only = np.random.default_rng(2), 0, 0
    for i in range(200):
        values = 0.3 + rng.normal(0, 0.2, (8, 1)) + rng.normal(0, 1, (8, 60))
        mean, (low, high) = select.seed_bootstrap(values, 200, i)
        assert mean == pytest.approx(values.mean())
        both += low <= 0.3 <= high
        low, high = select.paired_bootstrap(values.mean(0), 200, i)
        problems_only += low <= 0.3 <= high
    assert problems_only / 200 < 0.84 < both / 200


def test_problems_that_do_not_count_with_a_seed_are_left_out():
    values = np.array([[1.0, 3.0, np.nan], [2.0, np.nan, np.nan]])
    mean, (low, high) = select.seed_bootstrap(values, 500, 0)
    assert mean == pytest.approx((1.5 + 3.0) / 2)  # over problems of the mean over the seeds that have one
    assert (low, high) == (1.0, 3.0)
    assert select.seed_bootstrap(np.array([1.0, 3.0]), 100, 0)[0] == 2.0  # one seed
