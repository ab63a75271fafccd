"""Sweeps on a Slurm cluster: one job array through submitit, its tasks sharing the runs by claims.

Every task starts at its own place in the list and takes whatever nobody holds, so that a slow
node only slows itself.
"""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

from ..studies.slurm import POLL_SECONDS, SETTLE_SECONDS, queued, submit
from .config import Run
from .store import Store, StoreError, write_whole
from .sweep import Job, Outcome
from .worker import ENVIRONMENT, train_runs


def sweep(
    work: list[Job],
    store: Store,
    device: str,
    tasks: int,
    minutes: int,
    more: dict | None = None,
    poll: float = POLL_SECONDS,
) -> Outcome:
    """Train the jobs as a Slurm array of `tasks` tasks of at most `minutes` and wait for the store to have them.

    Ctrl-C stops waiting, not the array (scancel does that). The same command submits a second
    array, whose tasks wait for what the first still holds. Raises SlurmError if nothing could be
    submitted. more: options of sbatch (`studies.slurm.PASSED_ON`).
    """
    runs = [r for job in work for r in job.runs]
    tasks = min(tasks, len(work))
    for run in runs:
        _failure(store, run.hash).unlink(missing_ok=True)
    os.environ.update(ENVIRONMENT)
    packed = [([r.to_dict() for r in j.runs], j.compiled) for j in work]
    arguments = [(packed, i, tasks, store, device) for i in range(tasks)]
    array = submit(task, arguments, store.loose / "slurm", store.name, minutes, device, more)
    return _wait(runs, store, array, poll)


def _wait(runs: list[Run], store: Store, array: str, poll: float) -> Outcome:
    outcome, gone = Outcome(), None
    try:
        while True:
            missing = [r for r in runs if not _ended(store, r.hash)]
            if not missing or (gone and time.monotonic() - gone > SETTLE_SECONDS):
                break
            gone = None if queued(array) else gone or time.monotonic()
            time.sleep(poll)
    except KeyboardInterrupt:
        outcome.interrupted = True
    for run in runs:
        failure = _failure(store, run.hash)
        if store.path(run.hash).exists():
            outcome.trained.append(run.hash)
        elif failure.exists():
            outcome.failed[run.hash] = failure.read_text(encoding="utf-8").split("\n", 1)[0]
        elif not outcome.interrupted:
            outcome.failed[run.hash] = (
                f"its task ended without it (time limit, memory, scancel?); see {store.loose / 'slurm'}"
            )
    return outcome


def task(packed: list, index: int, tasks: int, store: Store, device: str, poll: float = POLL_SECONDS) -> int:
    """One task of the array: train what is free, starting at its own share, until nothing is left.

    A run that another task or array holds is looked at again: its holder may die. Returns the
    number trained.
    """
    import torch

    torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", "1")))
    start = index * len(packed) // tasks
    trained = 0
    left = [
        ([Run.from_dict(r) for r in runs], compiled) for runs, compiled in packed[start:] + packed[:start]
    ]
    while left:
        for runs, compiled in left:
            trained += _twice([r for r in runs if not _ended(store, r.hash)], compiled, store, device)
        left = [(runs, c) for runs, c in left if not all(_ended(store, r.hash) for r in runs)]
        if left:
            time.sleep(poll)
    return trained


def _twice(runs: list[Run], compiled: bool, store: Store, device: str) -> int:
    """Train runs, once more if that fails; the second failure is written beside the runs."""
    from submitit.core.utils import UncompletedJobError

    for attempt in (1, 2):
        try:
            return len(train_runs(runs, store, device, compiled)) if runs else 0
        except (UncompletedJobError, StoreError):  # the time is up, the disk is full: no second try
            raise
        except Exception as error:
            if attempt == 2:
                for run in runs:
                    text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
                    write_whole(_failure(store, run.hash), text.encode())
    return 0


def _ended(store: Store, hash: str) -> bool:
    return store.path(hash).exists() or _failure(store, hash).exists()


def _failure(store: Store, hash: str) -> Path:
    return store.loose / f"{hash}.failed"
