"""How a training step is executed: plainly on a CPU, as a captured graph on a GPU.

Both compute the same thing for whatever is trained, streams, replicas or examples: the gradient of the batch,
then `optimiser.adamw`. What is learnt is the loss, where the batches come from the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch

from . import optimiser

CHUNK = 64
"""Steps whose batches are chosen, and sent to a GPU, at a time."""
WARM_UP = 3
"""Steps on a side stream before a graph is captured, as CUDA asks."""

Loss = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]]
"""(flat [R, P], *batch) → a sum to be minimised, what is reported of each replica [R], and by what both are divided."""


class State(Protocol):
    """What is trained: parameters and AdamW's moments [R, P]."""

    flat: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


class Feed(Protocol):
    """Where the batches come from; a batch is a tuple of tensors."""

    def batch(self, step: int) -> tuple[torch.Tensor, ...]:
        """The batch of a step, on the CPU."""

    def parts(self, batch: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
        """The batch in parts whose activations stay in a processor's cache; their losses add up to the batch's."""

    def chunk(self, step: int) -> np.ndarray:
        """What chooses the batches of the CHUNK steps around `step`: whole numbers [CHUNK, …]."""

    def on_device(self, device: torch.device) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
        """Send the data once; returns the batch on the device as a function of a step's row of `chunk`."""


class _Executor:
    def __init__(self, state: State, loss: Loss, feed: Feed, hyper: dict[str, float]):
        self.state, self.loss, self.feed, self.hyper = state, loss, feed, hyper
        self.losses = torch.zeros(len(state.flat), dtype=torch.float64, device=state.flat.device)

    def gradient(self, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is reported of the batch [R], and the gradient [R, P] of its loss."""
        flat = self.state.flat.detach().requires_grad_()
        reported: Any = 0.0
        weight: Any = 0.0
        gradient: Any = None
        for part in (batch,) if flat.is_cuda else self.feed.parts(batch):
            objective, told, share = self.loss(flat, *part)
            (piece,) = torch.autograd.grad(objective, flat)
            gradient = piece if gradient is None else gradient.add_(piece)
            reported, weight = reported + told.detach(), weight + share
        return reported / weight, gradient.div_(weight)

    def _apply(self, batch: tuple[torch.Tensor, ...], rates: torch.Tensor) -> None:
        s = self.state
        loss, gradient = self.gradient(*batch)
        optimiser.adamw(s.flat, gradient, s.first, s.second, rates, **self.hyper)
        self.losses += loss

    def take_losses(self) -> torch.Tensor:
        """Sum of the step losses [R] since the last call, on the CPU."""
        taken = self.losses.cpu().clone()
        self.losses.zero_()
        return taken


class CPU(_Executor):
    """One step after the other, each in parts."""

    def step(self, step: int, rates: torch.Tensor) -> None:
        """Train on the batch of `step` with `rates` [2, R]."""
        self._apply(self.feed.batch(step), rates)


class CUDA(_Executor):
    """The whole step is captured once and replayed: small models are bound by launches, not by arithmetic.

    The data lie on the GPU and batches are gathered there; a step sends learning rates only, what
    chooses the batches travels once in `CHUNK` steps, losses come back where somebody asks for them.
    A replay draws from the generator as it stands, so dropout is seeded step by step as on a CPU.
    """

    def __init__(self, state: State, loss: Loss, feed: Feed, hyper: dict[str, float]):
        super().__init__(state, loss, feed, hyper)
        self.device = state.flat.device
        self.rates = torch.zeros(2, len(state.flat), device=self.device)
        self.gather = feed.on_device(self.device)
        self.chosen: Any = None
        self.chunk: tuple[int, Any] = (-1, None)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side: torch.cuda.Stream | None = None
        self.warm = 0

    def _send(self, step: int, rates: torch.Tensor) -> None:
        index = step // CHUNK
        if self.chunk[0] != index:
            drawn = torch.from_numpy(self.feed.chunk(step).astype(np.int64))
            self.chunk = (index, drawn.to(self.device))
        row = self.chunk[1][step % CHUNK]
        if self.chosen is None:
            self.chosen = torch.empty_like(row)
        self.chosen.copy_(row)
        self.rates.copy_(rates, non_blocking=True)

    def _whole_step(self) -> None:
        self._apply(self.gather(self.chosen), self.rates)

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


def executor(state: State, loss: Loss, feed: Feed, hyper: dict[str, float]) -> CPU | CUDA:
    """The executor for the device the state lies on."""
    return (CUDA if state.flat.is_cuda else CPU)(state, loss, feed, hyper)
