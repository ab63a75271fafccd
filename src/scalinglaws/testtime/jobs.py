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
from .shelf import Shelf, packed


@dataclass
class Job:
    """A named step of a study; `make` leaves its pieces on the shelf."""

    name: str
    make: Callable[[], object]


def work_off(todo: list[Job], shelf: Shelf, say: Callable[[str], None] = print) -> Shelf:
    """Make whatever is not made and not being made elsewhere; returns the shelf."""
    tidy(shelf.folder)
    finished: set[str] = set()
    while len(finished) < len(todo):
        before = len(finished)
        for job in todo:
            if job.name in finished:
                continue
            with _claimed(shelf, job.name) as mine:
                if mine:
                    started = time.monotonic()
                    job.make()
                    finished.add(job.name)
                    if (took := time.monotonic() - started) > 0.5:
                        say(f"{job.name}: {took:.0f} s")
        if len(finished) == before:
            time.sleep(1.0)  # others hold what is left
    return shelf


def price(todo: list[Job], shelf: Shelf) -> str:
    """What a study's jobs would take, in a line: hours as they were measured when its stored pieces were made."""
    try:
        made = packed("pieces", shelf.profile, shelf.room)
        cores = " and ".join(sorted(set(made["processor"])))
        took = (
            f"{made['seconds'].sum() / 3600:.2f} hours of one core when the stored tables were made ({cores})"
        )
    except StoreError:
        took = "never measured here"
    kept = sum(p.suffix in (".parquet", ".pickle") for p in shelf.folder.rglob("*"))
    return f"{shelf.profile}: {len(todo)} jobs, {took}; {kept} pieces are kept here and are not made again"


class _claimed:
    """Hold a job; false if another process does. The kernel frees it, however the process ends."""

    def __init__(self, shelf: Shelf, name: str):
        self.path = shelf.folder / "jobs" / f"{name.replace(' ', '_')}.lock"

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
