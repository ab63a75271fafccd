"""Checkpoints: tensors as safetensors with the progress as JSON; exact on the same device, never unpickled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from .train import Curves, Trainer

STATE = ("flat", "first", "second")


class CheckpointError(Exception):
    """A checkpoint that cannot be used: truncated, damaged or of another run."""


def save(trainer: Trainer, path: Path) -> None:
    """Write the trainer's state, whole or not at all: under a temporary name, synced, then renamed.

    Raises OSError where the disk is full; the older checkpoint then still stands.
    """
    from safetensors.torch import save as encode

    tensors = {k: getattr(trainer, k).cpu() for k in STATE}
    tensors |= {f"trunk.{k}": v.cpu() for k, v in trainer.trunk.items()}
    tensors["bucket_loss"] = trainer.bucket_loss + trainer._executor.losses.cpu()
    metadata = {"progress": json.dumps(trainer.progress()), "runs": _names(trainer)}
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        with partial.open("wb") as handle:
            handle.write(encode(tensors, metadata))
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load(trainer: Trainer, path: Path) -> None:
    """Put the trainer where `path` left off. Raises CheckpointError, the trainer untouched, if it cannot."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {k: handle.get_tensor(k) for k in handle.keys()}  # noqa: SIM118 - not a dict
        progress = json.loads(metadata["progress"])
        curves = [Curves(**c) for c in progress["curves"]]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): training starts over"
        ) from None
    if metadata.get("runs") != _names(trainer) or tensors["flat"].shape != trainer.flat.shape:
        raise CheckpointError(f"{path} belongs to another run: training starts over")
    for k in STATE:
        getattr(trainer, k).copy_(tensors[k])
    trainer.trunk = {k: tensors[f"trunk.{k}"].to(trainer.device) for k in STATE if f"trunk.{k}" in tensors}
    trainer.bucket_loss = tensors["bucket_loss"].to(torch.float64)
    trainer.curves = curves
    for k in ("segment", "step", "steps_done", "bucket_start", "seconds"):
        setattr(trainer, k, progress[k])


def _names(trainer: Trainer) -> str:
    return " ".join(r.hash for r in trainer.runs)
