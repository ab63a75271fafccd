"""A decoder-only transformer, written so that one program trains one model or many.

Every parameter lives in one flat buffer [replicas, P]. Replicas share the shape and nothing
else; each matrix product is a batched product over them. With one replica this is a plain
transformer. Pre-norm without gains, rotary positions, embeddings tied to the last layer, no
biases: the non-embedding parameters are exactly 12·n_layer·d_model² for d_ffw = 4·d_model.
Rotary and not learned positions, because a training so short otherwise spends itself on
finding out which token came before: at 1e11 FLOPs learned ones cost .3 nats per byte.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .config import Run
from .quantise import in_bits


class Layout:
    """Where each parameter lies in the flat buffer: name → shape, in order."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        self.shapes = shapes
        self.sizes = [math.prod(s) for s in shapes.values()]
        self.size = sum(self.sizes)

    def views(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """Parameters [replicas, *shape] as views of `flat` [replicas, P]."""
        parts = flat.split(self.sizes, dim=1)
        return {
            name: part.view(-1, *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


class Transformer:
    """Shape and forward pass; holds no parameters. Raises nothing: `Run` has checked the shape."""

    def __init__(self, run: Run, vocabulary: int, device="cpu"):
        self.n_layer, self.d, self.heads = run.n_layer, run.d_model, run.n_head
        self.vocabulary, self.context, self.dropout = vocabulary, run.context, run.dropout
        self.experts = run.experts
        d, f = run.d_model, run.experts * run.d_ffw
        shapes: dict[str, tuple[int, ...]] = {"embedding": (vocabulary, d)}
        for i in range(run.n_layer):
            shapes |= {
                f"{i}.qkv": (d, 3 * d),
                f"{i}.out": (d, d),
                f"{i}.up": (d, f),
                f"{i}.down": (f, d),
            }
        self.layout = Layout(shapes)
        self.cos, self.sin = (t.to(device) for t in rotation(run.context, d // run.n_head))

    def initial(self, seed: int) -> torch.Tensor:
        """Parameters [P] of a fresh model: σ = .1 for the embeddings, 1/√fan-in for the matrices.

        The two matrices that write into the residual stream are divided by √(2·n_layer).
        """
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for name, shape in self.layout.shapes.items():
            inputs = shape[0] / (self.experts if name.endswith(".down") else 1)  # that are not nought
            scale = 0.1 if name == "embedding" else inputs**-0.5
            if name.endswith((".out", ".down")):
                scale /= math.sqrt(2 * self.n_layer)
            parts.append(scale * torch.randn(math.prod(shape), generator=generator))
        return torch.cat(parts)

    def logits(self, p: dict[str, torch.Tensor], tokens: torch.Tensor, training: bool = False):
        """Logits [replicas, batch, length, vocabulary] for tokens [replicas, batch, length]."""
        R, B, T = tokens.shape
        x = self.hidden(p, tokens, training)
        return matmul(x, p["embedding"].transpose(1, 2)).view(R, B, T, -1)

    def hidden(self, p: dict[str, torch.Tensor], tokens: torch.Tensor, training: bool = False):
        """The normed residual stream [replicas, batch · length, d] that the last layer reads.

        Products run in the parameters' dtype, the residual stream, norms and softmax in float32
        (float64 stays float64); the result has the parameters' dtype.
        """
        R, B, T = tokens.shape
        narrow = p["embedding"].dtype
        wide = torch.promote_types(narrow, torch.float32)
        drop = self.dropout if training else 0.0
        chosen = self.chosen(tokens).view(R, B * T, -1, 1).to(narrow) if self.experts > 1 else None
        x = F.dropout(embed(tokens, p["embedding"]).to(wide), drop).view(R, B * T, self.d)
        for i in range(self.n_layer):
            a = matmul(norm(x).to(narrow), p[f"{i}.qkv"])
            a = matmul(self.attend(a.view(R * B, T, -1)).view(R, B * T, self.d), p[f"{i}.out"])
            x = x + F.dropout(a.to(wide), drop)
            h = F.gelu(matmul(norm(x).to(narrow), p[f"{i}.up"]), approximate="tanh")
            if chosen is not None:  # all experts are computed, all but one count for nothing: few enough here
                h = (h.view(R, B * T, self.experts, -1) * chosen).flatten(2)
            x = x + F.dropout(matmul(h, p[f"{i}.down"]).to(wide), drop)
        return norm(x).to(narrow)

    def chosen(self, tokens: torch.Tensor) -> torch.Tensor:
        """Which expert each token passes [..., experts], one or nought: a hash of it and the one before (Roller et al. 2021)."""
        before = F.pad(tokens[..., :-1], (1, 0))
        hashed = (before * 8191 + tokens * 131 + 7) * 2654435761 % 4294967296 // 65536
        return F.one_hot(hashed % self.experts, self.experts)

    def attend(self, qkv: torch.Tensor) -> torch.Tensor:
        """Causal attention [n, T, 3·d] → [n, T, d]."""
        n, T, _ = qkv.shape
        q, k, v = qkv.view(n, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotate(q, self.cos[:T], self.sin[:T]), rotate(k, self.cos[:T], self.sin[:T])
        if qkv.is_cuda:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            # On a CPU the fused kernel's backward pass in bf16 is several times slower than this.
            wide = torch.promote_types(q.dtype, torch.float32)
            mask = torch.full((T, T), -math.inf, dtype=wide, device=q.device).triu(1)
            scores = (q @ k.transpose(-1, -2)).to(wide) * q.shape[-1] ** -0.5 + mask
            out = scores.softmax(-1).to(q.dtype) @ v
        return out.transpose(1, 2).reshape(n, T, self.d)


def token_losses(model, flat: torch.Tensor, tokens: torch.Tensor, dtype=torch.float32, training=False, bits=0):
    """−log p of each next token, nats, [replicas, batch, T] for tokens [replicas, batch, T + 1]; matrices at `bits` bits."""
    p = in_bits(model.layout.views(flat.to(dtype)), bits)
    logits = model.logits(p, tokens[..., :-1], training)
    wide = torch.promote_types(dtype, torch.float32)
    losses = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).to(wide), tokens[..., 1:].reshape(-1), reduction="none"
    )
    return losses.view(*tokens.shape[:-1], -1)


def rotation(context: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [context, width/2] of t·10000^(−2i/width) (Su et al. 2021)."""
    frequency = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(context, dtype=torch.float64)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the pairs (x_i, x_{i + width/2}) of [n, heads, T, width] by their position's angles."""
    a, b = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)
    cos, sin = cos.to(a.dtype), sin.to(a.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


def norm(x: torch.Tensor) -> torch.Tensor:
    """x/√(mean of x²), without gain (Zhang & Sennrich 2019)."""
    return F.rms_norm(x, (x.shape[-1],))


def matmul(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """[R, n, i] × [R, i, o]; one replica is a plain product, which CPUs run faster than a batch of one."""
    return (x[0] @ w[0])[None] if len(w) == 1 else torch.bmm(x, w)


def embed(tokens: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Rows of each replica's own table [R, V, d] for tokens [R, B, T]."""
    R, V, d = table.shape
    if table.is_cuda:
        # The same rows by a product: its backward pass is a product too, where summing the gradients
        # of a frequent byte one by one would take longer than the rest of a small model's step.
        chosen = (tokens[..., None] == torch.arange(V, device=tokens.device)).to(table.dtype)
        return torch.bmm(chosen.view(R, -1, V), table).view(*tokens.shape, d)
    shift = torch.arange(R, device=tokens.device)[:, None, None] * V
    return F.embedding(tokens + shift, table.reshape(R * V, d))
