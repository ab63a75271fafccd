"""How a training step is executed: plainly on a CPU, as a captured graph on a GPU.

Both compute the same thing: the gradient of the batch, then `optimiser.adamw`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from . import optimiser
from .batches import CHUNK
from .loss import MICRO_BATCH, loss_function, loss_key

if TYPE_CHECKING:
    from .train import Trainer

WARM_UP = 3
"""Steps on a side stream before a graph is captured, as CUDA asks."""


class _Executor:
    def __init__(self, trainer: Trainer):
        self.trainer, run = trainer, trainer.run
        self.loss = loss_function(
            *loss_key(run, trainer.corpus.vocabulary, trainer.compiled, str(trainer.device))
        )
        self.hyper = {"beta1": run.beta1, "beta2": run.beta2, "decay": run.weight_decay, "clip": run.clip}
        self.scored_from = trainer.corpus.scored_from
        self.losses = torch.zeros(len(trainer.runs), dtype=torch.float64, device=trainer.device)

    def gradient(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss [R] over the positions that count in evaluation, and the gradient [R, P] of the mean over all.

        tokens [R, batch, context + 1].
        """
        flat = self.trainer.flat.detach().requires_grad_()
        micro = tokens.shape[1] if tokens.is_cuda else MICRO_BATCH
        parts = tokens.split(micro, dim=1)
        total, gradient = 0.0, None
        for part in parts:
            share = part.shape[1] / tokens.shape[1]
            by_position = self.loss(flat, part)
            (piece,) = torch.autograd.grad(by_position.mean(1).sum() * share, flat)
            gradient = piece if gradient is None else gradient.add_(piece)
            total = total + by_position.detach()[:, self.scored_from :].mean(1) * share
        return total, gradient

    def _apply(self, tokens: torch.Tensor, rates: torch.Tensor) -> None:
        t = self.trainer
        loss, gradient = self.gradient(tokens)
        optimiser.adamw(t.flat, gradient, t.first, t.second, rates, **self.hyper)
        self.losses += loss

    def take_losses(self) -> torch.Tensor:
        """Sum of the step losses [R] since the last call, on the CPU."""
        taken = self.losses.cpu().clone()
        self.losses.zero_()
        return taken


class CPU(_Executor):
    """One step after the other; micro-batches keep the activations in the cache."""

    def step(self, step: int, rates: torch.Tensor) -> None:
        """Train on the batch of `step` with `rates` [2, R]."""
        tokens = np.stack([b.batch(step) for b in self.trainer.batches])
        self._apply(torch.from_numpy(tokens), rates)


class CUDA(_Executor):
    """The whole step is captured once and replayed: small models are bound by launches, not by arithmetic.

    The corpus lies on the GPU and windows are gathered there; a step sends learning rates only,
    window starts travel once in `CHUNK` steps, losses come back where a bucket of the curve ends.
    A replay draws from the generator as it stands, so dropout is seeded step by step as on a CPU.
    """

    def __init__(self, trainer: Trainer):
        super().__init__(trainer)
        run, R, device = trainer.run, len(trainer.runs), trainer.device
        self.tokens = torch.zeros(R, run.batch, run.context + 1, dtype=torch.int64, device=device)
        self.starts = torch.zeros(R, run.batch, dtype=torch.int64, device=device)
        self.window = torch.arange(run.context + 1, device=device)
        self.rates = torch.zeros(2, R, device=device)
        self.data = self._corpora()
        self.chunk: tuple[int, torch.Tensor | None] = (-1, None)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side: torch.cuda.Stream | None = None
        self.warm = 0

    def _corpora(self) -> list[torch.Tensor]:
        """Each replica's training tokens on the GPU, one copy where they share them; none for a source."""
        copies: dict[int, torch.Tensor] = {}
        found = []
        for tokens in (b.tokens for b in self.trainer.batches):
            if tokens is None:
                return []
            if id(tokens) not in copies:
                kind = np.uint8 if tokens.dtype == np.uint8 else np.int32
                copies[id(tokens)] = torch.from_numpy(np.array(tokens, kind)).to(self.trainer.device)
            found.append(copies[id(tokens)])
        return found

    def _send(self, step: int, rates: torch.Tensor) -> None:
        index = step // CHUNK
        if self.chunk[0] != index:
            drawn = np.stack([b.chunk(step) for b in self.trainer.batches], axis=1).astype(np.int64)
            self.chunk = (index, torch.from_numpy(drawn).to(self.trainer.device))
        (self.starts if self.data else self.tokens).copy_(self.chunk[1][step % CHUNK])
        self.rates.copy_(rates, non_blocking=True)

    def _whole_step(self) -> None:
        if self.data and all(d is self.data[0] for d in self.data):
            self.tokens.copy_(self.data[0][self.starts[..., None] + self.window])
        elif self.data:
            for r, data in enumerate(self.data):
                self.tokens[r].copy_(data[self.starts[r, :, None] + self.window])
        self._apply(self.tokens, self.rates)

    def step(self, step: int, rates: torch.Tensor) -> None:
        """Train on the batch of `step` with `rates` [2, R]."""
        self._send(step, rates)
        if self.graph is not None:
            self.graph.replay()
        elif self.warm < WARM_UP:
            self.side = self.side or torch.cuda.Stream()
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                self._whole_step()
            torch.cuda.current_stream().wait_stream(self.side)
            self.warm += 1
        else:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._whole_step()
            self.graph.replay()
