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

from .decode import Decoder, draw, turn
from .examples import PAD, pad

Stop = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(token before, token) [n] → whether the row ends with it; runs on the model's device."""

ROWS = 512
"""Rows of a batch: more do not fit a processor's cache."""
CUDA_ROWS = 8192
KEPT = 0.9
"""A batch is packed when this share of its rows, or fewer, would do."""
COMMON = 64
"""Tokens with which all contexts of a batch begin, from which on they are read once for all."""
WIDE = 32
"""Heads from which on a CPU a product a row is faster than one multiplication of all."""
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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`samples` continuations of every context, drawn from softmax(logits/temperature), greedy at temperature 0.

    Returns tokens [contexts, samples, largest room], PAD after the end, lengths [contexts, samples], and the sum of
    log p (nats, at temperature 1) over each continuation's tokens, float32, where the decoder `tells` it (else 0).
    room [contexts]: how many tokens a continuation may have; one that fills it has not ended by itself. What a row
    is given to read does not depend on the rows beside it. Raises ValueError beyond the model's context.
    """
    contexts, room = [list(c) for c in contexts], np.asarray(room, np.int64)
    shape = len(contexts), samples
    tokens = np.full((*shape, max(room, default=0)), PAD, np.uint8 if decoder.vocabulary <= 256 else np.int32)
    lengths, told = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    most = at_once or (CUDA_ROWS if decoder.device.type == "cuda" else ROWS)
    for some, draws in _batches([len(c) for c in contexts], room, samples, most):
        grid = _Grid(decoder, [contexts[i] for i in some], draws.stop - draws.start, room[some], stop)
        written, length, likely = grid.write(temperature, generator)
        tokens[some, draws, : written.shape[-1]] = written
        lengths[some, draws], told[some, draws] = length, likely
    return tokens, lengths, told


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
        longest = max(map(len, contexts))
        if longest + self.room > decoder.context:
            raise ValueError(
                f"{longest + self.room} positions asked of a model with a context of {decoder.context}"
            )
        self.read = torch.tensor([len(c) for c in contexts], device=self.device)
        cache, hidden, at = self._read_all(contexts, min(longest + 1, decoder.context))
        self.prefix = torch.stack([cache.keys, cache.values])[:, :, :, :, :longest]
        self.logits = decoder.logits(hidden[torch.arange(groups, device=self.device), at])
        self.logits = self.logits.repeat_interleave(samples, 0)
        n = groups * samples
        # keys and values of what is written: [2, layers, room, rows, heads, width]
        new = torch.zeros if self.static else torch.empty
        self.own = new(
            2, decoder.layers, self.room, n, decoder.kept, decoder.width, dtype=decoder.dtype, device=self.device
        )
        self.row = torch.arange(n, device=self.device)
        self.limit = torch.from_numpy(room).to(self.device).repeat_interleave(samples)
        self.last = torch.tensor([c[-1] for c in contexts], device=self.device).repeat_interleave(samples)
        self.ended = self.limit <= 0
        kind = torch.uint8 if decoder.vocabulary <= 256 else torch.int32
        self.tokens = torch.full((n, self.room), PAD, dtype=kind, device=self.device)
        self.told = torch.zeros(n, device=self.device)
        self.length = torch.zeros(n, dtype=torch.int64, device=self.device)
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)

    def _read_all(self, contexts: list[list[int]], room: int):
        """Cache of all contexts, hidden states, and where in these each context ends. What all begin with is read once."""
        decoder, most = self.decoder, min(map(len, contexts)) - 1
        common = next((i for i in range(most) if len({c[i] for c in contexts}) > 1), most)
        if len(contexts) == 1 or common < COMMON:
            common = 0
        rest = torch.from_numpy(pad([c[common:] for c in contexts], np.int64)).to(self.device)
        cache = decoder.cache(1 if common else len(contexts), room)
        if common:
            decoder.feed(cache, torch.tensor([contexts[0][:common]], device=self.device))
            cache = cache.select(torch.zeros(len(contexts), dtype=torch.int64, device=self.device))
        left = self.read - common
        return cache, decoder.feed(cache, rest, left), left - 1

    def write(self, temperature: float, generator: torch.Generator | None) -> tuple[np.ndarray, ...]:
        """tokens [contexts, samples, room], lengths and log p [contexts, samples] of the whole batch."""
        groups, samples = len(self.read), self.samples
        whole = self.tokens.clone(), self.length.clone(), self.told.clone()
        advance = self._captured(temperature, generator)
        for t in range(self.room):
            advance(t)
            if t + 1 == self.room:
                break
            if (t + 1) % (CUDA_EVERY if self.static else 1) == 0 and (
                kept := self._worth_packing()
            ) is not None:
                self._bring_back(whole)
                if not len(kept):
                    break
                self._pack(kept, t + 1)
                advance = self._captured(temperature, generator)
        self._bring_back(whole)
        return tuple(part.view(groups, samples, *part.shape[1:]).cpu().numpy() for part in whole)

    def _bring_back(self, whole: tuple[torch.Tensor, ...]) -> None:
        """Put what the rows have so far where the whole batch keeps it."""
        for part, own in zip(whole, (self.tokens, self.length, self.told), strict=True):
            part[self.row] = own

    @torch.no_grad()
    def _advance(self, t: int, temperature: float, generator: torch.Generator | None) -> None:
        """Draw the next token of every row and read it. t: tokens written so far; a captured step counts `at` itself."""
        token = draw(self.logits, temperature, generator)
        going = ~self.ended
        self.tokens.scatter_(
            1, self.at.expand(len(token), 1), torch.where(going, token, PAD).to(self.tokens.dtype)[:, None]
        )
        if self.decoder.tells:
            chosen = self.logits.gather(1, token[:, None])[:, 0] - self.logits.logsumexp(1)
            self.told += torch.where(going, chosen, 0.0)
        self.length += going
        self.ended |= self.stop(self.last, token) | (self.length >= self.limit)
        self.last.copy_(token)
        if self.static or t + 1 < self.room:
            self.logits.copy_(self.decoder.logits(self._hidden(token, None if self.static else t)))
        self.at += 1

    def _hidden(self, token: torch.Tensor, t: int | None) -> torch.Tensor:
        """Hidden states [rows, d] after `token` [rows], written at place t (None: at `at`, over the whole room)."""
        decoder, n = self.decoder, len(token)
        groups, P, width, top = (
            len(self.read),
            self.prefix.shape[-2],
            decoder.width,
            self.room if t is None else t + 1,
        )
        position = (self.read[:, None] + self.at).expand(groups, self.samples).reshape(-1)
        cos, sin = (table[position][:, None] for table in (decoder.cos, decoder.sin))
        unread = torch.arange(P, device=self.device) >= self.read[:, None]
        later = None if t is not None else torch.arange(top, device=self.device) > self.at
        kept, each = decoder.kept, decoder.heads // decoder.kept
        x = decoder.embed(token)
        for i in range(decoder.layers):
            q, k, v = decoder.project(i, x)
            q, k = turn(q, cos, sin), turn(k, cos, sin)
            keys, values = self.own[0, i], self.own[1, i]
            if t is None:
                keys.index_copy_(0, self.at, k[None])
                values.index_copy_(0, self.at, v[None])
            else:
                keys[t], values[t] = k, v
            q = q.reshape(n, kept, each, width)
            # all samples of a context side by side: [groups, kept, samples · each, width]
            of_all = q.view(groups, self.samples, kept, each, width).transpose(1, 2).flatten(2, 3)
            shared = (of_all @ self.prefix[0, i].transpose(-1, -2)).float()
            shared = shared.masked_fill_(unread[:, None, None], -math.inf)
            shared = shared.view(groups, kept, self.samples, each, P).transpose(1, 2).reshape(n, kept, each, P)
            own = _scores(keys[:top], q).float()
            if later is not None:
                own = own.masked_fill_(later, -math.inf)
            weight = (torch.cat([shared, own], -1) * width**-0.5).softmax(-1).to(decoder.dtype)
            of_all = weight[..., :P].view(groups, self.samples, kept, each, P).transpose(1, 2).flatten(2, 3)
            a = (of_all @ self.prefix[1, i]).view(groups, kept, self.samples, each, width).transpose(1, 2)
            a = a.reshape(n, kept, each, width) + _mixed(values[:top], weight[..., P:])
            x = decoder.close(i, x, a.reshape(n, decoder.d))
        return decoder.last(x)

    def _captured(self, temperature: float, generator: torch.Generator | None) -> Callable[[int], None]:
        """A step as a function of t: on a GPU a graph, captured after warm-up steps whose traces are wiped out."""
        plain = lambda t: self._advance(t, temperature, generator)
        if not self.static:
            return plain
        state = ("logits", "last", "ended", "tokens", "told", "length", "at")
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
        for name in ("row", "limit", "last", "ended", "tokens", "told", "length", "logits"):
            setattr(self, name, getattr(self, name)[rows])


def _scores(keys: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """q·k [rows, kept, each, top] for keys [top, rows, kept, width] and q [rows, kept, each, width].

    On a CPU thousands of products of a vector with a small matrix are several times slower than one multiplication.
    """
    if _by_product(keys, q):
        return (keys.permute(1, 2, 0, 3) @ q.transpose(-1, -2)).transpose(-1, -2)
    return (keys * q[:, :, 0]).sum(-1).permute(1, 2, 0)[:, :, None]


def _mixed(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Σ weight·v [rows, kept, each, width] for values [top, rows, kept, width] and weight [rows, kept, each, top]."""
    if _by_product(values, weight):
        return weight @ values.permute(1, 2, 0, 3)
    return (values * weight[:, :, 0].permute(2, 0, 1)[..., None]).sum(0)[:, :, None]


def _by_product(kept: torch.Tensor, q: torch.Tensor) -> bool:
    return kept.is_cuda or q.shape[2] > 1 or kept.shape[-1] > WIDE
