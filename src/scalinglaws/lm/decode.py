"""Cached decoding: many sequences at once, each at its own length, keys and values kept.

The cache is allocated once, [layers, rows, heads, length, width]. Rows are chosen, copied and
dropped by index, so that the continuations of one prefix are fed that prefix once and a finished
row costs nothing. `Decoder` is the arithmetic of `model.Transformer`, for one replica; a subclass with other
blocks (`llama.Llama`) decodes, and is sampled from, in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .model import Transformer, norm


@dataclass
class Cache:
    """Keys and values of `used` [rows] positions of every row."""

    keys: torch.Tensor
    values: torch.Tensor
    used: torch.Tensor

    def __len__(self) -> int:
        return len(self.used)

    @property
    def room(self) -> int:
        """Positions a row can hold."""
        return self.keys.shape[3]

    def select(self, rows: torch.Tensor) -> Cache:
        """A new cache of these rows, in this order; a row may be chosen more than once."""
        top = int(self.used.max()) if len(self.used) else 0
        parts = []
        for kept in (self.keys, self.values):
            new = kept.new_empty(kept.shape[0], len(rows), *kept.shape[2:])
            new[:, :, :, top:] = 0  # weight nought times memory that happens to hold NaN would be NaN
            new[:, :, :, :top] = kept[:, :, :, :top].index_select(1, rows)
            parts.append(new)
        keys, values = parts
        return Cache(keys, values, self.used[rows])


class Decoder:
    """One model's weights, ready to feed tokens to caches. flat: parameters [P] of `model`.

    Queries have `heads` heads, keys and values `kept` of them, each for heads/kept neighbouring queries (one, unless
    a subclass says so), of `width` each. tells: whether sampling keeps log p of what it draws.
    """

    tells = False

    def __init__(self, model: Transformer, flat: torch.Tensor, dtype=torch.float32):
        if model.experts > 1:
            raise ValueError(f"a model of {model.experts} experts a layer cannot be sampled from: train one with experts = 1")
        self.model = model
        self.p = {k: v[0] for k, v in model.layout.views(flat.detach()[None].to(dtype)).items()}
        self._shape(model.n_layer, model.d, model.heads, model.heads, model.context, model.vocabulary)
        self._place(flat.device, dtype, model.cos, model.sin)

    def _shape(self, layers: int, d: int, heads: int, kept: int, context: int, vocabulary: int) -> None:
        self.layers, self.d, self.heads, self.kept, self.width = layers, d, heads, kept, d // heads
        self.context, self.vocabulary = context, vocabulary

    def _place(self, device, dtype, cos: torch.Tensor, sin: torch.Tensor) -> None:
        """Where and in what the weights are; the tables of the rotation, [context, width/2] each."""
        self.device, self.dtype = torch.device(device), dtype
        cos, sin = (t.to(device, torch.float32) for t in (cos, sin))
        self.cos, self.sin = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """The residual stream [..., d], float32, that tokens [...] begin."""
        return F.embedding(tokens, self.p["embedding"]).float()

    def project(self, i: int, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries [..., heads, width], keys and values [..., kept, width] of layer i, not yet rotated."""
        qkv = norm(x).to(self.dtype) @ self.p[f"{i}.qkv"]
        return qkv.view(*x.shape[:-1], 3, self.heads, -1).unbind(-3)

    def close(self, i: int, x: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """The residual stream after layer i, whose attention read a [..., d]."""
        x = x + (a @ self.p[f"{i}.out"]).float()
        h = F.gelu(norm(x).to(self.dtype) @ self.p[f"{i}.up"], approximate="tanh")
        return x + (h @ self.p[f"{i}.down"]).float()

    def last(self, x: torch.Tensor) -> torch.Tensor:
        """The normed residual stream that the output layer reads."""
        return norm(x).to(self.dtype)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [n, vocabulary] of hidden states [n, d]."""
        return (hidden @ self.p["embedding"].T).float()

    def cache(self, rows: int, room: int) -> Cache:
        """An empty cache. Raises ValueError for more positions than the model's context."""
        if room > self.context:
            raise ValueError(f"{room} positions asked of a model with a context of {self.context}")
        shape = (self.layers, rows, self.kept, room, self.width)
        return Cache(
            torch.zeros(shape, dtype=self.dtype, device=self.device),
            torch.zeros(shape, dtype=self.dtype, device=self.device),
            torch.zeros(rows, dtype=torch.int64, device=self.device),
        )

    @torch.no_grad()
    def feed(
        self, cache: Cache, tokens: torch.Tensor, lengths: torch.Tensor | None = None, rows=None
    ) -> torch.Tensor:
        """Append tokens [n, t] to the cache's `rows` (default: all); returns hidden states [n, t, d].

        Rows shorter than t are padded on the right and have `lengths` [n]; what is computed
        at the padding means nothing and is overwritten by what is fed next. Padding past the end
        falls on the last position: a cache that is fed ragged rows needs one position to spare.
        """
        n, t = tokens.shape
        before = cache.used if rows is None else cache.used[rows]
        position = (before[:, None] + torch.arange(t, device=tokens.device)).clamp(max=cache.room - 1)
        first = int(before[0]) if len(before) and bool((before == before[0]).all()) else None
        top = int(position.max()) + 1 if n else 0
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        seen = torch.arange(top, device=tokens.device) <= position[:, None, :, None]
        if first is not None and t == 1:
            seen = None  # every row sees all of its positions
        elif self.heads > self.kept:
            seen = seen.repeat(1, 1, self.heads // self.kept, 1)
        x = self.embed(tokens)
        for i in range(self.layers):
            q, k, v = (z.transpose(1, 2) for z in self.project(i, x))
            q, k = turn(q, cos, sin), turn(k, cos, sin)
            keys = _append(cache.keys[i], k, rows, position, first, top)
            values = _append(cache.values[i], v, rows, position, first, top)
            q = q.reshape(n, self.kept, -1, self.width)
            score = (q @ keys.transpose(-1, -2)).float() * self.width**-0.5
            if seen is not None:
                score = score.masked_fill(~seen, -math.inf)
            a = (score.softmax(-1).to(self.dtype) @ values).view(n, self.heads, t, self.width)
            x = self.close(i, x, a.transpose(1, 2).reshape(n, t, self.d))
        after = before + (t if lengths is None else lengths)
        if rows is None:
            cache.used = after
        else:
            cache.used[rows] = after
        return self.last(x)


def draw(logits: torch.Tensor, temperature: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """One token a row: the most probable at temperature 0, else a draw from softmax(logits/temperature)."""
    if temperature == 0:
        return logits.argmax(-1)
    total = (logits / temperature).softmax(-1).cumsum(-1)
    u = torch.rand(len(logits), 1, generator=generator, device=logits.device) * total[:, -1:]
    return (total < u).sum(-1).clamp(max=logits.shape[-1] - 1)


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions, as `model.rotate` for rows that stand at different places."""
    a, b = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([b, a], dim=-1) * sin).to(x.dtype)


def _append(kept, new, rows, position, first, top) -> torch.Tensor:
    """Write `new` [n, heads, t, width] at each row's positions; returns the rows' first `top` positions."""
    t = new.shape[2]
    if first is not None and rows is None:
        kept[:, :, first : first + t] = new
        return kept[:, :, :top]
    index = torch.arange(len(kept), device=kept.device) if rows is None else rows
    if first is not None:
        kept[index, :, first : first + t] = new
    else:
        kept[index[:, None], :, position] = new.transpose(1, 2)
    return kept[:, :, :top] if rows is None else kept[index, :, :top]
