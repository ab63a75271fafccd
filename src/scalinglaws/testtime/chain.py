"""Chain arithmetic: a value passed through a chain of operations, some rarely seen, some disputed.

Prompt `Q x₀ o₁ … o_k :`, steps `o_j x_j`, end `= x_k`, with x_j = f_{o_j}(x_{j−1}). Every f_o is a
permutation of the values, drawn once for the world, so that an error rarely heals. What a
model can learn of it is limited in three ways, each with its own knob:

- `zipf`: the text shows operation o with frequency o^{−zipf}; the last ones are hardly ever seen.
- `disputed`: among the facts f_o(x) of the rarest operation this share is told in two ways, falling to none
  for the most frequent one. The right way has a probability between .1 and .7 and the other is
  always the same error, so that greedy decoding fails as well: knowledge, not noise, is missing.
- `slip`: any step slips to a neighbouring value with this probability: noise, which greedy decoding removes.

What went wrong is carried on. The demonstrator's distribution is known, so values are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .world import ANSWER, QUESTION, SOLVE, SPECIAL, Problem, World, draw


class Chain(World):
    """values: size of the ring; operations: how many; zipf, target_zipf: exponents of the two mixes."""

    def __init__(
        self,
        values=23,
        operations=40,
        zipf=1.0,
        target_zipf=0.7,
        disputed=0.8,
        slip=0.03,
        longest=8,
        seed=2024,
    ):
        self.name = "chain"
        self.values, self.operations, self.slip = values, operations, slip
        self.zipf, self.target_zipf = zipf, target_zipf
        self.difficulties = range(1, longest + 1)
        self.first_value, self.first_operation = len(SPECIAL), len(SPECIAL) + values
        self.tokens = (
            *SPECIAL,
            *(str(v) for v in range(values)),
            *(f"f{o + 1}" for o in range(operations)),
        )
        self.ends = np.zeros(len(self.tokens), bool)
        self.ends[self.first_value : self.first_operation] = True
        rng = np.random.default_rng(seed)
        self.table = np.array([rng.permutation(values) for _ in range(operations)])
        share = disputed * np.arange(operations) / max(1, operations - 1)
        in_dispute = rng.random((operations, values)) < share[:, None]
        self.reliability = np.where(in_dispute, rng.uniform(0.1, 0.7, in_dispute.shape), 1.0)
        self.error = (self.table + rng.integers(1, values, in_dispute.shape)) % values

    @cached_property
    def _mixes(self) -> dict[bool, np.ndarray]:
        rank = np.arange(1, self.operations + 1, dtype=float)
        return {False: rank**-self.zipf, True: rank**-self.target_zipf}

    def problem(self, difficulty, rng, target=False) -> Problem:
        chosen = draw(self._mixes[target], difficulty, rng).tolist()
        x = [int(rng.integers(self.values))]
        for o in chosen:
            x.append(int(self.table[o, x[-1]]))
        prompt = (QUESTION, self.first_value + x[0], *(self.first_operation + o for o in chosen), SOLVE)
        return Problem(prompt, self.first_value + x[-1], difficulty, (tuple(chosen), tuple(x)))

    def demonstration(self, problem, rng) -> list[int]:
        chosen, x = problem.notes
        luck, slips = rng.random(len(chosen)), rng.random(len(chosen))
        at, out = x[0], []
        for j, o in enumerate(chosen):
            told = self.table[o, at] if luck[j] < self.reliability[o, at] else self.error[o, at]
            slip = 0 if slips[j] >= self.slip else (1 if slips[j] < self.slip / 2 else -1)
            at = int(told + slip) % self.values
            out += [self.first_operation + o, self.first_value + at]
        return [*out, ANSWER, self.first_value + at]

    def reference(self, problem) -> list[int]:
        chosen, x = problem.notes
        pairs = zip(chosen, x[1:], strict=True)
        steps = [t for o, v in pairs for t in (self.first_operation + o, self.first_value + v)]
        return [*steps, ANSWER, problem.answer]

    def longest(self, problem) -> int:
        return 2 * len(problem.notes[0]) + 2

    def right_steps(self, problem, solution) -> int:
        right = 0
        for ours, theirs in zip(self.steps(solution), self.steps(self.reference(problem)), strict=False):
            if ours != theirs:
                break
            right += 1
        return right

    def kernel(self, operation: int) -> np.ndarray:
        """P(next value | value) [values, values] of the demonstrator at one operation."""
        every, r = np.arange(self.values), self.reliability[operation]
        told = np.zeros((self.values, self.values))
        told[every, self.table[operation]] += r
        told[every, self.error[operation]] += 1 - r
        p = (1 - self.slip) * told
        for s in (-1, 1):
            p += self.slip / 2 * np.roll(told, s, axis=1)
        return p

    def value(self, problem, prefix: Sequence[int]) -> float:
        """A product of kernels: the demonstrator's state is its last value. 0 after a malformed step."""
        chosen, x = problem.notes
        steps, at = self.steps(prefix), x[0]
        for j, step in enumerate(steps):
            if j == len(chosen):
                return float(step == [ANSWER, problem.answer] and len(steps) == j + 1)
            if len(step) != 2 or step[0] != self.first_operation + chosen[j]:
                return 0.0
            at = step[1] - self.first_value
        state = np.eye(self.values)[at]
        for o in chosen[len(steps) :]:
            state = state @ self.kernel(o)
        return float(state[problem.answer - self.first_value])
