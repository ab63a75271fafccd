"""Checkpoints: tensors as safetensors with the progress as JSON, never unpickled.

Resuming is exact, bit for bit, on the same CPU in the same mode (compiled or not). On a GPU some
sums are formed in whatever order they come, so that not even two undisturbed runs are equal.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from ..provenance import code_digest
from .store import write_whole
from .train import Curves, Trainer

STATE = ("flat", "first", "second")


class CheckpointError(Exception):
    """A checkpoint that cannot be used: truncated, damaged, of another run, another mode or other code."""


def save(trainer: Trainer, path: Path) -> None:
    """Write the trainer's state with its sha256, whole or not at all.

    Raises StoreError where the disk is full; the older checkpoint then still stands.
    """
    from safetensors.torch import save as encode

    tensors = {k: getattr(trainer, k).cpu() for k in STATE}
    tensors |= {f"trunk.{k}": v.cpu() for k, v in trainer.trunk.items()}
    tensors["bucket_loss"] = trainer.bucket_loss + trainer._executor.losses.cpu()
    content = encode(
        tensors,
        {
            "progress": json.dumps(trainer.progress()),
            "runs": _names(trainer),
            "code": code_digest("lm.train"),
        },
    )
    write_whole(path, content + hashlib.sha256(content).digest())


def load(trainer: Trainer, path: Path) -> None:
    """Put the trainer where `path` left off. Raises CheckpointError, the trainer untouched, if it cannot."""
    from safetensors import SafetensorError
    from safetensors.torch import load as decode

    try:
        whole = path.read_bytes()
        content, digest = whole[:-32], whole[-32:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("checksum")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata, tensors = header["__metadata__"], decode(content)
        progress = json.loads(metadata["progress"])
        curves = [Curves(**c) for c in progress["curves"]]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): training starts over"
        ) from None
    if metadata.get("runs") != _names(trainer) or tensors["flat"].shape != trainer.flat.shape:
        raise CheckpointError(f"{path} belongs to another run or mode: training starts over")
    if metadata.get("code") != code_digest("lm.train"):
        raise CheckpointError(f"{path} was written by other code: training starts over")
    for k in STATE:
        getattr(trainer, k).copy_(tensors[k])
    trainer.trunk = {k: tensors[f"trunk.{k}"].to(trainer.device) for k in STATE if f"trunk.{k}" in tensors}
    trainer.bucket_loss = tensors["bucket_loss"].to(torch.float64)
    trainer.curves = curves
    for k in ("segment", "step", "steps_done", "bucket_start", "seconds"):
        setattr(trainer, k, progress[k])


def _names(trainer: Trainer) -> str:
    mode = "compiled" if trainer.compiled else "plain"
    return " ".join([mode, *(r.hash for r in trainer.runs)])
