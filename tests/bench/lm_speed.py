"""Tokens a second of the engine and of a plain loop, on the device at hand.

`python tests/bench/lm_speed.py plain|engine|examples SHAPE SECONDS [DEVICE [REPLICAS [BATCH]]]` prints one
JSON line, `… matmul` the rate of large bf16 products on the GPU. The plain loop is what one would write first: one model as an `nn.Module` in float32, the
fused attention of PyTorch, its AdamW, batches stacked in NumPy, PyTorch's default threads.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CONTEXT, VOCABULARY = 128, 256


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.RMSNorm(d), nn.RMSNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def rotate(self, x):
        T, w = x.shape[-2:]
        frequency = 10_000.0 ** (-torch.arange(0, w, 2, device=x.device) / w)
        angle = torch.arange(T, device=x.device)[:, None] * frequency
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)

    def forward(self, x):
        B, T, d = x.shape
        q, k, v = self.qkv(self.first(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(B, T, d))
        return x + self.down(F.gelu(self.up(self.second(x)), approximate="tanh"))


class Plain(nn.Module):
    def __init__(self, layers, d, heads):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, d)
        self.blocks = nn.Sequential(*[Block(d, heads) for _ in range(layers)])
        self.norm = nn.RMSNorm(d)

    def forward(self, tokens):
        x = self.blocks(self.embedding(tokens[:, :-1]))
        logits = self.norm(x) @ self.embedding.weight.T
        return F.cross_entropy(logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1))


def timed(step, seconds, tokens, synchronise) -> float:
    """Tokens a second of `step`, after ten steps of warm-up."""
    for _ in range(10):
        step()
    synchronise()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(5):
            step()
        synchronise()
        done += 5
    return done * tokens / (time.perf_counter() - started)


def plain(shape, seconds, device, batch=32):
    """The plain loop."""
    torch.manual_seed(0)
    model = Plain(*shape).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.003, betas=(0.9, 0.95))
    data = np.random.default_rng(0).integers(0, VOCABULARY, 10**6).astype(np.uint8)
    rng = np.random.default_rng(1)

    def step():
        starts = rng.integers(0, len(data) - CONTEXT - 1, batch)
        windows = np.stack([data[i : i + CONTEXT + 1].astype(np.int64) for i in starts])
        loss = model(torch.from_numpy(windows).to(device))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    return timed(
        step, seconds, batch * CONTEXT, lambda: torch.cuda.synchronize() if device == "cuda" else None
    )


def engine(shape, seconds, device, replicas, batch=32):
    """The engine's step, compiled on a CPU, captured with its replicas stacked on a GPU."""
    from scalinglaws.lm import train
    from scalinglaws.lm.config import Run
    from scalinglaws.lm.corpus import Corpus

    data = np.random.default_rng(0).integers(0, VOCABULARY, 10**6).astype(np.uint8)
    train.open_corpus = lambda name: Corpus("random", VOCABULARY, data, data)
    run = Run(
        corpus="random", n_layer=shape[0], d_model=shape[1], n_head=shape[2], tokens=10**9, learning_rate=0.003,
        context=CONTEXT, batch=batch,
    )  # fmt: skip
    trainer = train.Trainer([run.with_(seed=s) for s in range(replicas)], device, compiled=True)
    return timed(
        trainer._train_step,
        seconds,
        batch * CONTEXT * replicas,
        lambda: torch.cuda.synchronize() if device == "cuda" else None,
    )


def examples(shape, seconds, device, batch):
    """Training on examples, program writers on prompts of up to 69 tokens; slots count, padded or not."""
    from functools import partial

    from scalinglaws.lm import optimiser
    from scalinglaws.lm.examples import Shuffled, Size, _State, next_token_loss
    from scalinglaws.lm.executor import executor
    from scalinglaws.resampling import writing

    data = writing.curriculum(4096, (0.2, 0.4, 0.4), np.random.default_rng(0), frozenset())
    model = Size(*shape).transformer(writing.VOCABULARY, device)
    flat = model.initial(0).to(device)[None]
    state = _State(flat, torch.zeros_like(flat), torch.zeros_like(flat))
    weighted = partial(next_token_loss, model)

    def loss(flat, *parts):
        total, weight = weighted(model.layout.views(flat.to(torch.bfloat16)), *parts)
        return total, total[None], weight

    hyper = {"beta1": 0.9, "beta2": 0.95, "decay": 0.01, "clip": 1.0}
    work = executor(state, loss, Shuffled(data, batch, 0), hyper)
    rates, done = torch.tensor(optimiser.corrections([0.001], 100, 0.9, 0.95)), iter(range(10**9))
    return timed(
        lambda: work.step(next(done), rates),
        seconds,
        batch * data.tokens.shape[1],
        lambda: torch.cuda.synchronize() if device == "cuda" else None,
    )


def matmul_rate(seconds=2.0) -> float:
    """FLOPs a second of large bf16 products on the GPU."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    products = timed(lambda: a @ b, seconds, 1, torch.cuda.synchronize)
    return products * 2 * 8192**3


def _numbers(given: list[str]) -> tuple[int, int]:
    """Replicas and batch, 1 and 32 where not given."""
    numbers = [int(x) for x in given]
    return tuple(numbers + [1, 32][len(numbers) :])


def main() -> None:
    """The command line."""
    if sys.argv[1] == "matmul":
        print(json.dumps({"flops_per_second": matmul_rate()}))
        return
    which, shape, seconds, *rest = sys.argv[1:]
    device, replicas, batch = rest[0] if rest else "cpu", *_numbers(rest[1:])
    size = tuple(int(part) for part in shape.split("x"))
    if which != "plain" and device == "cpu":
        torch.set_num_threads(1)
    started = time.perf_counter()
    if which == "examples":
        rate = examples(size, float(seconds), device, batch)
    elif which == "plain":
        rate = plain(size, float(seconds), device, batch)
    else:
        rate = engine(size, float(seconds), device, replicas, batch)
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    start_up = time.perf_counter() - started - float(seconds)
    print(json.dumps({"tokens_per_second": rate, "peak_mib": peak, "start_up_seconds": start_up}))


if __name__ == "__main__":
    main()
