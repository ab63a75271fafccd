"""Train runs and store them: what a sweep's worker does, on this machine or in a Slurm job."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

from ..datasets import DataError
from ..provenance import commit, gpu, hardware, packages
from .config import Run
from .store import Store, StoreError

CHECKPOINT_SECONDS = float(os.environ.get("SCALINGLAWS_CHECKPOINT_SECONDS", "60"))
"""Seconds between checkpoints of a run."""
LISTEN_SECONDS = 0.2
"""How often a training worker looks at its pipe."""
ENVIRONMENT = {
    # One thread a process: several processes use the cores better than one small model does.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Keep freed memory: activations of the same sizes come back at every step.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
}


class Stop(Exception):
    """Raised by a tick to end training now; the state is checkpointed first."""


def train_runs(
    runs: list[Run],
    store: Store,
    device: str = "cpu",
    compiled: bool = False,
    tick: Callable = lambda trainer: None,
) -> list[str]:
    """Train those of `runs` (replicas of one shape) that are neither done nor held elsewhere; store each.

    Resumes from a checkpoint and writes one every minute. Returns the hashes trained. Raises
    `Stop` from `tick` after a checkpoint, StoreError when the disk is full.
    """
    with ExitStack() as stack:
        mine = [r for r in runs if stack.enter_context(store.claim(r.hash))]
        if not mine:
            return []
        return _train(mine, store, device, compiled, tick)


def _train(runs: list[Run], store: Store, device: str, compiled: bool, tick: Callable) -> list[str]:
    import torch

    from . import checkpoint
    from .train import Trainer

    trainer = Trainer(runs, device, compiled)
    path = store.loose / f"{runs[0].hash}-{len(runs)}.ckpt"
    if path.exists():
        try:
            checkpoint.load(trainer, path)
        except checkpoint.CheckpointError as error:
            print(error, file=sys.stderr)
            path.unlink()
    saved = time.monotonic()

    def watch(trainer) -> None:
        nonlocal saved
        try:
            tick(trainer)
        except Stop:
            checkpoint.save(trainer, path)
            raise
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            checkpoint.save(trainer, path)
            saved = time.monotonic()

    results = trainer.train(watch)
    facts = {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": hardware()["processor"],
        "gpu": (gpu() or "") if device != "cpu" else "",
        "torch": packages().get("torch", torch.__version__),
        "replicas": len(runs),
        "compiled": compiled,
    }
    for run, result in zip(runs, results, strict=True):
        store.put(run, result, facts)
    path.unlink(missing_ok=True)
    if device != "cpu":
        del trainer
        gc.collect()  # trainer and executor hold each other, and with them the graph's memory
    return [r.hash for r in runs]


def serve(connection, store: Store, device: str) -> None:
    """A worker process: receive jobs, answer with progress and outcome, until told to stop or left alone.

    Messages out: ("progress", share done of the job), ("done", hashes), ("failed", text, fatal).
    """
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    stopping = _Stopping()
    signal.signal(signal.SIGTERM, stopping.set)
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        while True:
            message = connection.recv()
            if message == "stop":
                return
            runs, compiled = message
            stopping.training = True
            try:
                done = train_runs(
                    [Run.from_dict(r) for r in runs], store, device, compiled, _ticker(connection, stopping)
                )
                connection.send(("done", done))
            except Stop:
                return
            except (BrokenPipeError, EOFError):
                return
            except (StoreError, DataError) as error:  # no other run would fare better
                connection.send(("failed", str(error), True))
            except Exception as error:
                connection.send(("failed", f"{type(error).__name__}: {error}", False))
            stopping.training = False
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class _Stopping:
    """A worker's answer to SIGTERM: end at once when idle, after a checkpoint when training."""

    asked = training = False

    def set(self, number, frame) -> None:
        if not self.training:
            raise SystemExit(143)
        self.asked = True


def _ticker(connection, stopping: _Stopping) -> Callable:
    last = time.monotonic()

    def tick(trainer) -> None:
        nonlocal last
        if time.monotonic() - last < LISTEN_SECONDS:
            return
        last = time.monotonic()
        from .schedule import planned_steps

        try:
            if stopping.asked or connection.poll():  # "stop", or the parent's end of the pipe is gone
                raise Stop
            connection.send(("progress", trainer.steps_done / planned_steps(trainer.run)))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise Stop from None

    return tick
