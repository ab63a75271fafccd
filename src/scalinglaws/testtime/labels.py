"""What verifiers learn from: sampled solutions with a label at each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..lm.examples import Examples, pad
from .proposer import Proposer
from .world import Problem


@dataclass
class Labelled:
    """Distinct solutions of training problems, and labels per step.

    problem [n]: index; solutions; right [n]: whether the answer is right; exact, rollout: for each
    solution an array over its steps: 1 while the prefix is right, and the share of rollouts
    from the prefix that ended right. rollouts: how many each; ends: where each step ends.
    """

    problems: list[Problem]
    problem: np.ndarray
    solutions: list[tuple[int, ...]]
    right: np.ndarray
    exact: list[np.ndarray]
    rollout: list[np.ndarray]
    rollouts: int
    ends: list[np.ndarray]

    def take(self, solutions: int, flip: float = 0.0, seed: int = 0) -> Labelled:
        """The first so many solutions; with probability `flip` a step's label turns to 1 − label."""
        n = min(solutions, len(self.solutions))
        rng = np.random.default_rng([seed, 11])

        def turned(labels):
            return [np.where(rng.random(len(x)) < flip, 1 - x, x).astype(np.float32) for x in labels[:n]]

        exact, rollout = turned(self.exact), turned(self.rollout)
        right = self.right[:n] ^ (rng.random(n) < flip)
        return Labelled(
            self.problems, self.problem[:n], self.solutions[:n], right, exact, rollout, self.rollouts,
            self.ends[:n],
        )  # fmt: skip

    def examples(self, kind: str) -> Examples:
        """Training examples of a verifier: "rollout" or "exact" step labels, "hard" (rollout > ½), "outcome" (last only)."""
        if kind not in ("rollout", "exact", "hard", "outcome"):
            raise ValueError(f"labels {kind!r} must be rollout, exact, hard or outcome")
        contexts = [self.problems[i].prompt for i in self.problem]
        tokens = pad([[*c, *s] for c, s in zip(contexts, self.solutions, strict=True)])
        weight, label = np.zeros(tokens.shape, np.float32), np.zeros(tokens.shape, np.float32)
        labels = self.exact if kind == "exact" else self.rollout
        for i, (c, s) in enumerate(zip(contexts, self.solutions, strict=True)):
            weight[i, len(c) : len(c) + len(s)] = -1
            if kind == "outcome":
                at, y = [len(c) + len(s) - 1], [float(self.right[i])]
            else:
                at, y = len(c) + self.ends[i], labels[i]
                y = (y > 0.5).astype(np.float32) if kind == "hard" else y
            weight[i, at], label[i, at] = 1, y
        return Examples(tokens, weight, label)


def label(proposer: Proposer, problems: list[Problem], samples: int, rollouts: int) -> Labelled:
    """Sample solutions, then roll out every distinct prefix `rollouts` times (Math-Shepherd; Snell App. D).

    Solutions without an answer are dropped. The last step's label is the outcome itself.
    Solutions come shuffled, so that the first ones are a smaller training set.
    """
    world = proposer.world
    rows = proposer.solve(problems, samples)
    found = {(int(rows.problem[i]), rows.solution(i)) for i in range(len(rows)) if rows.finished[i]}
    order = np.random.default_rng(3).permutation(len(found))
    ordered = sorted(found)
    ordered = [ordered[i] for i in order]
    ends = [np.flatnonzero(world.ends[list(s)]) for _, s in ordered]
    prefixes = sorted({(i, s[: e + 1]) for (i, s), es in zip(ordered, ends, strict=True) for e in es[:-1]})
    share = dict(zip(prefixes, _roll(proposer, problems, prefixes, rollouts), strict=True))
    right = np.array([world.check_answer(problems[i], s) for i, s in ordered])
    exact, rollout = [], []
    for (i, s), es, good in zip(ordered, ends, right, strict=True):
        steps = world.right_steps(problems[i], s)
        exact.append((np.arange(1, len(es) + 1) <= steps).astype(np.float32))
        rollout.append(np.array([*(share[i, s[: e + 1]] for e in es[:-1]), float(good)], np.float32))
    return Labelled(
        problems,
        np.array([i for i, _ in ordered]),
        [s for _, s in ordered],
        right,
        exact,
        rollout,
        rollouts,
        ends,
    )


def _roll(proposer, problems, prefixes, rollouts) -> np.ndarray:
    """Share of rollouts that end right, for each (problem, prefix)."""
    asked = [problems[i] for i, _ in prefixes]
    room = [proposer.world.longest(p) for p in asked]
    contexts, begun = [p.prompt for p in asked], [s for _, s in prefixes]
    rows = proposer.complete(contexts, range(len(asked)), room, rollouts, 1.0, begun)
    answer = np.array([p.answer for p in asked])[rows.problem]
    return (rows.answer == answer).reshape(len(asked), rollouts).mean(1)
