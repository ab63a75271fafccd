"""Monte-Carlo tree search with PUCT, the verifier in place of a rollout (Silver et al. 2017).

A simulation walks down from the prompt, at each node to the child with the largest

    Q(child) + c · p(child) · √(visits of the node) / (1 + visits of the child),

p being the share of the steps sampled at the node that are this step. It stops at a node that has no
child left to follow, or whose √visits exceeds its expansions (progressive widening), samples
`width` steps there, scores them, and adds their mean value to Q on the way back. Steps that finish
a solution are collected. The search ends when the next expansion could exceed N full solutions in
tokens, so that it costs no more than best-of-N; as long as nothing is finished, enough is kept
back to finish the most promising prefix. A prefix is read again when the search comes back to
it: a server would keep it, and it is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .search import Engine, Found

EXPLORATION = 1.0


@dataclass
class Node:
    """A prefix: how often it was sampled, the sum of values, visits, expansions, children by solution."""

    solution: tuple
    sampled: int = 1
    total: float = 0.0
    visits: int = 0
    ended: bool = False
    expansions: int = 0
    children: dict[tuple, Node] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Q, the mean value of the visits."""
        return self.total / self.visits if self.visits else 0.0


def mcts(
    engine: Engine,
    problems: Sequence[int],
    N: int,
    width: int = 4,
    temperature: float = 1.0,
    exploration: float = EXPLORATION,
) -> list[Found]:
    """Search every problem's tree, one simulation of all at a time; one `Found` a problem."""
    roots = {i: Node(()) for i in problems}
    found = {i: Found() for i in problems}
    width = min(width, N)
    while True:
        paths = {}
        for i in problems:
            kept_back = 0 if found[i].solutions else engine.longest(i)
            reserve = width * engine.longest_step + kept_back
            if found[i].generated + reserve <= N * engine.longest(i):
                paths[i] = walk(roots[i], exploration)
        if not paths:
            break
        expand(engine, paths, found, width, temperature)
    if unfinished := [i for i in problems if not found[i].solutions]:
        finish(engine, {i: promising(roots[i]) for i in unfinished}, found, temperature)
    return list(found.values())


def walk(root: Node, exploration: float) -> list[Node]:
    """The path from the root to the node that is to be expanded."""
    path = [root]
    while True:
        node = path[-1]
        following = [c for c in node.children.values() if not c.ended]
        if not following or node.expansions < np.sqrt(node.visits):
            return path
        scale = exploration * np.sqrt(node.visits) / sum(c.sampled for c in node.children.values())
        path.append(max(following, key=lambda c: c.value + scale * c.sampled / (1 + c.visits)))


def promising(root: Node) -> Node:
    """The prefix at the end of the most visited way, the better value where visits are equal."""
    node = root
    while following := [c for c in node.children.values() if not c.ended]:
        node = max(following, key=lambda c: (c.visits, c.value))
    return node


def expand(engine: Engine, paths: dict[int, list[Node]], found, width: int, temperature: float) -> None:
    """Write and score `width` steps at the end of each path, and carry their mean value back."""
    asked = list(paths)
    rows = engine.begin(asked, [paths[i][-1].solution for i in asked])
    rows = rows.select(np.repeat(np.arange(len(asked)), width))
    before = rows.length.copy()
    engine.advance(rows, temperature, 1)
    score = engine.score(rows)
    _count(found, rows, before)
    for k, i in enumerate(asked):
        here, node = range(k * width, (k + 1) * width), paths[i][-1]
        node.ended = not any(rows.length[r] > before[r] for r in here)  # no room left
        for r in here if not node.ended else ():
            solution = rows.solution(r)
            child = node.children.get(solution)
            if child is not None:
                child.sampled += 1
                continue
            node.children[solution] = Node(solution, 1, float(np.exp(score[r])), 1, bool(rows.finished[r]))
            if rows.finished[r]:
                _keep(found[i], rows, r, score[r])
        node.expansions += 1
        mean = float(np.exp(score[list(here)]).mean())
        for each in paths[i]:
            each.total += mean
            each.visits += 1


def finish(engine: Engine, nodes: dict[int, Node], found, temperature: float) -> None:
    """Write the rest of each prefix in one go."""
    prefixes = [n.solution for n in nodes.values()]
    rows = engine.complete(list(nodes), 1, temperature, prefixes)
    score = engine.score(rows)
    _count(found, rows, rows.length - rows.spent)
    for r in np.flatnonzero(rows.finished).tolist():
        _keep(found[int(rows.problem[r])], rows, r, score[r])


def _count(found, rows, before) -> None:
    for i, n in zip(rows.problem.tolist(), (rows.length - before).tolist(), strict=True):
        found[i].generated += n
        found[i].scored += n


def _keep(one: Found, rows, r: int, score: float) -> None:
    one.solutions.append(rows.solution(r))
    one.answers.append(int(rows.answer[r]))
    one.scores.append(float(score))
    one.groups.append(0)
