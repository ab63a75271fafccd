"""Search against a verifier, step by step: beam search, lookahead, diverse verifier tree search.

One procedure serves all three. N candidates a problem, in groups; each round writes one step in
every candidate, scores it, keeps the best `keep` of each group and continues each of them
N/(groups · keep) times. Beam search (Snell et al. 2024, Section 5.2 and Figure 2) is one group
with keep = N/M; diverse verifier tree search (Beeching et al. 2024) N/M groups with keep = 1.
Lookahead scores a candidate by the verifier's opinion k greedy steps further on.

The search talks to an `Engine`, so that the same code runs on our models and on open ones. What a
method generated and had scored is counted where it happens. No method spends more than N full
solutions of its problem where all steps are equally long; where they are not, a round still writes
at most one step in each of N candidates, for at most MOST_ROUNDS rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .proposer import Proposer, Rows, alike
from .select import choose
from .verifier import Verifier
from .world import Problem

MOST_ROUNDS = 40
ROWS = 1024
"""Candidates alive at once: more do not fit the processor's cache."""


class Engine(Protocol):
    """A proposer and a verifier that face a list of problems."""

    def begin(self, problems: Sequence[int], prefixes: Sequence | None = None) -> Rows:
        """One row per entry: the problem's prompt, and a solution begun before."""

    def advance(self, rows: Rows, temperature: float, steps: int) -> None:
        """Write so many steps in every unfinished row, in place."""

    def complete(self, problems: Sequence[int], samples: int, temperature: float, prefixes=None) -> Rows:
        """`samples` whole solutions of each entry, side by side, with `spent` [n] tokens written; they cannot be advanced."""

    def score(self, rows: Rows) -> np.ndarray:
        """log P [n] of each row as it stands."""

    def longest(self, problem: int) -> int:
        """Tokens that one generation may cost."""

    @property
    def longest_step(self) -> int:
        """Tokens that one step may cost."""


class Models:
    """The engine of our own models. Without a verifier every score is 0, which makes votes plain."""

    def __init__(self, proposer: Proposer, verifier: Verifier | None, problems: Sequence[Problem]):
        self.proposer, self.verifier, self.problems = proposer, verifier, problems
        self.contexts = [p.prompt for p in problems]

    def begin(self, problems, prefixes=None) -> Rows:
        room = max(self.longest(i) for i in problems)
        return self.proposer.begin([self.contexts[i] for i in problems], problems, room, prefixes)

    def advance(self, rows, temperature, steps) -> None:
        self.proposer.advance(rows, temperature, steps)

    def complete(self, problems, samples, temperature, prefixes=None) -> Rows:
        contexts, room = [self.contexts[i] for i in problems], [self.longest(i) for i in problems]
        return self.proposer.complete(contexts, problems, room, samples, temperature, prefixes)

    def score(self, rows) -> np.ndarray:
        return np.zeros(len(rows)) if self.verifier is None else self.verifier.score(rows, self.contexts)

    def longest(self, problem) -> int:
        return self.proposer.world.longest(self.problems[problem])

    @property
    def longest_step(self) -> int:
        return self.proposer.world.longest_step


@dataclass
class Found:
    """What a search brought back for one problem.

    solutions, answers, scores (log P), groups: its finished candidates, and which independent part of
    the search each comes from. generated: tokens written; scored: tokens that the verifier read.
    """

    solutions: list = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    generated: int = 0
    scored: int = 0

    @property
    def unique(self) -> int:
        """Distinct finished solutions."""
        return len(set(self.solutions))

    def choose(self, rule: str = "weighted", copies: bool = False) -> dict[int, float]:
        """The chosen answers with their shares. Copies within a group vote once, independent finds each;
        with `copies` every finished candidate votes, as in the paper."""
        votes = {(g, s): i for i, (g, s) in enumerate(zip(self.groups, self.solutions, strict=True))}
        index = range(len(self.answers)) if copies else sorted(votes.values())
        return choose(
            np.array([self.answers[i] for i in index], int), np.array([self.scores[i] for i in index]), rule
        )


def in_batches(method: Callable[..., list[Found]], engine: Engine, problems: Sequence[int], N: int, **how):
    """`method` on so many problems at a time that about ROWS candidates are alive; results in the order of `problems`."""
    out: list[Found | None] = [None] * len(problems)
    for some in alike([engine.longest(i) for i in problems], max(1, ROWS // N)):
        for j, found in zip(some, method(engine, [problems[j] for j in some], N, **how), strict=True):
            out[j] = found
    return out


def best_of(engine: Engine, problems: Sequence[int], N: int, temperature: float = 1.0) -> list[Found]:
    """N whole solutions a problem, in parallel."""
    rows = engine.complete(problems, N, temperature)
    found = {i: Found() for i in problems}
    _spend(found, rows, rows.spent)
    _collect(found, rows, engine.score(rows), np.arange(len(rows)) % N)
    return list(found.values())


def beam(engine, problems, N: int, M: int = 4, temperature: float = 1.0, lookahead: int = 0, distinct=False):
    """Beam search of width N/M over N candidates; with lookahead the candidates are N/(k + 1), at equal cost.

    An N that cannot be shared out evenly is rounded down.
    """
    lookahead = min(lookahead, N - 1)  # with one sample there is nothing to choose
    N = N // (lookahead + 1)
    keep = max(1, N // M)
    return stepwise(engine, problems, N // keep * keep, 1, keep, temperature, lookahead, distinct)


def diverse(engine, problems, N: int, M: int = 4, temperature: float = 1.0) -> list[Found]:
    """Diverse verifier tree search: N/M independent trees that each follow their best of M steps."""
    trees = max(1, N // M)
    return stepwise(engine, problems, N // trees * trees, trees, 1, temperature)


def stepwise(
    engine: Engine,
    problems: Sequence[int],
    N: int,
    groups: int,
    keep: int,
    temperature: float = 1.0,
    lookahead: int = 0,
    distinct: bool = False,
) -> list[Found]:
    """The procedure above, over all problems at once; one `Found` a problem.

    A finished candidate that is kept holds its place at no cost and is not continued. `distinct`
    drops copies of a prefix before choosing; where fewer than `keep` remain, each is continued the more
    often. Raises ValueError unless groups · keep divides N.
    """
    if N % (groups * keep):
        raise ValueError(f"{N} candidates cannot be shared by {groups} groups of {keep} kept")
    width = N // (groups * keep)
    rows = engine.begin(problems).select(np.repeat(np.arange(len(problems)), N))
    group = np.tile(np.repeat(np.arange(groups), N // groups), len(problems))
    found = {i: Found() for i in problems}
    for _ in range(MOST_ROUNDS):
        before = rows.length.copy()
        engine.advance(rows, temperature, 1)
        _spend(found, rows, rows.length - before)
        score = engine.score(rows)
        stuck = rows.length == before
        if (rows.finished | stuck).all():
            break
        guide = _ahead(engine, rows, lookahead, found) if lookahead else score
        index, group = _survivors(rows, group, guide, keep, width, distinct)
        rows = rows.select(index)
    _collect(found, rows, score, group)
    return list(found.values())


def _survivors(rows, group, score, keep, width, distinct):
    """Indices of the next round's candidates, and their groups: the best `keep` of each group, `width` times each."""
    order = np.lexsort((-score, group, rows.problem))
    best, seen = [], set()
    taken: dict[tuple, int] = {}
    for i in order:
        place = (rows.problem[i], group[i])
        if distinct:
            copy = (*place, rows.solution(i))
            if copy in seen:
                continue
            seen.add(copy)
        if taken.get(place, 0) >= keep:
            continue
        taken[place] = taken.get(place, 0) + 1
        best.append(i)
    chosen = []
    for i in best:
        copies = width if not distinct else keep * width // taken[rows.problem[i], group[i]]
        chosen += [i] * (1 if rows.finished[i] else copies)
    return np.array(chosen), group[chosen]


def _ahead(engine, rows, steps, found) -> np.ndarray:
    """The verifier's score `steps` greedy steps further on."""
    there = rows.select(np.arange(len(rows)))
    before = there.length.copy()
    engine.advance(there, 0.0, steps)
    _spend(found, there, there.length - before)
    return engine.score(there)


def _spend(found: dict[int, Found], rows, tokens: np.ndarray) -> None:
    """Count tokens written; each is read by the verifier once."""
    for i, n in zip(rows.problem.tolist(), tokens.tolist(), strict=True):
        found[i].generated += n
        found[i].scored += n


def _collect(found: dict[int, Found], rows, score, group) -> None:
    for row in np.flatnonzero(rows.finished):
        one = found[int(rows.problem[row])]
        one.solutions.append(rows.solution(row))
        one.answers.append(int(rows.answer[row]))
        one.scores.append(float(score[row]))
        one.groups.append(int(group[row]))
