"""AdamW on the flat buffer, each replica with its own learning rate and its own clipping."""

from __future__ import annotations

import torch


@torch.no_grad()
def adamw(
    flat: torch.Tensor,
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    rates: torch.Tensor,
    *,
    beta1: float,
    beta2: float,
    decay: float,
    clip: float,
) -> None:
    """One step in place on `flat`, `first`, `second` [R, P].

    `rates` [2, R] holds each replica's learning rate and its bias correction
    √(1 − β₂ᵗ)/(1 − β₁ᵗ). Decoupled weight decay on every parameter (Loshchilov & Hutter 2019);
    the gradient is scaled so that its norm is at most `clip`. The parameters of a replica whose
    gradient is not finite stay as they are, its moments decay.
    """
    norms = gradient.norm(dim=1)
    sound = norms.isfinite()
    scale = (clip / (norms + 1e-6)).clamp(max=1.0)
    gradient = torch.where(sound[:, None], gradient * scale[:, None], 0.0)
    first.lerp_(gradient, 1 - beta1)
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    rate = torch.where(sound, rates[0], 0.0)[:, None]
    flat.mul_(1 - rate * decay)
    flat.addcdiv_(first * (-rate * rates[1][:, None]), second.sqrt() + 1e-8)


def corrections(rates: list[float], step: int, beta1: float, beta2: float) -> list[list[float]]:
    """The `rates` argument of `adamw` at `step` = 1, 2, …: learning rates and bias corrections."""
    correction = (1 - beta2**step) ** 0.5 / (1 - beta1**step)
    return [rates, [correction] * len(rates)]
