"""Worlds: what is right, what a prefix is worth, the split."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scalinglaws.testtime.chain import Chain
from scalinglaws.testtime.shortest_path import ShortestPath
from scalinglaws.testtime.world import ANSWER, Problem
from scalinglaws.testtime.worlds import worlds

WORLDS = list(worlds().values())


@pytest.fixture(params=WORLDS, ids=lambda w: w.name)
def world(request):
    return request.param


def test_references_are_right_and_demonstrations_are_not_always(world):
    rng = np.random.default_rng(0)
    wrong = 0
    for problem in world.sample(200, rng, target=True):
        solution = world.reference(problem)
        steps = world.steps(solution)
        assert world.check_answer(problem, solution)
        assert world.right_steps(problem, solution) == len(steps)
        assert len(solution) == world.longest(problem)
        assert all(len(s) <= world.longest_step for s in steps)
        assert all(
            world.check_step(problem, [t for before in steps[:j] for t in before], s)
            for j, s in enumerate(steps)
        )
        shown = world.demonstration(problem, rng)
        good = world.check_answer(problem, shown)
        wrong += not good
        # a step after which all is right cannot follow one after which nothing can be
        assert (
            world.right_steps(problem, shown) == len(world.steps(shown)) or not good or world.name == "chain"
        )
    assert 20 < wrong < 180


def test_a_wrong_value_ends_the_right_steps(world):
    rng = np.random.default_rng(1)
    for problem in world.sample(40, rng, target=True):
        solution = world.reference(problem)
        at = 2 * int(rng.integers(len(solution) // 2)) + 1
        first_end, last_end = np.flatnonzero(world.ends)[[0, -1]]
        other = first_end if solution[at] != first_end else last_end
        broken = [*solution[:at], int(other), *solution[at + 1 :]]
        assert world.right_steps(problem, broken) == at // 2
        assert not world.check_step(problem, broken[: at - 1], broken[at - 1 : at + 1])


def test_value_is_the_share_of_demonstrations_that_end_right(world):
    """From a prefix of a demonstration, against simulation within four standard errors."""
    rng = np.random.default_rng(2)
    for problem in world.sample(4, rng, target=True):
        shown = [world.demonstration(problem, rng) for _ in range(4000)]
        right = np.array([world.check_answer(problem, s) for s in shown])
        assert abs(world.value(problem, []) - right.mean()) < 4 * 0.5 / 4000**0.5
        first = np.array([tuple(s[:2]) for s in shown])
        step, count = np.unique(first, axis=0, return_counts=True)
        common = step[count.argmax()]
        here = (first == common).all(1)
        assert abs(world.value(problem, common.tolist()) - right[here].mean()) < 4 * 0.5 / here.sum() ** 0.5
        assert world.value(problem, world.reference(problem)) == 1.0
        assert world.value(problem, [ANSWER, problem.answer]) == 0.0  # an answer before its steps


def test_value_is_an_average_over_the_next_step():
    """The chain's exact value obeys V(s) = Σ P(step) V(s, step)."""
    world = Chain()
    problem = world.problem(3, np.random.default_rng(4), target=True)
    (o, *_), x = problem.notes
    kernel = world.kernel(o)[x[0]]
    steps = [[world.first_operation + o, world.first_value + v] for v in range(world.values)]
    ahead = sum(p * world.value(problem, s) for p, s in zip(kernel, steps, strict=True))
    assert kernel.sum() == pytest.approx(1)
    assert world.value(problem, []) == pytest.approx(ahead, rel=1e-12)


def test_shortest_path_against_all_paths():
    world = ShortestPath()
    rng = np.random.default_rng(5)
    for difficulty in world.difficulties:
        problem = world.problem(difficulty, rng)
        lengths = []
        for nodes in itertools.product(range(world.width), repeat=difficulty):
            at, total = 0, 0
            for j, node in enumerate(nodes):
                total += int(world._edges(problem.notes, j, at)[node])
                at = node
            lengths.append(total)
        assert problem.answer - world.first_sum == min(lengths)


def test_the_split_is_the_prompts_own_and_disjoint(world):
    rng = np.random.default_rng(6)
    train = {p.prompt for p in world.sample(300, rng)}
    test = {p.prompt for p in world.sample(100, rng, target=True, held_out=True)}
    assert not train & test
    assert all(not Problem(p, 0, 1).held_out for p in train)
    assert all(Problem(p, 0, 1).held_out for p in test)


def test_disputed_facts_defeat_greedy_decoding():
    """Where the text tells an error more often than the truth, the likeliest step is wrong."""
    world = Chain(slip=0.0)
    likeliest = np.array([world.kernel(o).argmax(1) for o in range(world.operations)])
    assert (likeliest[0] == world.table[0]).all()
    assert 0.2 < (likeliest[-10:] != world.table[-10:]).mean() < 0.8
    assert (np.sort(world.table, 1) == np.arange(world.values)).all()


def test_rare_operations_are_rare_in_the_text_and_common_in_the_target():
    world, rng = Chain(), np.random.default_rng(7)
    last = world.first_operation + world.operations - 1
    share = {
        target: np.mean([last in world.problem(8, rng, target).prompt for _ in range(2000)])
        for target in (False, True)
    }
    assert share[False] < share[True] / 1.5


def test_render_names_every_token(world):
    problem = world.problem(world.difficulties[0], np.random.default_rng(8))
    text = world.render([*problem.prompt, *world.reference(problem)])
    assert text.split()[0] == "Q"
    assert [world.tokens.index(t) for t in text.split()] == [*problem.prompt, *world.reference(problem)]
