"""The loss of a run as one function of its flat parameters, kept for every shape so that runs share compiled code."""

from __future__ import annotations

from functools import cache

import torch

from .config import Run
from .executor import Loss
from .lstm import LSTM
from .model import Transformer, token_losses

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def build_model(run: Run, vocabulary: int, device="cpu"):
    """The model of a run: a `Transformer` or an `LSTM`."""
    return (LSTM if run.architecture == "lstm" else Transformer)(run, vocabulary, device)


@cache
def loss_function(
    architecture, n_layer, d_model, n_head, d_ffw, context, dropout, bits, experts, vocabulary, precision, compiled, device
):
    """Loss by position [R, context] of (flat, tokens) for a shape, compiled on demand; kept, so that runs of a shape share it."""
    run = Run(
        corpus="",
        architecture=architecture,
        n_layer=n_layer,
        d_model=d_model,
        n_head=n_head,
        d_ffw=d_ffw,
        context=context,
        dropout=dropout,
        experts=experts,
        tokens=1,
        learning_rate=1.0,
        evaluation_tokens=context,
    )
    model, dtype = build_model(run, vocabulary, device), DTYPES[precision]

    def loss(flat: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return token_losses(model, flat, tokens, dtype, training=True, bits=bits).mean(1)

    if not compiled or architecture == "lstm":
        return loss
    torch._dynamo.config.recompile_limit = 64  # batch sizes of one shape
    return torch.compile(loss, dynamic=False)


def loss_key(run: Run, vocabulary: int, compiled: bool, device: str) -> tuple:
    """The arguments of `loss_function` for a run: runs with one key share compiled code."""
    return (
        run.architecture,
        run.n_layer,
        run.d_model,
        run.n_head,
        run.d_ffw,
        run.context,
        run.dropout,
        run.bits,
        run.experts,
        vocabulary,
        run.precision,
        compiled,
        device,
    )


def stream_loss(run: Run, vocabulary: int, scored_from: int, compiled: bool, device: str) -> Loss:
    """The loss of streams as an executor takes it: minimised over all positions, reported over those that count."""
    by_position = loss_function(*loss_key(run, vocabulary, compiled, device))

    def loss(flat: torch.Tensor, tokens: torch.Tensor):
        losses, rows = by_position(flat, tokens), tokens.shape[1]
        return losses.mean(1).sum() * rows, losses[:, scored_from:].mean(1) * rows, rows

    return loss
