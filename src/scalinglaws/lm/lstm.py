"""The LSTM that Kaplan et al. compare the transformer with (Section 3.2.1, Figure 7)."""

from __future__ import annotations

import math

import torch

from .config import Run
from .model import Layout, embed, matmul


class LSTM:
    """n_layer LSTM layers of width d_model, embeddings tied to the last layer.

    Same interface as `model.Transformer`. Each layer has two matrices [4d, d], 8·d² parameters,
    and 4·d biases, which `Run.size` leaves out as Kaplan et al. do. The forget gates' biases
    start at 1, without which an LSTM forgets half its state at each step.
    """

    def __init__(self, run: Run, vocabulary: int, device="cpu"):
        self.n_layer, self.d, self.vocabulary, self.context = (
            run.n_layer,
            run.d_model,
            vocabulary,
            run.context,
        )
        self.dropout = run.dropout
        shapes: dict[str, tuple[int, ...]] = {"embedding": (vocabulary, self.d)}
        for i in range(self.n_layer):
            shapes |= {f"{i}.input": (4 * self.d, self.d), f"{i}.hidden": (4 * self.d, self.d)}
            shapes |= {f"{i}.bias": (4 * self.d,)}
        self.layout = Layout(shapes)

    def initial(self, seed: int) -> torch.Tensor:
        """Parameters [P]: σ = .1 for the embeddings, uniform within ±1/√d for the gates."""
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for name, shape in self.layout.shapes.items():
            if name == "embedding":
                parts.append(0.1 * torch.randn(math.prod(shape), generator=generator))
            elif name.endswith("bias"):
                gate = torch.arange(4 * self.d) // self.d  # input, forget, cell, output
                parts.append((gate == 1).float())
            else:
                parts.append((2 * torch.rand(math.prod(shape), generator=generator) - 1) * self.d**-0.5)
        return torch.cat(parts)

    def logits(self, p: dict[str, torch.Tensor], tokens: torch.Tensor, training: bool = False):
        """Logits [replicas, batch, length, vocabulary]; the state starts at zero in each window."""
        R, B, T = tokens.shape
        x = embed(tokens, p["embedding"]).view(R, B, T, self.d) * self.d**0.5  # no norm restores the scale
        hidden = torch.stack([self._layers(x[r], p, r, training) for r in range(R)])
        return matmul(hidden.view(R, B * T, self.d), p["embedding"].transpose(1, 2)).view(R, B, T, -1)

    def _layers(self, x: torch.Tensor, p: dict[str, torch.Tensor], replica: int, training: bool):
        weights = []
        for i in range(self.n_layer):
            bias = p[f"{i}.bias"][replica]
            weights += [p[f"{i}.input"][replica], p[f"{i}.hidden"][replica], bias, torch.zeros_like(bias)]
        zero = x.new_zeros(self.n_layer, x.shape[0], self.d)
        return torch.lstm(x, (zero, zero), weights, True, self.n_layer, self.dropout, training, False, True)[
            0
        ]
