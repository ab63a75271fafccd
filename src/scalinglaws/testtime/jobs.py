"""Jobs of a study, and processes that work them off: each job is made by one of them, and none is lost with a process."""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from .shelf import Shelf


@dataclass
class Job:
    """A named step of a study; `make` leaves its pieces on the shelf."""

    name: str
    make: Callable[[], object]


def work_off(todo: list[Job], shelf: Shelf, say: Callable[[str], None] = print) -> Shelf:
    """Make whatever is not made and not being made elsewhere; returns the shelf."""
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

    Raises RuntimeError when one failed: what was finished stays, the same call goes on.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = mp.get_context("spawn")
    processes = [
        context.Process(target=_one_thread, args=(os.getpid(), target, arguments))
        for _ in range(workers or os.cpu_count() or 1)
    ]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    if failed := [p.exitcode for p in processes if p.exitcode]:
        raise RuntimeError(f"a process of the study ended with {failed[0]}: see its message above")


def _one_thread(parent: int, target: Callable, arguments: tuple) -> None:
    import torch

    end_with(parent)
    torch.set_num_threads(1)
    target(*arguments)


def end_with(parent: int) -> None:
    """Have this process killed when its parent ends, however it ends (Linux; elsewhere nothing)."""
    if sys.platform != "linux":
        return
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before this process was bound to it
        os._exit(1)
