"""What a world is: problems whose every step can be checked, written as tokens.

A prompt is `QUESTION … SOLVE`, a solution a sequence of steps, the last of them `ANSWER x`. A step
ends with a token of `ends`, an answer is the one such token after ANSWER. A world of your own is one
file: subclass `World`, fill in its methods, add it to `WORLDS` of `worlds`.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..lm.examples import PAD

SPECIAL = ("·", "Q", ":", "=", "try")
QUESTION, SOLVE, ANSWER, ATTEMPT = range(PAD + 1, len(SPECIAL))
HELD_OUT = 8
"""One prompt in so many is kept for tests and never trained on."""


@dataclass(frozen=True)
class Problem:
    """A question: its prompt, the one right answer token, how hard it is, and the world's own notes."""

    prompt: tuple[int, ...]
    answer: int
    difficulty: int
    notes: tuple = ()

    @property
    def held_out(self) -> bool:
        """Whether the prompt belongs to the test split: decided by its own bytes, for every seed alike."""
        return zlib.crc32(bytes(self.prompt)) % HELD_OUT == 0


class World(ABC):
    """A family of problems. `tokens`: the vocabulary; `ends` [V]: which tokens end a step."""

    name: str
    tokens: tuple[str, ...]
    ends: np.ndarray
    difficulties: range
    longest_step = 2
    """Tokens after which a step is cut off, whether or not it has ended."""

    @abstractmethod
    def problem(self, difficulty: int, rng: np.random.Generator, target: bool = False) -> Problem:
        """A problem of this difficulty, from the pretraining mix or from the harder `target` mix."""

    @abstractmethod
    def demonstration(self, problem: Problem, rng: np.random.Generator) -> list[int]:
        """A solution as the pretraining text shows it: imperfect, with known probabilities."""

    @abstractmethod
    def reference(self, problem: Problem) -> list[int]:
        """A right solution."""

    @abstractmethod
    def right_steps(self, problem: Problem, solution: Sequence[int]) -> int:
        """How many leading steps are valid and can still lead to the right answer."""

    @abstractmethod
    def value(self, problem: Problem, prefix: Sequence[int]) -> float:
        """Exact probability that the demonstrator, going on from these whole steps, ends right."""

    # -- the same for every world ---------------------------------------------------------

    def check_step(self, problem: Problem, prefix: Sequence[int], step: Sequence[int]) -> bool:
        """Whether `step` is right after the right steps `prefix`."""
        whole = [*prefix, *step]
        return self.right_steps(problem, whole) == len(self.steps(whole)) and len(step) > 0

    def check_answer(self, problem: Problem, solution: Sequence[int]) -> bool:
        """Whether the solution is finished and its answer right, whatever its steps."""
        return self.answer(solution) == problem.answer

    def answer(self, solution: Sequence[int]) -> int:
        """The answer token of a finished solution, −1 for any other."""
        finished = len(solution) > 1 and solution[-2] == ANSWER and self.ends[solution[-1]]
        return int(solution[-1]) if finished else -1

    def steps(self, solution: Sequence[int]) -> list[list[int]]:
        """The solution cut after every step; what follows the last end is left out."""
        found, step = [], []
        for token in solution:
            step.append(int(token))
            if self.ends[token]:
                found.append(step)
                step = []
        return found

    def longest(self, problem: Problem) -> int:
        """Tokens of a full solution: what one generation costs at most."""
        return len(self.reference(problem))

    def render(self, tokens: Sequence[int]) -> str:
        """Tokens as text."""
        return " ".join(self.tokens[t] for t in tokens if t != PAD)

    def sample(self, n: int, rng: np.random.Generator, target: bool = False, held_out: bool = False):
        """n problems, difficulties in equal shares, from the training or the held-out split."""
        found: list[Problem] = []
        while len(found) < n:
            difficulty = self.difficulties[len(found) % len(self.difficulties)]
            problem = self.problem(difficulty, rng, target)
            if problem.held_out == held_out:
                found.append(problem)
        return found


def draw(weights: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn with probability proportional to `weights`."""
    edges = np.cumsum(weights)
    return np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
