"""What a study costs before it starts: FLOPs, hours at a measured rate, disk."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pandas as pd

from .config import Run
from .corpus import vocabulary
from .schedule import planned_steps

BYTES_A_RUN = 24_000
"""Size of a stored run, about: a row with its curves."""
COMPILE_FROM = 90.0
"""Seconds of plain training beyond which a shape is compiled (20–40 s the first time)."""
WARM_UP = 5
"""Steps before the clock starts."""


@dataclass(frozen=True)
class Cost:
    """Sum over runs: FLOPs (6·N_total·D), seconds of one worker, bytes of disk."""

    runs: int
    flops: float
    seconds: float
    bytes: int


def shape_key(run: Run) -> tuple:
    """Runs with the same key run at the same speed and share compiled code."""
    return (
        run.corpus, run.architecture, run.n_layer, run.d_model, run.n_head, run.d_ffw, run.context,
        run.dropout, run.precision, min(run.batch, 32),
    )  # fmt: skip


def seconds_per_token(run: Run, device: str = "cpu", seconds: float = 0.3) -> float:
    """Measured on a few plain training steps of this run, on one thread like a worker's."""
    import torch

    from .train import Trainer
    from .worker import one_thread

    with one_thread():
        trainer = Trainer([run], device)
        wait = torch.cuda.synchronize if device != "cpu" else lambda: None
        for _ in range(WARM_UP if device != "cpu" else 1):
            trainer._train_step()
        wait()
        started, first = time.monotonic(), trainer.steps_done
        while time.monotonic() - started < seconds or trainer.steps_done == first:
            trainer._train_step()
            wait()
        return (time.monotonic() - started) / ((trainer.steps_done - first) * run.tokens_per_step)


def rates(
    runs: list[Run], known: pd.DataFrame | None = None, processor: str = "", measure=seconds_per_token
) -> dict:
    """Seconds a token, plainly trained, by `shape_key`: from stored plain runs on this processor, else measured."""
    found: dict[tuple, float] = {}
    if known is not None and len(known):
        plain = (known["gpu"] == "") & ~known["compiled"].astype(bool)
        here = known[plain & (known["processor"] == processor) & (known["seconds"] > 5)]
        for row in here.itertuples():
            run = Run.from_dict(
                {
                    f: getattr(row, f)
                    for f in (
                        "corpus",
                        "architecture",
                        "n_layer",
                        "d_model",
                        "n_head",
                        "d_ffw",
                        "context",
                        "dropout",
                        "precision",
                        "batch",
                        "tokens",
                        "learning_rate",
                    )
                }
            )
            found[shape_key(run)] = row.seconds / (row.steps_trained * run.tokens_per_step)
    for run in runs:
        if shape_key(run) not in found:
            found[shape_key(run)] = measure(run)
    return found


def seconds(run: Run, rate: dict) -> float:
    """Seconds to train `run` on one worker, cooldown branches included."""
    return rate[shape_key(run)] * planned_steps(run) * run.tokens_per_step


def total(runs: list[Run], rate: dict) -> Cost:
    """Cost of the runs together."""
    flops = sum(r.flops(vocabulary(r.corpus), planned_steps(r) * r.tokens_per_step) for r in runs)
    return Cost(len(runs), flops, sum(seconds(r, rate) for r in runs), BYTES_A_RUN * len(runs))
