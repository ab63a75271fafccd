"""Proposers: small transformers that write solutions step by step, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch

from ..lm.decode import Decoder, draw
from ..lm.examples import Examples, Recipe, Size, answers, fit, next_token_loss, pad
from ..lm.model import Transformer
from ..lm.sampling import sample
from .world import ANSWER, PAD, Problem, World


def demonstrations(world: World, n: int, rng: np.random.Generator, answer_only: bool = False) -> Examples:
    """n examples of the pretraining mix; `answer_only` leaves the steps out."""
    problems = world.sample(n, rng)
    targets = [world.demonstration(p, rng) for p in problems]
    if answer_only:
        targets = [t[-2:] for t in targets]
    return answers([p.prompt for p in problems], targets)


def train(
    world: World,
    size: Size,
    recipe: Recipe,
    answer_only=False,
    examples=None,
    start=None,
    device: str = "cpu",
) -> torch.Tensor:
    """Parameters [P] of a proposer trained on fresh demonstrations, `recipe.steps · recipe.batch` of them.

    `examples` and `start` (parameters) continue a model on other examples. The result is on the CPU.
    """
    model = size.transformer(len(world.tokens), device)
    model.dropout = recipe.dropout
    if examples is None:
        rng = np.random.default_rng([recipe.seed, 1])
        examples = demonstrations(world, recipe.steps * recipe.batch, rng, answer_only)
    flat = model.initial(recipe.seed) if start is None else start
    return fit(flat.to(device), model.layout, partial(next_token_loss, model), examples, recipe).cpu()


@dataclass
class Rows:
    """Unfinished and finished solutions side by side.

    problem [n]: index of each row's problem; tokens [n, room] and length [n]: the solution so far, without
    its prompt; finished [n]; spent [n]: tokens generated for the row itself; logits [n, V] of the next token.
    """

    problem: np.ndarray
    tokens: np.ndarray
    length: np.ndarray
    finished: np.ndarray
    spent: np.ndarray
    cache: Any = None
    logits: Any = None
    extra: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.problem)

    def select(self, index) -> Rows:
        """These rows in this order, copies where one is named twice; `spent` counts from zero again."""
        index = np.asarray(index, np.int64)
        chosen = torch.from_numpy(index)
        if self.cache is not None:
            chosen = chosen.to(self.cache.used.device)
        return Rows(
            self.problem[index], self.tokens[index], self.length[index], self.finished[index],
            np.zeros(len(index), np.int64),
            None if self.cache is None else self.cache.select(chosen),
            None if self.logits is None else self.logits[chosen],
            {k: v.select(chosen) for k, v in self.extra.items()},
        )  # fmt: skip

    def solution(self, row: int) -> tuple[int, ...]:
        """The row's tokens."""
        return tuple(self.tokens[row, : self.length[row]].tolist())

    @property
    def answer(self) -> np.ndarray:
        """The answer token of each row, −1 where it is not finished."""
        last = np.take_along_axis(self.tokens, np.maximum(self.length - 1, 0)[:, None], 1)[:, 0]
        return np.where(self.finished, last.astype(int), -1)


class Proposer:
    """A trained model that writes solutions, on the device of its parameters `flat` [P]; `seed` starts its draws."""

    def __init__(
        self, world: World, model: Transformer, flat: torch.Tensor, seed: int = 0, dtype=torch.float32
    ):
        self.world, self.model, self.decoder = world, model, Decoder(model, flat, dtype)
        self.device = flat.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.ends = torch.from_numpy(np.asarray(world.ends, bool)).to(self.device)

    def _send(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def begin(
        self, contexts: Sequence[Sequence[int]], problem: Sequence[int], room: int, prefixes=None
    ) -> Rows:
        """One row per context, fed and ready to continue; `prefixes` are solutions begun before."""
        n = len(contexts)
        prefixes = prefixes or [()] * n
        fed = pad([[*c, *p] for c, p in zip(contexts, prefixes, strict=True)], np.int64)
        lengths = self._send(np.array([len(c) + len(p) for c, p in zip(contexts, prefixes, strict=True)]))
        cache = self.decoder.cache(n, max(map(len, contexts)) + room)
        hidden = self.decoder.feed(cache, self._send(fed), lengths)
        last = hidden[torch.arange(n, device=self.device), lengths - 1]
        tokens = np.full((n, room), PAD, np.uint8)
        length = np.array([len(p) for p in prefixes])
        for row, p in zip(tokens, prefixes, strict=True):
            row[: len(p)] = p
        finished = np.array([self.world.answer(p) >= 0 for p in prefixes])
        return Rows(
            np.asarray(problem, np.int64), tokens, length, finished, np.zeros(n, np.int64),
            cache, self.decoder.logits(last),
        )  # fmt: skip

    def advance(self, rows: Rows, temperature: float = 1.0, steps: int = 1) -> None:
        """Write `steps` more steps in every unfinished row, in place.

        A row that reaches its room, or a step its longest length, is cut off; a row that is full
        without an answer stays unfinished.
        """
        room = rows.tokens.shape[1]
        at = np.flatnonzero(~rows.finished & (rows.length < room))
        if not len(at):
            return
        whole = len(at) == len(rows)
        cache = rows.cache if whole else rows.cache.select(self._send(at))
        logits = rows.logits if whole else rows.logits[self._send(at)]
        left, current = np.full(len(at), steps), np.zeros(len(at), int)
        previous = rows.tokens[at, np.maximum(rows.length[at] - 1, 0)]
        previous = np.where(rows.length[at] > 0, previous, PAD)
        more = np.ones(len(at), bool)
        while True:
            chosen = draw(logits, temperature, self.generator)
            token, who = chosen.cpu().numpy(), at[more]
            rows.tokens[who, rows.length[who]] = token[more]
            rows.length[who] += 1
            rows.spent[who] += 1
            current += 1
            done = self.world.ends[token] | (current >= self.world.longest_step)
            rows.finished[who] = ((previous == ANSWER) & self.world.ends[token])[more]
            left, current, previous = left - done, np.where(done, 0, current), token
            stopped = more & ~((left > 0) & ~rows.finished[at] & (rows.length[at] < room))
            more = more & ~stopped
            logits = self.decoder.logits(self.decoder.feed(cache, chosen[:, None])[:, 0])
            if stopped.any():
                self._keep(rows, at, cache, logits, stopped)
            if not more.any():
                return
            if not more.all():
                keep = self._send(np.flatnonzero(more))
                cache, logits = cache.select(keep), logits[keep]
                at, left, current, previous, more = (x[more] for x in (at, left, current, previous, more))

    def _keep(self, rows, at, cache, logits, stop) -> None:
        """Bring the state of rows that stop here back to where `rows` keeps it."""
        if cache is rows.cache:
            rows.logits[self._send(at[stop])] = logits[self._send(stop)]
            return
        where, which = self._send(at[stop]), self._send(np.flatnonzero(stop))
        top = int(cache.used.max())
        for ours, theirs in ((rows.cache.keys, cache.keys), (rows.cache.values, cache.values)):
            ours[:, where, :, :top] = theirs[:, which, :, :top]
        rows.cache.used[where] = cache.used[which]
        rows.logits[where] = logits[which]

    def complete(
        self,
        contexts: Sequence[Sequence[int]],
        problem: Sequence[int],
        room: Sequence[int],
        samples: int = 1,
        temperature: float = 1.0,
        prefixes=None,
    ) -> Rows:
        """`samples` whole solutions of every context, side by side: Rows without caches.

        room: how many tokens each solution may have, its prefix (a solution begun before) counted; one that fills
        it without an answer stays unfinished.
        """
        prefixes = [tuple(p) for p in prefixes] if prefixes is not None else [()] * len(contexts)
        begun = np.array([len(p) for p in prefixes], np.int64)
        done = np.array([self.world.answer(p) >= 0 for p in prefixes], bool)
        left = np.where(done, 0, np.asarray(room, np.int64) - begun)
        fed = [[*c, *p] for c, p in zip(contexts, prefixes, strict=True)]
        written, new, _ = sample(self.decoder, fed, samples, left, self._stop, temperature, self.generator)
        index = np.repeat(np.arange(len(contexts)), samples)
        length = begun[index] + new.ravel()
        tokens = np.full((len(index), int(length.max(initial=1))), PAD, np.uint8)
        for row, i, own in zip(tokens, index, written.reshape(len(index), written.shape[-1]), strict=True):
            row[: begun[i]] = prefixes[i]
            row[begun[i] : begun[i] + len(own)] = own[: len(row) - begun[i]]
        rows = Rows(
            np.asarray(problem, np.int64)[index], tokens, length, np.zeros(len(index), bool), new.ravel()
        )
        rows.finished = np.array([self.world.answer(rows.solution(i)) >= 0 for i in range(len(rows))], bool)
        return rows

    def _stop(self, before: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        """An answer ends the solution."""
        return (before == ANSWER) & self.ends[token]

    def solve(self, problems: Sequence[Problem], samples: int, temperature: float = 1.0) -> Rows:
        """`samples` whole solutions of every problem, sorted by problem."""
        room = [self.world.longest(p) for p in problems]
        return self.complete([p.prompt for p in problems], range(len(problems)), room, samples, temperature)


def alike(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices in batches of at most so many, one length a batch: even rows are decoded faster."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    same = [list(group) for _, group in groupby(order, key=lambda i: lengths[i])]
    return [group[i : i + most] for group in same for i in range(0, len(group), most)]
