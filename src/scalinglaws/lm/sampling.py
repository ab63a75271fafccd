"""Sampling whole sequences: many continuations of many contexts, in one batch.

A batch is a grid, contexts × samples. A context is fed once and its keys and values are kept once:
all its samples attend to them in one product (the shared prefix of Juravsky et al. 2024, "Hydragen").
What a sample writes itself has a place of its own, and all rows write at the same place, whatever the
lengths of their contexts. Rows that have ended go on idly until so many have ended that moving the
others together pays. On a GPU a token is one captured graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from .decode import Decoder, draw, turn
from .examples import PAD, pad
from .model import norm

Stop = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(token before, token) [n] → whether the row ends with it; runs on the model's device."""

ROWS = 512
"""Rows of a batch: more do not fit a processor's cache."""
CUDA_ROWS = 8192
KEPT = 0.9
"""A batch is packed when this share of its rows, or fewer, would do."""
CUDA_KEPT, CUDA_EVERY = 0.5, 8
"""On a GPU packing means capturing anew: it is looked at every so many tokens and done at a half."""


def sample(
    decoder: Decoder,
    contexts: Sequence[Sequence[int]],
    samples: int,
    room: Sequence[int] | np.ndarray,
    stop: Stop,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    at_once: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`samples` continuations of every context, drawn from softmax(logits/temperature), greedy at temperature 0.

    Returns tokens uint8 [contexts, samples, largest room], PAD after the end, and lengths [contexts, samples].
    room [contexts]: how many tokens a continuation may have; one that fills it has not ended by itself. What a row
    is given to read does not depend on the rows beside it. Raises ValueError beyond the model's context.
    """
    contexts, room = [list(c) for c in contexts], np.asarray(room, np.int64)
    tokens = np.full((len(contexts), samples, max(room, default=0)), PAD, np.uint8)
    lengths = np.zeros((len(contexts), samples), np.int64)
    most = at_once or (CUDA_ROWS if decoder.device.type == "cuda" else ROWS)
    for some, draws in _batches([len(c) for c in contexts], room, samples, most):
        grid = _Grid(decoder, [contexts[i] for i in some], draws.stop - draws.start, room[some], stop)
        written, length = grid.write(temperature, generator)
        tokens[some, draws, : written.shape[-1]] = written
        lengths[some, draws] = length
    return tokens, lengths


def _batches(length, room, samples: int, most: int) -> Iterator[tuple[np.ndarray, slice]]:
    """Contexts and their samples for each batch; contexts of like sizes stand together, and end together."""
    order = np.lexsort((length, room))
    step = max(1, most // max(samples, 1))
    for start in range(0, samples, most):
        draws = slice(start, min(samples, start + most))
        for i in range(0, len(order), step):
            yield order[i : i + step], draws


class _Grid:
    """One batch: contexts × samples, written from left to right."""

    def __init__(
        self, decoder: Decoder, contexts: list[list[int]], samples: int, room: np.ndarray, stop: Stop
    ):
        self.decoder, self.stop, self.device = decoder, stop, decoder.device
        self.static = self.device.type == "cuda"
        groups, self.samples, self.room = len(contexts), samples, int(room.max())
        m, longest = decoder.model, max(map(len, contexts))
        if longest + self.room > m.context:
            raise ValueError(
                f"{longest + self.room} positions asked of a model with a context of {m.context}"
            )
        self.read = torch.tensor([len(c) for c in contexts], device=self.device)
        self.cache = decoder.cache(groups, min(longest + 1, m.context))
        fed = torch.from_numpy(pad(contexts, np.int64)).to(self.device)
        hidden = decoder.feed(self.cache, fed, self.read)
        self.prefix = torch.stack([self.cache.keys, self.cache.values])[:, :, :, :, :longest]
        self.logits = decoder.logits(hidden[torch.arange(groups, device=self.device), self.read - 1])
        self.logits = self.logits.repeat_interleave(samples, 0)
        n = groups * samples
        # keys and values of what is written: [2, layers, room, rows, heads, width]
        new = torch.zeros if self.static else torch.empty
        self.own = new(
            2, m.n_layer, self.room, n, m.heads, m.d // m.heads, dtype=decoder.dtype, device=self.device
        )
        self.row = torch.arange(n, device=self.device)
        self.limit = torch.from_numpy(room).to(self.device).repeat_interleave(samples)
        self.last = torch.tensor([c[-1] for c in contexts], device=self.device).repeat_interleave(samples)
        self.ended = self.limit <= 0
        self.tokens = torch.full((n, self.room), PAD, dtype=torch.uint8, device=self.device)
        self.length = torch.zeros(n, dtype=torch.int64, device=self.device)
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)

    def write(self, temperature: float, generator: torch.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """tokens [contexts, samples, room] and lengths [contexts, samples] of the whole batch."""
        groups, samples = len(self.read), self.samples
        tokens, length = self.tokens.clone(), self.length.clone()
        advance = self._captured(temperature, generator)
        for t in range(self.room):
            advance(t)
            if t + 1 == self.room:
                break
            if (t + 1) % (CUDA_EVERY if self.static else 1) == 0 and (
                kept := self._worth_packing()
            ) is not None:
                tokens[self.row], length[self.row] = self.tokens, self.length
                if not len(kept):
                    return _host(tokens, length, groups, samples)
                self._pack(kept, t + 1)
                advance = self._captured(temperature, generator)
        tokens[self.row], length[self.row] = self.tokens, self.length
        return _host(tokens, length, groups, samples)

    @torch.no_grad()
    def _advance(self, t: int, temperature: float, generator: torch.Generator | None) -> None:
        """Draw the next token of every row and read it. t: tokens written so far; a captured step counts `at` itself."""
        token = draw(self.logits, temperature, generator)
        going = ~self.ended
        self.tokens.scatter_(
            1, self.at.expand(len(token), 1), torch.where(going, token, PAD).to(torch.uint8)[:, None]
        )
        self.length += going
        self.ended |= self.stop(self.last, token) | (self.length >= self.limit)
        self.last.copy_(token)
        if self.static or t + 1 < self.room:
            self.logits.copy_(self.decoder.logits(self._hidden(token, None if self.static else t)))
        self.at += 1

    def _hidden(self, token: torch.Tensor, t: int | None) -> torch.Tensor:
        """Hidden states [rows, d] after `token` [rows], written at place t (None: at `at`, over the whole room)."""
        m, p, n = self.decoder.model, self.decoder.p, len(token)
        groups, P, width, top = (
            len(self.read),
            self.prefix.shape[-2],
            m.d // m.heads,
            self.room if t is None else t + 1,
        )
        position = (self.read[:, None] + self.at).expand(groups, self.samples).reshape(-1)
        cos, sin = (table[position][:, None, None] for table in (self.decoder.cos, self.decoder.sin))
        unread = torch.arange(P, device=self.device) >= self.read[:, None]
        later = None if t is not None else torch.arange(top, device=self.device) > self.at
        x = F.embedding(token, p["embedding"]).float()
        for i in range(m.n_layer):
            qkv = (norm(x).to(self.decoder.dtype) @ p[f"{i}.qkv"]).view(n, 3, m.heads, width)
            q, k = turn(qkv[:, :2], cos, sin).unbind(1)
            keys, values = self.own[0, i], self.own[1, i]
            if t is None:
                keys.index_copy_(0, self.at, k[None])
                values.index_copy_(0, self.at, qkv[None, :, 2])
            else:
                keys[t], values[t] = k, qkv[:, 2]
            of_all = q.view(groups, self.samples, m.heads, width).transpose(
                1, 2
            )  # [groups, heads, samples, width]
            shared = (of_all @ self.prefix[0, i].transpose(-1, -2)).float()
            shared = (
                shared.masked_fill_(unread[:, None, None], -math.inf).transpose(1, 2).reshape(n, m.heads, P)
            )
            own = _scores(keys[:top], q).float()
            if later is not None:
                own = own.masked_fill_(later, -math.inf)
            weight = (torch.cat([shared, own], -1) * width**-0.5).softmax(-1).to(self.decoder.dtype)
            of_all = weight[..., :P].view(groups, self.samples, m.heads, P).transpose(1, 2)
            a = (of_all @ self.prefix[1, i]).transpose(1, 2).reshape(n, m.heads, width)
            a = a + _mixed(values[:top], weight[..., P:])
            x = x + (a.reshape(n, m.d) @ p[f"{i}.out"]).float()
            h = F.gelu(norm(x).to(self.decoder.dtype) @ p[f"{i}.up"], approximate="tanh")
            x = x + (h @ p[f"{i}.down"]).float()
        return norm(x).to(self.decoder.dtype)

    def _captured(self, temperature: float, generator: torch.Generator | None) -> Callable[[int], None]:
        """A step as a function of t: on a GPU a graph, captured after warm-up steps whose traces are wiped out."""
        plain = lambda t: self._advance(t, temperature, generator)
        if not self.static:
            return plain
        state = ("logits", "last", "ended", "tokens", "length", "at")
        kept, drawn = (
            {k: getattr(self, k).clone() for k in state},
            generator.get_state() if generator else None,
        )
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                plain(0)
                self.at.copy_(kept["at"])
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if generator is not None:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            plain(0)
        for k, tensor in kept.items():
            getattr(self, k).copy_(tensor)
        if generator is not None and drawn is not None:
            generator.set_state(drawn)
        return lambda t: graph.replay()

    def _worth_packing(self) -> torch.Tensor | None:
        """Which contexts have a row to write and how the batch would shrink; None where it is not worth it."""
        alive = (~self.ended).view(-1, self.samples).sum(1).cpu()
        groups = torch.nonzero(alive).ravel()
        fewer = len(groups) * int(alive.max())
        return groups if fewer <= (CUDA_KEPT if self.static else KEPT) * len(self.ended) else None

    def _pack(self, groups: torch.Tensor, t: int) -> None:
        """Keep these contexts with their unfinished samples, and as many ended ones as make the grid even."""
        groups = groups.to(self.device)
        going = (~self.ended).view(-1, self.samples)[groups]
        width = int(going.sum(1).max())
        first = going.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :width]
        rows = (groups[:, None] * self.samples + first).ravel()
        new = torch.zeros if self.static else torch.empty
        own = new(
            *self.own.shape[:3], len(rows), *self.own.shape[4:], dtype=self.own.dtype, device=self.device
        )
        for part, kept in zip(own.flatten(0, 1), self.own.flatten(0, 1), strict=True):
            torch.index_select(kept[:t], 1, rows, out=part[:t])
        self.own, self.prefix, self.read, self.samples = (
            own,
            self.prefix[:, :, groups],
            self.read[groups],
            width,
        )
        for name in ("row", "limit", "last", "ended", "tokens", "length", "logits"):
            setattr(self, name, getattr(self, name)[rows])


def _scores(keys: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """q·k [rows, heads, top] for keys [top, rows, heads, width] and q [rows, heads, width].

    On a CPU thousands of products of a vector with a small matrix are several times slower than one multiplication.
    """
    if keys.is_cuda:
        return (keys.permute(1, 2, 0, 3) @ q[..., None])[..., 0]
    return (keys * q).sum(-1).permute(1, 2, 0)


def _mixed(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Σ weight·v [rows, heads, width] for values [top, rows, heads, width] and weight [rows, heads, top]."""
    if values.is_cuda:
        return (weight[..., None, :] @ values.permute(1, 2, 0, 3))[..., 0, :]
    return (values * weight.permute(2, 0, 1)[..., None]).sum(0)


def _host(tokens, length, groups, samples) -> tuple[np.ndarray, np.ndarray]:
    return tokens.view(groups, samples, -1).cpu().numpy(), length.view(groups, samples).cpu().numpy()
