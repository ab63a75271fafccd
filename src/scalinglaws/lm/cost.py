"""What a study costs before it starts: FLOPs, hours at a measured rate, memory, disk."""

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
PRICED = 1e9
"""Bytes of a training step that a price may cost; larger runs are priced from a smaller one."""


@dataclass(frozen=True)
class Cost:
    """Sum over runs: FLOPs (6·N_total·D), seconds of one worker, bytes of disk; bytes of memory of the largest."""

    runs: int
    flops: float
    seconds: float
    bytes: int
    memory: float


def shape_key(run: Run) -> tuple:
    """Runs with the same key run at the same speed and share compiled code."""
    return (
        run.corpus, run.architecture, run.n_layer, run.d_model, run.n_head, run.d_ffw, run.context,
        run.dropout, run.bits, run.experts, run.precision, min(run.batch, 32),
    )  # fmt: skip


def memory(run: Run) -> float:
    """Bytes that training takes at its peak, in float32, measured on shapes from 6 MB to 6 GB to within a factor of 1.7.

    Nine copies of the parameters (weights, gradients, two moments, what their update and start hold for a moment)
    and, for every token of a micro-batch, 64·d_model + 8·n_head·context a layer and 12 a word of the vocabulary.
    """
    from .batches import MICRO_BATCH

    words = vocabulary(run.corpus)
    heads = run.n_head * run.context if run.architecture == "transformer" else 0
    token = run.n_layer * (64 * run.d_model + 8 * heads) + 12 * words
    return 36 * run.size(words)["N_total"] + min(run.batch, MICRO_BATCH) * run.context * token


def stand_in(run: Run) -> Run:
    """The run itself or, where a step would take more than `PRICED` bytes, the next smaller one of its kind that does not.

    The batch shrinks first, then layers, then width: seconds a FLOP change little on the way.
    """
    from .batches import MICRO_BATCH

    while memory(run) > PRICED:
        if run.batch > 1:
            run = run.with_(batch=min(run.batch, MICRO_BATCH) // 2)
        elif run.n_layer > 1:
            run = run.with_(n_layer=run.n_layer // 2)
        elif run.d_model > 2 * run.n_head:
            run = run.with_(d_model=run.d_model // (2 * run.n_head) // 2 * 2 * run.n_head)
        else:
            break
    return run


def seconds_per_token(run: Run, device: str = "cpu", seconds: float = 0.3) -> float:
    """Measured on a few plain training steps, on one thread like a worker's; in proportion to the FLOPs a token
    where a smaller run stands in for this one."""
    small, words = stand_in(run), vocabulary(run.corpus)
    return _measured(small, device, seconds) * run.flops(words, 1) / small.flops(words, 1)


def _measured(run: Run, device: str, seconds: float) -> float:
    import torch

    from ..processes import one_thread
    from .train import Trainer

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
                        "bits",
                        "experts",
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
    largest = max(map(memory, runs), default=0.0)
    return Cost(len(runs), flops, sum(seconds(r, rate) for r in runs), BYTES_A_RUN * len(runs), largest)
