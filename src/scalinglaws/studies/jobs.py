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
    """A named step of a study; `make` leaves its pieces on the artefacts."""

    name: str
    make: Callable[[], object]


def work_off(todo: list[Job], artefacts: ArtefactStore, say: Callable[[str], None] = print) -> ArtefactStore:
    """Make whatever is not made and not being made elsewhere; returns the artefacts."""
    tidy(artefacts.folder)
    finished: set[str] = set()
    while len(finished) < len(todo):
        before = len(finished)
        for job in todo:
            if job.name in finished:
                continue
            with _claimed(artefacts, job.name) as mine:
                if mine:
                    started = time.monotonic()
                    job.make()
                    finished.add(job.name)
                    if (took := time.monotonic() - started) > 0.5:
                        say(f"{job.name}: {took:.0f} s")
        if len(finished) == before:
            time.sleep(1.0)  # others hold what is left
    return artefacts


def price(todo: list[Job], artefacts: ArtefactStore) -> str:
    """What a study's jobs would take, in a line: hours as they were measured when its stored pieces were made."""
    try:
        made = packed("pieces", artefacts.profile, artefacts.room)
        cores = " and ".join(sorted(set(made["processor"])))
        took = (
            f"{made['seconds'].sum() / 3600:.2f} hours of one core when the stored tables were made ({cores})"
        )
    except StoreError:
        took = "never measured here"
    kept = sum(p.suffix in (".parquet", ".pickle") for p in artefacts.folder.rglob("*"))
    return (
        f"{artefacts.profile}: {len(todo)} jobs, {took}; {kept} pieces are kept here and are not made again"
    )


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
        for p in processes:  # after Ctrl-C: a piece is stored whole or not at all
            p.kill()
            p.join()
    if failed := [p.exitcode for p in processes if p.exitcode]:
        raise RuntimeError(f"a process of the study ended with {failed[0]}: see its message above")


def _one_thread(parent: int, target: Callable, arguments: tuple) -> None:
    import torch

    end_with(parent)
    torch.set_num_threads(1)
    target(*arguments)
