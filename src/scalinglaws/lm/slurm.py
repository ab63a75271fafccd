"""Sweeps on a Slurm cluster: one job array through submitit, its tasks sharing the runs by claims.

Every task starts at its own place in the list and takes whatever nobody holds, so that a slow
node only slows itself. What is finished is read from the store: job states need accounting,
which small clusters do not have, and results would have to be unpickled.
"""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

from .config import Run
from .store import Store
from .sweep import Job, Outcome, jobs
from .worker import ENVIRONMENT, train_runs

POLL_SECONDS = 2.0
LOST_SECONDS = 60.0
"""Without a running task for so long, what is missing is reported as lost."""


def sweep(
    todo: list[Run],
    rate: dict,
    store: Store,
    device: str,
    tasks: int,
    minutes: int,
    partition: str | None = None,
    poll: float = POLL_SECONDS,
) -> Outcome:
    """Train `todo` as a job array of `tasks` tasks of at most `minutes` and wait for the store to have it.

    Ctrl-C stops waiting, not the jobs: the same command waits again, and scancel cancels them.
    """
    import submitit

    work = jobs(todo, rate, device)
    tasks = min(tasks, len(work))
    executor = submitit.AutoExecutor(folder=store.loose / "slurm", cluster="slurm")
    parameters = {
        "name": f"scalinglaws-{store.name}",
        "timeout_min": minutes,
        "cpus_per_task": 1,
        "slurm_array_parallelism": tasks,
    }
    parameters |= {"gpus_per_node": 1} if device == "cuda" else {}
    parameters |= {"slurm_partition": partition} if partition else {}
    executor.update_parameters(**parameters)
    packed = [([r.to_dict() for r in j.runs], j.compiled) for j in work]
    for hash in (r.hash for r in todo):
        _failure(store, hash).unlink(missing_ok=True)
    os.environ.update(ENVIRONMENT)
    submitted = executor.map_array(
        task, *zip(*[(packed, i, tasks, store, device) for i in range(tasks)], strict=True)
    )
    print(
        f"submitted job array {submitted[0].job_id.split('_')[0]} with {tasks} tasks; Ctrl-C stops waiting, not the jobs"
    )
    return _wait(todo, store, submitted, poll)


def _wait(todo: list[Run], store: Store, submitted: list, poll: float) -> Outcome:
    outcome, quiet = Outcome(), time.monotonic()
    try:
        while True:
            missing = [
                r for r in todo if not store.path(r.hash).exists() and not _failure(store, r.hash).exists()
            ]
            ended = all(Path(job.paths.result_pickle).exists() for job in submitted)
            if not ended or not missing:
                quiet = time.monotonic()
            if not missing or time.monotonic() - quiet > min(LOST_SECONDS, 5 * poll):
                break
            time.sleep(poll)
    except KeyboardInterrupt:
        outcome.interrupted = True
    for run in todo:
        failure = _failure(store, run.hash)
        if store.path(run.hash).exists():
            outcome.trained.append(run.hash)
        elif failure.exists():
            outcome.failed[run.hash] = failure.read_text(encoding="utf-8").splitlines()[0]
        elif not outcome.interrupted:
            outcome.failed[run.hash] = f"its task ended without it; see {store.loose / 'slurm'}"
    return outcome


def task(packed: list, index: int, tasks: int, store: Store, device: str) -> int:
    """One task of the array: train what is free, starting at its own share. Returns the number trained."""
    import torch

    torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", "1")))
    start = index * len(packed) // tasks
    trained = 0
    for runs, compiled in packed[start:] + packed[:start]:
        job = Job([Run.from_dict(r) for r in runs], 0.0, compiled)
        trained += _twice(job, store, device)
    return trained


def _twice(job: Job, store: Store, device: str) -> int:
    """Train a job, once more if it fails; the second failure is written beside the runs."""
    left = [r for r in job.runs if not store.path(r.hash).exists()]
    for attempt in (1, 2):
        try:
            return len(train_runs(left, store, device, job.compiled)) if left else 0
        except Exception as error:  # reported by the process that waits
            if attempt == 2:
                for run in left:
                    text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
                    _failure(store, run.hash).write_text(text, encoding="utf-8")
    return 0


def _failure(store: Store, hash: str) -> Path:
    return store.loose / f"{hash}.failed"
