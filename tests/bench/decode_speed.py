"""Tokens a second of whole solutions, here and by Hugging Face `generate` on the same weights, on the device at hand.

`python tests/bench/decode_speed.py ours|generate|floor SHAPE SEQUENCES DEVICE fp32|bf16 WEIGHTS` prints one JSON line;
WEIGHTS is a file that `trained` wrote.
Prompts are the chain world's own, eight lengths in one batch; a sequence ends with its answer. "floor" is what the
matrix products of one token cost at the rate measured for products of this shape: a decoder that did nothing else.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import torch

from scalinglaws.lm.examples import Recipe, Size
from scalinglaws.testtime.chain import Chain
from scalinglaws.testtime.proposer import Proposer, train
from scalinglaws.testtime.world import ANSWER, PAD

WORLD, PROBLEMS = Chain(), 8
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Feedforward(torch.nn.Module):
    """The ungated GELU of our model, in place of Llama's gated one."""

    def __init__(self, up, down):
        super().__init__()
        self.up, self.down = (torch.nn.Linear(*w.shape, bias=False) for w in (up, down))
        self.up.weight.data, self.down.weight.data = up.T.contiguous(), down.T.contiguous()

    def forward(self, x):
        return self.down(torch.nn.functional.gelu(self.up(x), approximate="tanh"))


def equivalent(model, flat):
    """A LlamaForCausalLM with the same weights: no gains, ungated feed-forward, tied embeddings."""
    import transformers

    d = model.d
    config = transformers.LlamaConfig(
        vocab_size=model.vocabulary, hidden_size=d, intermediate_size=4 * d, num_hidden_layers=model.n_layer,
        num_attention_heads=model.heads, max_position_embeddings=model.context, tie_word_embeddings=True,
        rms_norm_eps=torch.finfo(torch.float32).eps, pad_token_id=PAD, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    p = {k: v[0] for k, v in model.layout.views(flat[None]).items()}
    with torch.no_grad():
        theirs.model.embed_tokens.weight.copy_(p["embedding"])
        for i, layer in enumerate(theirs.model.layers):
            q, k, v = p[f"{i}.qkv"].split(d, 1)
            a = layer.self_attn
            for linear, w in ((a.q_proj, q), (a.k_proj, k), (a.v_proj, v), (a.o_proj, p[f"{i}.out"])):
                linear.weight.copy_(w.T)
            layer.mlp = Feedforward(p[f"{i}.up"], p[f"{i}.down"])
    return theirs


def generate(theirs, problems, samples, greedy=False):
    """Prompts padded on the left, each `samples` times; returns the new tokens."""
    import transformers

    class Answered(transformers.StoppingCriteria):
        def __call__(self, ids, scores, **_):
            return ids[:, -2] == ANSWER

    prompts = [p.prompt for p in problems for _ in range(samples)]
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(p)) + list(p) for p in prompts], device=theirs.device)
    room = max(WORLD.longest(p) for p in problems)
    with torch.no_grad():
        out = theirs.generate(
            ids, attention_mask=(ids != PAD).long(), max_new_tokens=room, do_sample=not greedy,
            stopping_criteria=transformers.StoppingCriteriaList([Answered()]),
        )  # fmt: skip
    return out[:, longest:]


def trained(size: Size, device="cpu") -> torch.Tensor:
    """Parameters whose answers have the lengths they should: a little training is enough."""
    recipe = Recipe(steps=120, batch=32, learning_rate=0.4 / size.d_model, warmup=10)
    return train(WORLD, size, recipe, device=device)


def problems():
    """The prompts, of eight lengths."""
    return WORLD.sample(PROBLEMS, np.random.default_rng(0), target=True)


def _best(write, seconds: float, synchronise) -> float:
    """Tokens a second, best call of those that fit."""
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        started = time.perf_counter()
        tokens = write()
        synchronise()
        best = max(best, tokens / (time.perf_counter() - started))
    return best


def floor(size: Size, rows: int, device, dtype, synchronise) -> float:
    """Tokens a second if nothing but the matrix products of `rows` rows were done."""
    d, V = size.d_model, len(WORLD.tokens)
    x, h = (torch.randn(rows, n, device=device, dtype=dtype) for n in (d, 4 * d))
    shapes = [(x, 3 * d), (x, d), (x, 4 * d), (h, d)]
    weights = [(a, torch.randn(a.shape[1], o, device=device, dtype=dtype)) for a, o in shapes]
    last = torch.randn(d, V, device=device, dtype=dtype)

    def token():
        for _ in range(size.n_layer):
            for a, w in weights:
                a @ w
        x @ last
        return rows

    return _best(token, 2.0, synchronise)


def main() -> None:
    """The command line."""
    which, shape, sequences, device, kind, weights = sys.argv[1:]
    size, sequences = Size(*map(int, shape.split("x"))), int(sequences)
    torch.set_num_threads(1)
    synchronise = torch.cuda.synchronize if device == "cuda" else lambda: None
    if which == "floor":
        rows = min(sequences, 512) if device == "cpu" else sequences
        print(json.dumps({"tokens_per_second": floor(size, rows, device, DTYPES[kind], synchronise)}))
        return
    flat, asked = torch.load(weights), problems()
    if which == "ours":
        model = size.transformer(len(WORLD.tokens), device)
        proposer = Proposer(WORLD, model, flat.to(device), seed=1, dtype=DTYPES[kind])
        write = lambda: int(proposer.solve(asked, sequences // PROBLEMS).length.sum())
    else:
        theirs = equivalent(size.transformer(len(WORLD.tokens)), flat).to(device).to(DTYPES[kind])
        write = lambda: int((generate(theirs, asked, sequences // PROBLEMS) != PAD).sum())
    write()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rate = _best(write, 4.0, synchronise)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else resident
    print(json.dumps({"tokens_per_second": rate, "peak_mib": peak}))


if __name__ == "__main__":
    main()
