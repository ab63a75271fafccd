"""Weights of few bits: rounded to the nearest of 2^b − 1 evenly spaced values, after training or in every step of it."""

from __future__ import annotations

import torch


def rounded(weights: torch.Tensor, bits: int) -> torch.Tensor:
    """Matrices [R, in, out] at `bits` bits: s·round(w/s), s = max |w| of an output channel over 2^{bits−1} − 1.

    Symmetric, so that 2 bits leave {−s, 0, s}: what Dettmers & Zettlemoyer (2023) and Kumar et al. (2024) compare.
    """
    scale = weights.abs().amax(1, keepdim=True).clamp_min(1e-12) / (2 ** (bits - 1) - 1)
    return scale * (weights / scale).round()


def straight_through(weights: torch.Tensor, bits: int) -> torch.Tensor:
    """The rounded matrices, with the gradient of those that are not (Bengio et al. 2013)."""
    return weights + (rounded(weights, bits) - weights).detach()


def in_bits(parameters: dict[str, torch.Tensor], bits: int) -> dict[str, torch.Tensor]:
    """A model's matrices straight through at `bits`; the embedding, which is the last layer too, stays as it is."""
    if not bits:
        return parameters
    return {k: v if k == "embedding" else straight_through(v, bits) for k, v in parameters.items()}
