"""Verifiers: what a solution so far is worth, as a probability.

A process verifier (PRM) learns a label at every step, an outcome verifier (ORM) at the last one; both
start from the proposer's weights and minimise binary cross-entropy against labels in [0, 1]. Two heads:

- "plain": P_t = σ(w·h_t + b), one linear map of the last hidden state, as in the paper.
- "factored": P_t = Π_{i ≤ t} σ(q_i) · σ(w·h_t + b), where q_i = (W h_{i−1} + c)[token_i] is read one
  position before the token it judges: the model has its own opinion of the next token ready there,
  and need not compare two positions first. That a solution is as sound as all of its parts is
  built in. This departs from the paper; the plain head is the ablation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..lm.decode import Cache, Decoder
from ..lm.examples import Examples, Recipe, Size, fit, pad
from ..lm.model import Layout
from .proposer import Rows
from .world import World

HEADS = ("plain", "factored")


class Verifier:
    """A trained verifier: transformer and head in one flat buffer, on its device. Raises ValueError for an unknown head."""

    def __init__(self, world: World, size: Size, head: str, flat: torch.Tensor | None = None):
        if head not in HEADS:
            raise ValueError(f"head {head!r} must be one of {', '.join(HEADS)}")
        self.world, self.size, self.head = world, size, head
        V, d = len(world.tokens), size.d_model
        self.device = "cpu" if flat is None else flat.device
        self.model = size.transformer(V, self.device)
        shapes = dict(self.model.layout.shapes) | {"value": (d, 1), "value.bias": (1,)}
        if head == "factored":
            shapes |= {"token": (d, V), "token.bias": (V,)}
        self.layout = Layout(shapes)
        self.flat: Any = flat
        if flat is not None:
            self._ready()

    def _ready(self) -> None:
        self.decoder = Decoder(self.model, self.flat[: self.model.layout.size])
        self.p = {k: v[0] for k, v in self.layout.views(self.flat[None]).items()}

    def _send(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def start(self, proposer: torch.Tensor) -> torch.Tensor:
        """Parameters [P] before training: the proposer's, and a head that trusts every token."""
        head = torch.zeros(self.layout.size - self.model.layout.size, device=proposer.device)
        flat = torch.cat([proposer, head])
        if self.head == "factored":
            self.layout.views(flat[None])["token.bias"][:] = 3.0
        return flat

    def log_probability(self, p: dict, hidden: torch.Tensor, tokens: torch.Tensor, judged: torch.Tensor):
        """log P [n, T] at every position, from hidden [n, T, d] and tokens [n, T].

        judged [n, T]: whether a token belongs to the solution that is judged.
        """
        value = F.logsigmoid((hidden @ p["value"]).float()[..., 0] + p["value.bias"].float())
        if self.head == "plain":
            return value
        opinion = F.logsigmoid((hidden[:, :-1] @ p["token"]).float() + p["token.bias"].float())
        each = opinion.gather(-1, tokens[:, 1:, None])[..., 0] * judged[:, 1:]
        return value + F.pad(each, (1, 0)).cumsum(1)

    def train(self, proposer: torch.Tensor, examples: Examples, recipe: Recipe) -> Verifier:
        """Minimise Σ weight·BCE(label, P) over positions; returns itself, trained.

        `weight` of the examples is 1 where a label stands, and −1 at other tokens of the solution.
        """
        self.device = proposer.device
        self.model = self.size.transformer(len(self.world.tokens), self.device)
        self.model.dropout = recipe.dropout

        def loss(p: dict, tokens: torch.Tensor, weight: torch.Tensor, label: torch.Tensor):
            one = {k: v[0] for k, v in p.items()}
            hidden = self.model.hidden(p, tokens[None], training=True)[0].view(*tokens.shape, -1)
            log_p = self.log_probability(one, hidden, tokens, weight != 0)
            both = label * log_p + (1 - label) * log_complement(log_p)
            counted = weight.clamp(min=0)
            return -(both * counted).sum(), counted.sum()

        self.flat = fit(self.start(proposer), self.layout, loss, examples, recipe)
        self.model.dropout = 0.0
        self._ready()
        return self

    @torch.no_grad()
    def judge(
        self, contexts: Sequence[Sequence[int]], solutions: Sequence[Sequence[int]], at_once: int = 1024
    ) -> np.ndarray:
        """log P after every token [n, longest solution], −inf at padding."""
        longest = max(map(len, solutions), default=0)
        out = np.full((len(solutions), longest), -np.inf, np.float32)
        order = sorted(range(len(solutions)), key=lambda i: len(contexts[i]) + len(solutions[i]))
        for i in range(0, len(order), at_once):
            some = order[i : i + at_once]
            tokens = self._send(pad([[*contexts[j], *solutions[j]] for j in some], np.int64))
            position = torch.arange(tokens.shape[1], device=self.device)
            start = self._send(np.array([len(contexts[j]) for j in some]))[:, None]
            cache = self.decoder.cache(len(some), tokens.shape[1])
            hidden = self.decoder.feed(cache, tokens)
            log_p = self.log_probability(self.p, hidden, tokens, position >= start).cpu().numpy()
            for row, j in enumerate(some):
                n = len(solutions[j])
                out[j, :n] = log_p[row, len(contexts[j]) : len(contexts[j]) + n]
        return out

    def steps(self, contexts, solutions) -> list[np.ndarray]:
        """log P at the end of every step, one array a solution."""
        log_p = self.judge(contexts, solutions)
        ends = [self.world.ends[list(s)].astype(bool) for s in solutions]
        return [row[: len(e)][e] for row, e in zip(log_p, ends, strict=True)]

    # -- beside a search: each token is read once -----------------------------------------

    @torch.no_grad()
    def score(self, rows: Rows, contexts: Sequence[Sequence[int]]) -> np.ndarray:
        """log P [n] of the rows as they stand; what was read before is kept with the rows.

        contexts: by problem.
        """
        state: Reading | None = rows.extra.get("verifier")
        if state is None:
            state = rows.extra["verifier"] = self._open(rows, contexts)
        new = rows.length - state.read
        t = int(new.max(initial=0))
        if t:
            index = np.minimum(state.read[:, None] + np.arange(t), rows.tokens.shape[1] - 1)
            tokens = self._send(np.take_along_axis(rows.tokens, index, 1).astype(np.int64))
            lengths = self._send(new)
            hidden = self.decoder.feed(state.cache, tokens, lengths)
            before = torch.cat([state.hidden[:, None], hidden[:, :-1]], 1)
            if self.head == "factored":
                opinion = F.logsigmoid((before @ self.p["token"]).float() + self.p["token.bias"])
                each = opinion.gather(-1, tokens[..., None])[..., 0]
                state.log_q = state.log_q + (
                    each * (torch.arange(t, device=self.device) < lengths[:, None])
                ).sum(1)
            last = hidden[torch.arange(len(rows), device=self.device), (lengths - 1).clamp(min=0)]
            state.hidden = torch.where((lengths > 0)[:, None], last, state.hidden)
            state.read = rows.length.copy()
        value = F.logsigmoid((state.hidden @ self.p["value"])[:, 0] + self.p["value.bias"])
        return (value + state.log_q).cpu().numpy()

    def _open(self, rows: Rows, contexts) -> Reading:
        asked, back = np.unique(rows.problem, return_inverse=True)
        prompts = [contexts[i] for i in asked]
        lengths = self._send(np.array([len(c) for c in prompts]))
        cache = self.decoder.cache(len(asked), int(lengths.max()) + rows.tokens.shape[1] + 1)
        hidden = self.decoder.feed(cache, self._send(pad(prompts, np.int64)), lengths)
        last = hidden[torch.arange(len(asked), device=self.device), lengths - 1]
        first = Reading(
            cache, np.zeros(len(asked), np.int64), torch.zeros(len(asked), device=self.device), last
        )
        return first.select(self._send(back))


@dataclass
class Reading:
    """How far a verifier has read each row: its cache, tokens read, Σ log σ(q), the last hidden state."""

    cache: Cache
    read: np.ndarray
    log_q: torch.Tensor
    hidden: torch.Tensor

    def select(self, rows: torch.Tensor) -> Reading:
        """These rows."""
        return Reading(
            self.cache.select(rows), self.read[rows.cpu().numpy()], self.log_q[rows], self.hidden[rows]
        )


def log_complement(log_p: torch.Tensor) -> torch.Tensor:
    """log(1 − P) from log P, stable at both ends."""
    safe = log_p.clamp(max=-1e-6)
    return torch.where(safe > -0.693, torch.log(-torch.expm1(safe)), torch.log1p(-torch.exp(safe)))


def auc(score: np.ndarray, right: np.ndarray) -> float:
    """Probability that a right one scores above a wrong one, ties half; NaN without both kinds."""
    from scipy.stats import rankdata

    right = np.asarray(right, bool)
    n, m = int(right.sum()), int((~right).sum())
    if not n or not m:
        return float("nan")
    return float((rankdata(score)[right].sum() - n * (n + 1) / 2) / (n * m))


def within(score: np.ndarray, right: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """AUC of each problem that has both kinds: what a selection among samples of one problem can use."""
    found = [auc(score[problem == i], right[problem == i]) for i in np.unique(problem)]
    return np.array([a for a in found if a == a])


def calibration(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> np.ndarray:
    """Mean probability, share right and count [bins, 3] in equal bins of probability; NaN where empty."""
    index = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    out = np.full((bins, 3), np.nan)
    for b in range(bins):
        here = index == b
        out[b, 2] = here.sum()
        if here.any():
            out[b, :2] = probability[here].mean(), np.mean(right[here])
    return out
