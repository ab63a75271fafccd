"""A model of the Llama family (Touvron et al. 2023) in this library's decoder, so that it is sampled as our own models are.

Next to `model.Transformer` such a model has gains in its norms, fewer heads of keys and values than of queries, a
gated feed-forward layer, and a rotation of its own base. The gains go into the matrices that read the normed stream.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .decode import Decoder


class NotLlama(ValueError):
    """A model with other blocks. One line."""


class Llama(Decoder):
    """The weights of a `transformers` LlamaForCausalLM, on its device, in `dtype`. Raises NotLlama.

    It keeps log p of what it draws, and shares nothing with the model it is made from.
    """

    tells = True

    def __init__(self, model: Any, dtype: torch.dtype | None = None):
        about, parts = model.config, {k: v.detach() for k, v in model.state_dict().items()}
        rope = getattr(about, "rope_parameters", None) or {}
        if (
            about.model_type != "llama"
            or about.hidden_act != "silu"
            or rope.get("rope_type", "default") != "default"
        ):
            raise NotLlama(f"a model of type {about.model_type}, not a plain Llama")
        if any(name.endswith(".bias") for name in parts):
            raise NotLlama("a Llama with biases")
        self._shape(
            about.num_hidden_layers, about.hidden_size, about.num_attention_heads, about.num_key_value_heads,
            about.max_position_embeddings, about.vocab_size,
        )  # fmt: skip
        if (getattr(about, "head_dim", None) or self.width) != self.width:
            raise NotLlama("a Llama whose heads are not d/heads wide")
        self.epsilon = about.rms_norm_eps
        embedding = parts["model.embed_tokens.weight"]
        base = float(rope.get("rope_theta", getattr(about, "rope_theta", 10_000.0)))
        angle = torch.outer(
            torch.arange(self.context, dtype=torch.float64),
            base ** (-torch.arange(0, self.width, 2, dtype=torch.float64) / self.width),
        )
        self._place(embedding.device, dtype or embedding.dtype, angle.cos(), angle.sin())
        hold = lambda w: w.to(self.dtype).contiguous()
        gained = lambda gain, *names: hold(torch.cat([parts[n].float() for n in names]) * parts[gain].float())
        head = "lm_head.weight" if "lm_head.weight" in parts else "model.embed_tokens.weight"
        self.p = {"embedding": hold(embedding), "head": gained("model.norm.weight", head)}
        for i in range(self.layers):
            at = f"model.layers.{i}."
            projections = [f"{at}self_attn.{x}_proj.weight" for x in "qkv"]
            gates = [f"{at}mlp.{x}_proj.weight" for x in ("gate", "up")]
            self.p[f"{i}.qkv"] = gained(f"{at}input_layernorm.weight", *projections)
            self.p[f"{i}.out"] = hold(parts[f"{at}self_attn.o_proj.weight"])
            self.p[f"{i}.gates"] = gained(f"{at}post_attention_layernorm.weight", *gates)
            self.p[f"{i}.down"] = hold(parts[f"{at}mlp.down_proj.weight"])

    def _norm(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (self.d,), eps=self.epsilon).to(self.dtype)

    def project(self, i, x):
        whole = F.linear(self._norm(x), self.p[f"{i}.qkv"]).unflatten(-1, (-1, self.width))
        return whole.split([self.heads, self.kept, self.kept], -2)

    def close(self, i, x, a):
        x = x + F.linear(a, self.p[f"{i}.out"]).float()
        gate, up = F.linear(self._norm(x), self.p[f"{i}.gates"]).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.p[f"{i}.down"]).float()

    def last(self, x):
        return self._norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.p["head"]).float()
