"""Everything a profile's study makes, as a list of jobs, and the processes that work it off."""

from __future__ import annotations

import fcntl
import multiprocessing as mp
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd

from ..lm.worker import one_thread
from .plan import Plan, load
from .shelf import KINDS, Shelf, packed
from .study import Study


@dataclass
class Job:
    """A named step of a study; `make` leaves its pieces on the shelf."""

    name: str
    make: Callable[[], object]


def jobs(profile: str, shelf: Shelf, worlds=None, seeds=None) -> list[Job]:
    """All jobs (or those of some worlds and seeds), the ones that others need first.

    Raises PlanError for a broken plan.
    """
    plans = load(profile)
    lines = [
        _line(plan, seed, shelf)
        for name, plan in plans.items()
        if not worlds or name in worlds
        for seed in plan.seeds
        if not seeds or seed in seeds
    ]
    stages = sorted({stage for line in lines for stage, _ in line})
    return [job for stage in stages for line in lines for s, job in line if s == stage]


def _line(plan: Plan, seed: int, shelf: Shelf) -> list[tuple[int, Job]]:
    """One world and seed: (stage, job). Stage 0 models, 1 labels, 2 main verifiers, 3 searches, 4 revision, 5 the rest."""
    study, at, out = Study(plan, seed, shelf), f"{plan.world} {seed}", []

    def add(stage: int, name: str, make: Callable, *arguments) -> None:
        out.append((stage, Job(f"{at} {name}", partial(make, *arguments))))

    add(0, "base", study.weights)
    add(0, "samples", study.draws)
    add(1, "labels", study.labels)
    for v in plan.verifiers.values():
        if seed in v.seeds:
            stage = 2 if v.seeds == plan.seeds else 5
            add(stage, f"verifier {v.name}", study.verifier, v.name)
            add(stage, f"scores of {v.name}", study.scores, v.name)
            add(stage, f"quality of {v.name}", study.quality, v.name)
    for entry in plan.searches:
        if seed in entry.get("seeds", plan.seeds):
            for verifier, N in product(entry["verifiers"], entry["budgets"]):
                stage = 3 if plan.verifiers[verifier].seeds == plan.seeds and "seeds" not in entry else 5
                add(
                    stage,
                    f"{entry['method']} {N} with {verifier}",
                    study.searched,
                    entry["method"],
                    verifier,
                    N,
                )
    for keep, N, seeds in plan.revision.get("chains", []):
        if seed in seeds:
            add(4, f"reviser {keep}", study.revision_weights, keep)
            add(4, f"revisions {keep} {N}", study.chains, keep, N)
    for name, seeds in plan.proposer_seeds.items():
        if name != "base" and seed in seeds:
            add(5, name, study.weights, name)
            add(5, f"{name} samples", _other, study, name)
    return out


def _other(study: Study, name: str) -> None:
    """Another proposer: its samples, and where it writes steps their scores by the base's main verifier."""
    study.draws(name)
    judge = study.plan.labels.get("judge")
    if judge and not name.startswith("answer"):
        study.scores(judge, name)
        study.quality(judge, name)


def work(
    profile: str, folder: Path | None = None, worlds=None, seeds=None, say: Callable[[str], None] = print
) -> Shelf:
    """Make whatever is not made and not being made elsewhere; returns the shelf."""
    shelf, finished = Shelf(profile, folder), set()
    todo = jobs(profile, shelf, worlds, seeds)
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


def _worker(profile: str, folder: Path | None, worlds) -> None:
    import torch

    torch.set_num_threads(1)
    work(profile, folder, worlds)


def run(profile: str, workers: int | None = None, folder: Path | None = None, worlds=None) -> None:
    """Work off a profile with several processes of one thread each, then pack the tables into data/testtime.

    Raises PlanError for a broken plan, RuntimeError when a process failed: what was finished stays, the same call goes on.
    """
    load(profile)  # a broken plan is told before any process is started
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = mp.get_context("spawn")
    processes = [
        context.Process(target=_worker, args=(profile, folder, worlds))
        for _ in range(workers or os.cpu_count() or 1)
    ]
    for p in processes:
        p.start()
    for p in processes:
        p.join()
    if failed := [p.exitcode for p in processes if p.exitcode]:
        raise RuntimeError(f"a process of the study ended with {failed[0]}: see its message above")
    work(profile, folder, worlds).pack()


def tables(profile: str) -> dict[str, pd.DataFrame]:
    """A study's tables by kind, as a chapter wants them.

    "smoke" makes them now, in this process, on one thread; the others read what is committed.
    Raises StoreError with the remedy where nothing is.
    """
    if profile != "smoke":
        return {kind: packed(kind, profile) for kind in (*KINDS, "pieces")}
    with one_thread():
        shelf = work(profile, say=lambda text: None)
    found = {kind: shelf.whole(kind) for kind in KINDS}
    return found | {"pieces": shelf.notes()}
