"""Cached decoding: many sequences at once, each at its own length, keys and values kept.

The cache is allocated once, [layers, rows, heads, length, width]. Rows are chosen, copied and
dropped by index, so that the continuations of one prefix are fed that prefix once and a finished
row costs nothing. The arithmetic is that of `model.Transformer`, for one replica.
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
    """One model's weights, ready to feed tokens to caches. flat: parameters [P] of `model`."""

    def __init__(self, model: Transformer, flat: torch.Tensor, dtype=torch.float32):
        self.model = model
        self.p = {k: v[0] for k, v in model.layout.views(flat.detach()[None].to(dtype)).items()}
        self.dtype, self.device = dtype, flat.device
        cos, sin = (t.to(flat.device, torch.float32) for t in (model.cos, model.sin))
        self.cos, self.sin = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    def cache(self, rows: int, room: int) -> Cache:
        """An empty cache. Raises ValueError for more positions than the model's context."""
        m = self.model
        if room > m.context:
            raise ValueError(f"{room} positions asked of a model with a context of {m.context}")
        shape = (m.n_layer, rows, m.heads, room, m.d // m.heads)
        device = self.p["embedding"].device
        return Cache(
            torch.zeros(shape, dtype=self.dtype, device=device),
            torch.zeros(shape, dtype=self.dtype, device=device),
            torch.zeros(rows, dtype=torch.int64, device=device),
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
        m, p = self.model, self.p
        before = cache.used if rows is None else cache.used[rows]
        position = (before[:, None] + torch.arange(t, device=tokens.device)).clamp(max=cache.room - 1)
        first = int(before[0]) if len(before) and bool((before == before[0]).all()) else None
        top = int(position.max()) + 1 if n else 0
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        seen = torch.arange(top, device=tokens.device) <= position[:, None, :, None]
        if first is not None and t == 1:
            seen = None  # every row sees all of its positions
        x = F.embedding(tokens, p["embedding"]).float()
        for i in range(m.n_layer):
            qkv = norm(x).to(self.dtype) @ p[f"{i}.qkv"]
            q, k, v = qkv.view(n, t, 3, m.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            q, k = turn(q, cos, sin), turn(k, cos, sin)
            keys = _append(cache.keys[i], k, rows, position, first, top)
            values = _append(cache.values[i], v, rows, position, first, top)
            score = (q @ keys.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
            if seen is not None:
                score = score.masked_fill(~seen, -math.inf)
            a = (score.softmax(-1).to(self.dtype) @ values).transpose(1, 2).reshape(n, t, m.d)
            x = x + (a @ p[f"{i}.out"]).float()
            h = F.gelu(norm(x).to(self.dtype) @ p[f"{i}.up"], approximate="tanh")
            x = x + (h @ p[f"{i}.down"]).float()
        after = before + (t if lengths is None else lengths)
        if rows is None:
            cache.used = after
        else:
            cache.used[rows] = after
        return norm(x).to(self.dtype)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [n, vocabulary] of hidden states [n, d]."""
        return (hidden @ self.p["embedding"].T).float()


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
