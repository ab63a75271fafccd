"""Training on examples: the engine's model and optimiser, with a loss that counts chosen tokens.

Pretraining streams text; here an example is a prompt and a solution, and the loss counts what
comes after the prompt (a proposer), the last attempt only (a revision model), or a label at each
step (a verifier). The cosine, AdamW and the layout of the weights are those of pretraining.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..store import read_tensors, tensor_bytes, write_whole
from . import optimiser
from .batches import MICRO_BATCH
from .config import Run
from .executor import CHUNK, executor
from .model import Layout, Transformer

PAD = 0
"""The token that fills a sequence on the right."""

CONTEXT = 160
"""Positions every model that is trained on examples is built for: a revision's four attempts and its own."""


@dataclass(frozen=True)
class Size:
    """A transformer's shape; N counts 12·n_layer·d² (no embeddings)."""

    n_layer: int
    d_model: int
    n_head: int

    @property
    def N(self) -> int:
        """Non-embedding parameters."""
        return 12 * self.n_layer * self.d_model**2

    def flops_per_token(self, vocabulary: int) -> float:
        """Forward FLOPs a token with the last layer, 2·(N + vocabulary·d), without attention."""
        return 2.0 * (self.N + vocabulary * self.d_model)

    def transformer(self, vocabulary: int, device: str | torch.device = "cpu") -> Transformer:
        """The engine's model of this shape."""
        run = Run(
            corpus="examples",
            n_layer=self.n_layer,
            d_model=self.d_model,
            n_head=self.n_head,
            context=CONTEXT,
            tokens=1,
            learning_rate=1.0,
        )
        return Transformer(run, vocabulary, device)


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: cosine from `learning_rate` to a tenth of it after `warmup` steps."""

    steps: int
    batch: int = 64
    learning_rate: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.01
    beta2: float = 0.95
    dropout: float = 0.0
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at step 0, 1, …"""
        done = max(0, step - self.warmup) / max(1, self.steps - self.warmup)
        cosine = 0.1 + 0.9 * (1 + math.cos(math.pi * min(1.0, done))) / 2
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup)) * cosine


@dataclass
class Examples:
    """Padded sequences and what is to be learnt at each position.

    tokens [n, T] with PAD on the right; weight [n, T]: how much the loss at a position counts;
    label [n, T]: a verifier's target in [0, 1] there (unused by a proposer).
    """

    tokens: np.ndarray
    weight: np.ndarray
    label: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows) -> Examples:
        """These rows, cut to the longest of them."""
        tokens = self.tokens[rows]
        T = int((tokens != PAD).sum(1).max())
        label = None if self.label is None else self.label[rows, :T]
        return Examples(tokens[:, :T], self.weight[rows, :T], label)


def pad(sequences: Sequence[Sequence[int]], dtype=np.uint8) -> np.ndarray:
    """Sequences as one array [n, longest], PAD on the right."""
    out = np.full((len(sequences), max(map(len, sequences), default=0)), PAD, dtype)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return out


def answers(contexts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Examples:
    """Examples whose loss counts the tokens of the target only."""
    tokens = pad([[*c, *t] for c, t in zip(contexts, targets, strict=True)])
    weight = np.zeros(tokens.shape, np.float32)
    for row, c, t in zip(weight, contexts, targets, strict=True):
        row[len(c) : len(c) + len(t)] = 1
    return Examples(tokens, weight)


def next_token_loss(model: Transformer, p: dict, tokens: torch.Tensor, weight: torch.Tensor):
    """Σ weight·(−log p of the token), nats, and Σ weight; tokens and weight [n, T]."""
    logits = model.logits(p, tokens[None, :, :-1], training=True)[0].float()
    losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return (losses.view_as(weight[:, 1:]) * weight[:, 1:]).sum(), weight[:, 1:].sum()


class Shuffled:
    """Examples as an executor is fed them: each once in a new order, then again. Steps are asked for one after the other."""

    def __init__(self, examples: Examples, batch: int, seed: int):
        self.examples, self.size = examples, batch
        self.rng = np.random.default_rng([seed, 7])
        self.order, self.start = np.empty(0, np.int64), 0

    def rows(self, step: int) -> np.ndarray:
        """The examples [batch] of a step. Raises ValueError for a step before the last one asked for."""
        at = step * self.size - self.start
        if at < 0:
            raise ValueError(f"the examples of step {step} have gone by: steps are asked for in order")
        self.order, self.start = self.order[at:], self.start + at
        while len(self.order) < self.size:
            self.order = np.concatenate([self.order, self.rng.permutation(len(self.examples))])
        return self.order[: self.size]

    def batch(self, step: int) -> tuple[torch.Tensor, ...]:
        """Tokens, weight and, where there is one, label [batch, T]."""
        found = self.examples.take(self.rows(step))
        label = () if found.label is None else (torch.from_numpy(found.label.astype(np.float32)),)
        tokens, weight = found.tokens.astype(np.int64), found.weight.astype(np.float32)
        return torch.from_numpy(tokens), torch.from_numpy(weight), *label

    def parts(self, batch: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
        """`MICRO_BATCH` sequences of like lengths at a time, each part cut to its longest: padding costs what tokens cost."""
        length = (batch[0] != PAD).sum(1)
        for some in length.argsort(stable=True).split(MICRO_BATCH):
            yield tuple(t[some, : int(length[some].max())] for t in batch)

    def chunk(self, step: int) -> np.ndarray:
        """The examples [CHUNK, batch] of the `CHUNK` steps around `step`."""
        first = step // CHUNK * CHUNK
        return np.stack([self.rows(first + i).copy() for i in range(CHUNK)])

    def on_device(self, device: torch.device) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
        """All examples, whole."""
        e = self.examples
        tokens, weight = (torch.from_numpy(x).to(device) for x in (e.tokens, e.weight.astype(np.float32)))
        if e.label is None:
            return lambda rows: (tokens[rows].long(), weight[rows])
        label = torch.from_numpy(e.label.astype(np.float32)).to(device)
        return lambda rows: (tokens[rows].long(), weight[rows], label[rows])


@dataclass
class _State:
    flat: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


def fit(
    flat: torch.Tensor,
    layout: Layout,
    loss: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    examples: Examples,
    recipe: Recipe,
    dtype=torch.bfloat16,
) -> torch.Tensor:
    """Train a copy of parameters [P] on their device; examples in a new order each time round.

    loss: (parameters by name, tokens, weight[, label]) → a sum and by what it is divided. Raises
    FloatingPointError when the loss stops being a number.
    """
    state = _State(flat.clone()[None], torch.zeros_like(flat)[None], torch.zeros_like(flat)[None])

    def whole(flat: torch.Tensor, *batch: torch.Tensor):
        total, weight = loss(layout.views(flat.to(dtype)), *batch)
        return total, total[None], weight

    hyper = {"beta1": 0.9, "beta2": recipe.beta2, "decay": recipe.weight_decay, "clip": 1.0}
    work = executor(state, whole, Shuffled(examples, recipe.batch, recipe.seed), hyper)
    torch.manual_seed(recipe.seed)
    for step in range(recipe.steps):
        rates = optimiser.corrections([recipe.rate(step)], step + 1, 0.9, recipe.beta2)
        work.step(step, torch.tensor(rates))
        looked = (step + 1) % CHUNK == 0 or step + 1 == recipe.steps  # seldom: a GPU would wait for it
        if looked and not math.isfinite(mean := float(work.take_losses()) / (step % CHUNK + 1)):
            raise FloatingPointError(f"the loss is {mean} by step {step + 1}: lower the learning rate")
    return state.flat[0].detach()


def save(path: Path, tensors: dict[str, torch.Tensor], about: dict) -> None:
    """Weights in half precision with what they are and a checksum, whole or not at all (safetensors)."""
    half = {k: v.to(torch.float16).contiguous() for k, v in tensors.items()}
    write_whole(path, tensor_bytes(half, {"about": json.dumps(about, sort_keys=True)}))


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """What `save` wrote: weights as float32, and the description. Raises FileNotFoundError, StoreError if damaged."""
    tensors, metadata = read_tensors(path)
    return {k: v.float() for k, v in tensors.items()}, json.loads(metadata["about"])
