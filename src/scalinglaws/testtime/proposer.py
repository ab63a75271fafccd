"""Proposers: small transformers that write solutions step by step, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch

from ..lm.decode import Cache, Decoder, draw
from ..lm.examples import Examples, Recipe, Size, answers, fit, next_token_loss, pad
from ..lm.model import Transformer
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
    return fit(
        flat.to(device), model.layout, lambda p, b: next_token_loss(model, p, b), examples, recipe
    ).cpu()


@dataclass
class Rows:
    """Unfinished and finished solutions side by side.

    problem [n]: index of each row's problem; tokens [n, room] and length [n]: the solution so far, without
    its prompt; finished [n]; steps [n] done; spent [n]: tokens generated for the row itself;
    logits [n, V] of the next token.
    """

    problem: np.ndarray
    tokens: np.ndarray
    length: np.ndarray
    finished: np.ndarray
    steps: np.ndarray
    spent: np.ndarray
    cache: Cache | None = None
    logits: torch.Tensor | None = None
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
            self.steps[index], np.zeros(len(index), np.int64),
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
        steps = np.array([int(self.world.ends[list(p)].sum()) for p in prefixes])
        finished = np.array([self.world.answer(p) >= 0 for p in prefixes])
        return Rows(
            np.asarray(problem, np.int64), tokens, length, finished, steps, np.zeros(n, np.int64),
            cache, self.decoder.logits(last),
        )  # fmt: skip

    def advance(self, rows: Rows, temperature: float = 1.0, steps: int | None = 1) -> None:
        """Write `steps` more steps (None: all, after which the rows have no cache) in every unfinished row, in place.

        A row that reaches its room, or a step its longest length, is cut off; a row that is full
        without an answer stays unfinished. Rows that are done leave the batch when they are a quarter of it.
        """
        room = rows.tokens.shape[1]
        at = np.flatnonzero(~rows.finished & (rows.length < room))
        if not len(at):
            return
        whole = len(at) == len(rows)
        cache = rows.cache if whole else rows.cache.select(self._send(at))
        logits = rows.logits if whole else rows.logits[self._send(at)]
        left = np.full(len(at), np.iinfo(int).max if steps is None else steps)
        current, previous = np.zeros(len(at), int), rows.tokens[at, np.maximum(rows.length[at] - 1, 0)]
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
            rows.steps[who] += done[more]
            left, current, previous = left - done, np.where(done, 0, current), token
            stopped = more & ~((left > 0) & ~rows.finished[at] & (rows.length[at] < room))
            more = more & ~stopped
            if steps is None and not more.any():
                break
            logits = self.decoder.logits(self.decoder.feed(cache, chosen[:, None])[:, 0])
            if steps is not None and stopped.any():
                self._keep(rows, at, cache, logits, stopped)
            if not more.any():
                break
            if more.mean() < (0.75 if steps is None else 1.0):
                keep = self._send(np.flatnonzero(more))
                cache, logits = cache.select(keep), logits[keep]
                at, left, current, previous, more = (x[more] for x in (at, left, current, previous, more))
        if steps is None:
            rows.cache = rows.logits = None

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

    def solve(
        self, problems: Sequence[Problem], samples: int, temperature: float = 1.0, rows_at_once: int = 1024
    ):
        """`samples` whole solutions of every problem: Rows without caches, sorted by problem.

        Prompts are fed once each. Problems of one length are sampled together.
        """
        parts = []
        for some in alike([len(p.prompt) for p in problems], max(1, rows_at_once // samples)):
            room = max(self.world.longest(problems[j]) for j in some)
            rows = self.begin([problems[j].prompt for j in some], some, room)
            rows = rows.select(np.repeat(np.arange(len(some)), samples))
            self.advance(rows, temperature, None)
            parts.append(rows)
        return gather(parts)


def alike(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices in batches of at most so many, one length a batch: even rows are decoded faster."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    same = [list(group) for _, group in groupby(order, key=lambda i: lengths[i])]
    return [group[i : i + most] for group in same for i in range(0, len(group), most)]


def gather(parts: Sequence[Rows]) -> Rows:
    """Rows of several batches as one without caches, sorted by problem, order kept within."""
    room = max(p.tokens.shape[1] for p in parts)
    tokens = np.concatenate([np.pad(p.tokens, ((0, 0), (0, room - p.tokens.shape[1]))) for p in parts])
    whole = {
        k: np.concatenate([getattr(p, k) for p in parts])
        for k in ("problem", "length", "finished", "steps", "spent")
    }
    order = np.argsort(whole["problem"], kind="stable")
    return Rows(tokens=tokens[order], **{k: v[order] for k, v in whole.items()})
