"""Models rounded after training: what b bits cost, for several sizes and lengths (Kumar et al. 2024, Section 3)."""

from __future__ import annotations

from functools import partial

import pandas as pd
import torch

from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from .config import Run
from .quantise import rounded
from .study import described
from .train import Trainer


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """A job a shape, length and seed. sizes: run (as in a grid of `study`), shapes, tokens, bits, seeds."""
    return [
        Job(f"{shape} {tokens} {seed}", partial(measured, planned(sizes, shape, tokens, seed), sizes["bits"], artefacts))
        for tokens in sizes["tokens"]
        for shape in sizes["shapes"]
        for seed in range(sizes["seeds"])
    ]  # fmt: skip


def planned(sizes: dict, shape: str, tokens: int, seed: int) -> Run:
    """The run of a shape LAYERSxWIDTHxHEADS. Raises StudyError."""
    return described(sizes["run"] | {"shape": shape, "tokens": tokens, "seed": seed}, f"quantised, {shape}")


def measured(run: Run, bits: list[int], artefacts: ArtefactStore) -> pd.DataFrame:
    """A row a number of bits: the run's loss and the loss after rounding, nats per token."""
    about = {"run": run.to_dict(), "bits": list(bits)}
    return artefacts.table("rounded", about, lambda: _measured(run, bits))


def _measured(run: Run, bits: list[int]) -> pd.DataFrame:
    trainer = Trainer([run])
    (result,) = trainer.train()
    trained = trainer.flat.clone()
    facts = {"hash": run.hash, "seed": run.seed, **{k: result[k] for k in ("N", "N_total", "D", "loss")}}
    rows = []
    for b in bits:
        parts = trainer.model.layout.views(trained)
        flat = [(v if k == "embedding" else rounded(v, b)).reshape(1, -1) for k, v in parts.items()]
        trainer.flat = torch.cat(flat, dim=1)
        rows.append(facts | {"bits": b, "rounded": trainer.evaluate()[0][0]})
    return pd.DataFrame(rows)
