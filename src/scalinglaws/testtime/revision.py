"""Revision: a proposer that sees its earlier attempts and writes another.

Training data as in Snell et al. (2024), Section 6.1, first version: parallel samples of the
base model; up to four wrong attempts and then a right one, the last wrong one the nearest to it
in edit distance, the others at random; the loss counts the right one only. Attempts stand
before the prompt, `try a₁ try a₂ … Q … :`, so that the way from prompt to solution stays as it was.
Such a model has never seen a right attempt, and turns many into wrong ones. `keep_right` mixes in
examples whose last attempt is right already and is to be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..lm.examples import Examples, answers
from .proposer import Proposer, Rows
from .world import ATTEMPT, Problem

WINDOW = 4
"""Attempts that are kept in view."""


def context(problem: Problem, attempts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Tokens before the next attempt: the last four attempts and the prompt."""
    seen = [t for a in attempts[-WINDOW:] for t in (ATTEMPT, *a)]
    return (*seen, *problem.prompt)


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Levenshtein distance of two token sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


def examples(
    proposer: Proposer,
    problems: list[Problem],
    samples: int = 64,
    each: int = 4,
    keep_right: float = 0.0,
    seed: int = 0,
) -> Examples:
    """Up to `each` examples a problem from its own samples; problems never solved give none.

    A right target, 0 to 4 wrong attempts before it. With probability `keep_right` the target itself
    is appended as the last attempt.
    """
    rng = np.random.default_rng([seed, 5])
    rows = proposer.solve(problems, samples)
    contexts, targets = [], []
    starts = np.searchsorted(rows.problem, np.arange(len(problems) + 1))
    for i, problem in enumerate(problems):
        here = range(starts[i], starts[i + 1])
        distinct = sorted({rows.solution(r) for r in here if rows.finished[r]})
        right = [s for s in distinct if s[-1] == problem.answer]
        wrong = [s for s in distinct if s[-1] != problem.answer]
        for _ in range(each if right else 0):
            target = right[rng.integers(len(right))]
            count = min(int(rng.integers(WINDOW + 1)), len(wrong))
            attempts = [wrong[j] for j in rng.permutation(len(wrong))[:count]]
            if attempts:
                attempts[-1] = min(wrong, key=lambda s: edit_distance(s, target))
            if rng.random() < keep_right:
                attempts.append(target)
            contexts.append(context(problem, attempts))
            targets.append(target)
    return answers(contexts, targets)


def chains(
    proposer: Proposer,
    problems: Sequence[Problem],
    lengths: Sequence[int],
    temperature=1.0,
) -> list[list[Rows]]:
    """For every problem one chain of each length: attempt t sees the four before it.

    Returns for each chain index the list of its steps, each a Rows over `problems` in order (an
    unfinished attempt counts as one, and is shown as it is).
    """
    history: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    steps: list[list[Rows]] = [[] for _ in lengths]
    for t in range(max(lengths)):
        alive = [c for c, n in enumerate(lengths) if n > t]
        jobs = [(c, i) for c in alive for i in range(len(problems))]
        contexts = {j: context(problems[j[1]], history.get(j, ())) for j in jobs}
        room = [proposer.world.longest(problems[i]) for _, i in jobs]
        rows = proposer.complete([contexts[j] for j in jobs], [i for _, i in jobs], room, 1, temperature)
        for r, j in enumerate(jobs):
            history.setdefault(j, []).append(rows.solution(r))
        for at, c in enumerate(alive):
            steps[c].append(rows.select(np.arange(len(problems)) + at * len(problems)))
    return steps


def ladder(N: int) -> list[int]:
    """Chain lengths so that any P chains of N/P attempts are among their beginnings: N, N/2, N/3, …, 1."""
    return [N // (c + 1) for c in range(N)]
