"""Shortest paths in layered graphs: all the facts are in the prompt, the difficulty is to look ahead.

`width` nodes a layer, every edge between neighbouring layers has a length of 1 to `longest_edge`.
The prompt lists the lengths layer by layer; a step names the next node and the distance so far;
the answer is the least distance from the start to any node of the last layer. A right prefix
is one that lies on some shortest path. The demonstrator takes the best edge with probability
1 − slip and any other edge else, adds correctly, and answers with the distance it found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .world import ANSWER, QUESTION, SOLVE, SPECIAL, Problem, World


class ShortestPath(World):
    """width: nodes a layer; longest_edge: greatest length; difficulty is the number of edges of a path."""

    def __init__(self, width=3, longest_edge=4, slip=0.1, most_edges=5):
        self.name = "shortest_path"
        self.width, self.longest_edge, self.slip = width, longest_edge, slip
        self.difficulties = range(2, most_edges + 1)
        self.first_node = len(SPECIAL)
        self.first_length = self.first_node + width
        self.first_sum = self.first_length + longest_edge + 1
        self.tokens = (
            *SPECIAL,
            *"abcdefgh"[:width],
            *(f"+{v}" for v in range(longest_edge + 1)),
            *(str(v) for v in range(longest_edge * most_edges + 1)),
        )
        self.ends = np.zeros(len(self.tokens), bool)
        self.ends[self.first_sum :] = True

    def problem(self, difficulty, rng, target=False) -> Problem:
        """The start is the first node of layer 0. The target mix has lengths that tempt: mostly short ones."""
        first = (
            rng.integers(1, self.longest_edge + 1, self.width)
            if not target
            else rng.integers(1, 4, self.width)
        )
        rest = rng.integers(1, self.longest_edge + 1, (difficulty - 1, self.width, self.width))
        layers = (tuple(map(int, first)), *(tuple(map(int, layer.ravel())) for layer in rest))
        prompt = [QUESTION]
        for layer in layers:
            prompt += [self.first_length + v for v in layer]
        best = int(self._remaining(layers)[0][0])
        return Problem((*prompt, SOLVE), self.first_sum + best, difficulty, layers)

    def _edges(self, layers, j: int, node: int) -> np.ndarray:
        """Lengths of the edges that leave `node` of layer j."""
        if j == 0:
            return np.array(layers[0])
        return np.array(layers[j][node * self.width : (node + 1) * self.width])

    def _remaining(self, layers) -> list[np.ndarray]:
        """Least distance to the end from every node of every layer, by dynamic programming backwards."""
        best = [np.zeros(self.width, int)]
        for j in range(len(layers) - 1, 0, -1):
            best.insert(0, (np.array(layers[j]).reshape(self.width, -1) + best[0]).min(1))
        return [np.full(self.width, (np.array(layers[0]) + best[0]).min()), *best]

    def _walk(self, problem, choose) -> list[int]:
        layers, out, node, total = problem.notes, [], 0, 0
        ahead = self._remaining(layers)
        for j in range(len(layers)):
            lengths = self._edges(layers, j, node)
            node = choose(lengths + ahead[j + 1])
            total += int(lengths[node])
            out += [self.first_node + node, self.first_sum + total]
        return [*out, ANSWER, self.first_sum + total]

    def demonstration(self, problem, rng) -> list[int]:
        def choose(cost):
            best = int(np.argmin(cost))
            if rng.random() < self.slip:
                return int((best + rng.integers(1, self.width)) % self.width)
            return best

        return self._walk(problem, choose)

    def reference(self, problem) -> list[int]:
        return self._walk(problem, lambda cost: int(np.argmin(cost)))

    def _state(self, problem, steps):
        """(node, distance) after well-formed steps of correct sums; None after any other."""
        layers, node, total = problem.notes, 0, 0
        for j, step in enumerate(steps):
            if j >= len(layers) or len(step) != 2 or not 0 <= step[0] - self.first_node < self.width:
                return None
            lengths, node = self._edges(layers, j, node), step[0] - self.first_node
            total += int(lengths[node])
            if step[1] != self.first_sum + total:
                return None
        return node, total

    def right_steps(self, problem, solution) -> int:
        steps, layers = self.steps(solution), problem.notes
        ahead, least = self._remaining(layers), problem.answer - self.first_sum
        right = 0
        for j in range(1, len(steps) + 1):
            if j == len(layers) + 1:
                return right + (steps[j - 1] == [ANSWER, problem.answer])
            state = self._state(problem, steps[:j])
            if state is None or state[1] + ahead[j][state[0]] != least:
                break
            right += 1
        return right

    def value(self, problem, prefix: Sequence[int]) -> float:
        """Backwards over nodes and distances; 0 after a malformed step or a wrong sum."""
        layers, steps = problem.notes, self.steps(prefix)
        least, ahead = problem.answer - self.first_sum, self._remaining(layers)
        if len(steps) == len(layers) + 1:
            sound = self._state(problem, steps[:-1]) is not None
            return float(sound and steps[-1] == [ANSWER, problem.answer])
        state = self._state(problem, steps)
        if state is None:
            return 0.0
        reached = {state: 1.0}
        for j in range(len(steps), len(layers)):
            following: dict[tuple[int, int], float] = {}
            for (node, total), p in reached.items():
                lengths = self._edges(layers, j, node)
                best = int(np.argmin(lengths + ahead[j + 1]))
                for to in range(self.width):
                    share = 1 - self.slip if to == best else self.slip / (self.width - 1)
                    key = (to, total + int(lengths[to]))
                    following[key] = following.get(key, 0.0) + p * share
            reached = following
        return sum(p for (_, total), p in reached.items() if total == least)
