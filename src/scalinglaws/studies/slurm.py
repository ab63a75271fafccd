"""Job arrays on a Slurm cluster, through submitit: submitted once, then watched by squeue.

Job states need accounting, which small clusters do not have, and submitit's results would have to be
unpickled: what is finished is read from the store instead, and what still runs from squeue.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..store import write_whole

POLL_SECONDS = 2.0
SETTLE_SECONDS = 10.0
"""After the last task has gone, how long its files may take to appear on a shared file system."""
PASSED_ON = ("partition", "account", "qos", "gres")
"""Options of sbatch that a command takes and hands on as they are."""


class SlurmError(Exception):
    """Slurm is not here, refused the job array, or its tasks ended early. One line."""


def submit(
    function: Callable, arguments: Sequence[tuple], folder: Path, name: str, minutes: int, device: str = "cpu", more=None
) -> str:  # fmt: skip
    """Submit function(*arguments[i]) as task i of a job array and return the array's id; logs lie in `folder`.

    more: options of `PASSED_ON`. Raises SlurmError if nothing could be submitted.
    """
    import submitit

    given = {k: v for k, v in (more or {}).items() if v}
    parameters = {
        "name": f"scalinglaws-{name}",
        "timeout_min": minutes,
        "cpus_per_task": 1,
        "slurm_array_parallelism": len(arguments),
        "slurm_additional_parameters": given,
    }
    parameters |= {"gpus_per_node": 1} if device == "cuda" and "gres" not in given else {}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm")
        executor.update_parameters(**parameters)
        array = executor.map_array(function, *zip(*arguments, strict=True))[0].job_id.split("_")[0]
    except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
        reason = " ".join(str(error).split())
        raise SlurmError(
            f"Slurm took no job ({reason[:300]}); is this a login node, are --partition and --account right?"
        ) from None
    print(
        f"submitted job array {array} with {len(arguments)} tasks; Ctrl-C stops waiting, not the jobs",
        flush=True,
    )
    return array


def queued(array: str) -> bool:
    """Whether squeue still lists a task of the array; a controller that does not answer counts as yes."""
    try:
        found = subprocess.run(["squeue", "-h", "-j", array], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return True
    if found.returncode:
        return "Invalid job id" not in found.stderr
    return bool(found.stdout.strip())


def work_off(
    work: Callable, profile: str, folder: Path, name: str, tasks: int, minutes: int, device: str = "cpu", more=None
) -> None:  # fmt: skip
    """Have `work(profile, folder, share=(i, tasks))` done by every task of an array, and wait until one has seen the end.

    The tasks share the jobs by the store's locks, so that a slow node only slows itself. Ctrl-C stops waiting, not
    the array. Raises SlurmError where all tasks ended before all jobs were made; the same call goes on.
    """
    logs = folder / "slurm"
    logs.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    array = submit(
        _task, [(work, profile, folder, i, tasks) for i in range(tasks)], logs, name, minutes, device, more
    )
    gone = None
    while not _seen_the_end(logs, array).exists():
        gone = None if queued(array) else gone or time.monotonic()
        if gone and time.monotonic() - gone > SETTLE_SECONDS:
            raise SlurmError(
                f"the tasks of {array} ended before everything was made (a job that failed twice, time limit, memory, "
                f"scancel?): see {logs}; what is finished is kept, the same command goes on"
            )
        time.sleep(POLL_SECONDS)


def _task(work: Callable, profile: str, folder: Path, index: int, tasks: int) -> None:
    import torch

    torch.set_num_threads(int(os.environ.get("SLURM_CPUS_PER_TASK", "1")))
    work(profile, folder, share=(index, tasks))
    # submitit submits a single task as a plain job, which belongs to no array
    job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ["SLURM_JOB_ID"]
    write_whole(_seen_the_end(folder / "slurm", job), b"")


def _seen_the_end(logs: Path, array: str) -> Path:
    return logs / f"{array}.finished"
