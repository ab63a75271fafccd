"""Jobs of a study, and processes that work them off: each job is made by one of them, and none is lost with a process."""

from __future__ import annotations

import fcntl
import multiprocessing as mp
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..processes import deaf_to_interrupts, end_with
from ..store import StoreError, tidy
from .artefacts import ArtefactStore, packed


@dataclass
class Job:
    """A named step of a study; `make` leaves its artefacts in the store."""

    name: str
    make: Callable[[], object]


def work_off(
    todo: list[Job], artefacts: ArtefactStore, say: Callable[[str], None] = print, share: tuple[int, int] = (0, 1)
) -> ArtefactStore:  # fmt: skip
    """Make whatever is not made and not being made elsewhere; returns the store.

    share: (i, n) begins with the i-th of n parts of the list. A job that fails is tried once more when the others
    are done. Raises RuntimeError naming a job that failed twice, StoreError at once where nothing can be stored.
    """
    tidy(artefacts.folder)
    start = share[0] * len(todo) // share[1]
    todo = todo[start:] + todo[:start]
    finished: set[str] = set()
    failed: set[str] = set()
    while len(finished) < len(todo):
        before = len(finished), len(failed)
        for job in todo:
            if job.name in finished:
                continue
            with _claimed(artefacts, job.name) as mine:
                if mine and _made(job, failed, say, f"{len(finished) + 1} of {len(todo)}"):
                    finished.add(job.name)
        if (len(finished), len(failed)) == before:
            time.sleep(1.0)  # others hold what is left
    return artefacts


def _made(job: Job, failed: set[str], say: Callable[[str], None], place: str) -> bool:
    """Make a job; false where it failed for the first time."""
    started = time.monotonic()
    try:
        job.make()
    except StoreError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if job.name in failed:
            raise RuntimeError(f"{job.name} failed twice: {reason}") from error
        failed.add(job.name)
        say(f"{job.name} failed and is tried once more: {reason}")
        return False
    if (took := time.monotonic() - started) > 0.5:
        say(f"{place}: {job.name}, {took:.0f} s")
    return True


def price(todo: list[Job], artefacts: ArtefactStore) -> str:
    """What a study's jobs would take, in a line: hours as they were measured when its stored artefacts were made."""
    try:
        made = packed("provenance", artefacts.profile, artefacts.name)
        cores = " and ".join(sorted(set(made["processor"])))
        took = (
            f"{made['seconds'].sum() / 3600:.2f} hours of one core when the stored tables were made ({cores})"
        )
    except StoreError:
        took = "never measured here"
    kept = sum(p.suffix in (".parquet", ".pickle") for p in artefacts.folder.rglob("*"))
    return f"{artefacts.profile}: {len(todo)} jobs, {took}; {kept} artefacts are kept here and are not made again"


class _claimed:
    """Hold a job; false if another process does. The kernel frees it, however the process ends."""

    def __init__(self, artefacts: ArtefactStore, name: str):
        self.path = artefacts.folder / "jobs" / f"{name.replace(' ', '_')}.lock"

    def __enter__(self) -> bool:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.handle = self.path.open("w")
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __exit__(self, *_) -> None:
        self.handle.close()


def in_processes(target: Callable, arguments: tuple, workers: int | None) -> None:
    """`target(*arguments)` in several processes of one thread each (default: one a core).

    Raises RuntimeError when one failed, KeyboardInterrupt after Ctrl-C, which ends them: what was finished stays,
    the same call goes on.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = mp.get_context("spawn")
    processes = [
        context.Process(target=_one_thread, args=(os.getpid(), target, arguments))
        for _ in range(workers or os.cpu_count() or 1)
    ]
    with deaf_to_interrupts():
        for p in processes:
            p.start()
    try:
        for p in processes:
            p.join()
    finally:
        for p in processes:  # after Ctrl-C: an artefact is stored whole or not at all
            p.kill()
            p.join()
    if failed := [p.exitcode for p in processes if p.exitcode]:
        raise RuntimeError(f"a process of the study ended with {failed[0]}: see its message above")


def _one_thread(parent: int, target: Callable, arguments: tuple) -> None:
    import torch

    end_with(parent)
    torch.set_num_threads(1)
    target(*arguments)
