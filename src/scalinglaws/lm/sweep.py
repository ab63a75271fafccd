"""Sweeps: train what a study still lacks, on the processes of this machine."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

import pandas as pd

from ..paths import root
from ..processes import one_thread
from ..provenance import code_digest
from ..store import check_writable
from . import cost
from .config import Run
from .store import COLUMNS, Store, StoreError, load_runs
from .study import load as load_study
from .worker import ENVIRONMENT, serve, train_runs

REPLICAS = 16
"""Most models trained as one program on a GPU."""
GPU_WORKERS = 4
"""Processes on one GPU: while one compiles, evaluates or starts, the others train."""


@dataclass
class Job:
    """Runs trained together (one on a CPU), their cost in seconds, whether to compile."""

    runs: list[Run]
    seconds: float
    compiled: bool = False

    @property
    def key(self) -> tuple:
        return cost.shape_key(self.runs[0])


@dataclass
class Outcome:
    """What a sweep did: hashes trained, failures by hash, whether it was interrupted, the one fatal error."""

    trained: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    fatal: str = ""


def pending(runs, store: Store) -> list[Run]:
    """The runs that the store does not have yet. Clears away what killed processes left."""
    store.tidy()
    done = store.done()
    return [r for r in runs if r.hash not in done]


def jobs(runs: list[Run], rate: dict, device: str = "cpu", study=None) -> list[Job]:
    """Group runs into jobs, same shapes together, the longest shape first.

    On a GPU up to REPLICAS runs that differ only in learning rate and seed are one job. A shape
    is compiled if its runs in the whole `study` (default: in `runs`) take more than
    `cost.COMPILE_FROM`, so that a resumed sweep trains as an undisturbed one would have.
    """
    groups: dict[tuple, list[Run]] = {}
    for i, run in enumerate(runs):
        stack = device != "cpu" and not run.patience and run.architecture != "lstm"
        groups.setdefault((run.with_(learning_rate=1.0, seed=0) if stack else i,), []).append(run)
    result = []
    for group in groups.values():
        for at in range(0, len(group), REPLICAS):
            part = group[at : at + REPLICAS]
            result.append(Job(part, sum(cost.seconds(r, rate) for r in part)))
    by_key: dict = defaultdict(float)
    for job in result:
        by_key[job.key] += job.seconds
    whole: dict = defaultdict(float)
    for run in runs if study is None else study:
        if cost.shape_key(run) in rate:
            whole[cost.shape_key(run)] += cost.seconds(run, rate)
    for job in result:
        job.compiled = whole[job.key] > cost.COMPILE_FROM
    return sorted(result, key=lambda j: (-by_key[j.key], str(j.key), -j.seconds))


def obtain(study: str, profile: str = "cpu", workers: int | None = None) -> pd.DataFrame:
    """A study's runs as a chapter wants them, one row each (columns as in `store.COLUMNS`).

    "cpu" reads the committed table. "gpu" does too where there is one (unless SCALINGLAWS_RETRAIN
    is set) and trains what it lacks, on a GPU if there is one; "smoke" trains the study's toy
    runs in this process. Both keep what is finished under _build/runs.
    Raises StoreError or StudyError with the remedy, RuntimeError if runs are missing in the end.
    """
    asked = load_study(study, profile)
    wanted = {r.hash for r in asked.runs}
    table = _committed(study, profile)
    if profile == "cpu" or wanted <= set(table["hash"]):
        return _complete(table[table["hash"].isin(wanted)], wanted, study)
    # toys are known by the code that trained them too: a smoke build never shows what older code did
    folder = root() / "_build" / "runs"
    store = Store(study, profile, folder / code_digest("lm.sweep") if profile == "smoke" else folder)
    todo = pending([r for r in asked.runs if r.hash not in set(table["hash"])], store)
    if profile == "smoke":
        with one_thread():
            for run in todo:
                train_runs([run], store)
    elif todo:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        rate = cost.rates(todo, store.table(), measure=lambda r: cost.seconds_per_token(r, device))
        size = workers or (GPU_WORKERS if device == "cuda" else os.cpu_count() or 1)
        outcome = sweep(jobs(todo, rate, device), store, size, device)
        if outcome.fatal or outcome.failed:
            raise RuntimeError(outcome.fatal or f"runs failed twice: {outcome.failed}")
    table = pd.concat([t for t in (table, store.table()) if len(t)], ignore_index=True)
    return _complete(table[table["hash"].isin(wanted)].drop_duplicates("hash"), wanted, study)


def _committed(study: str, profile: str) -> pd.DataFrame:
    """The committed table; empty where there is none, or it is not wanted, and the profile can train."""
    if profile == "smoke" or (profile == "gpu" and os.environ.get("SCALINGLAWS_RETRAIN")):
        return pd.DataFrame(columns=COLUMNS)
    try:
        return load_runs(study, profile)
    except StoreError:
        if profile == "cpu":
            raise
        return pd.DataFrame(columns=COLUMNS)


def _complete(table: pd.DataFrame, wanted: set[str], study: str) -> pd.DataFrame:
    if missing := len(wanted - set(table["hash"])):
        raise RuntimeError(
            f"{study}: {missing} of {len(wanted)} runs are missing; train them with `make sweep`"
        )
    return table.reset_index(drop=True)


def train_now(runs: list[Run]) -> pd.DataFrame:
    """Train a few runs in this process, for a live demonstration; their fields and results, a row each."""
    from .train import Trainer

    rows = []
    with one_thread():
        for run in runs:
            (result,) = Trainer([run]).train()
            rows.append({"hash": run.hash} | run.to_dict() | result)
    return pd.DataFrame(rows)


@contextmanager
def _one_interrupt():
    """SIGINT and SIGTERM raise KeyboardInterrupt once; after that nothing disturbs the checkpoints.

    Batch systems and terminals often send a signal twice. Where SIGINT is ignored (nohup), it stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    mine = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]

    def interrupt(number, frame):
        for n in mine:
            signal.signal(n, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(n, interrupt) for n in mine]
    try:
        yield
    finally:
        for n, handler in zip(mine, before, strict=True):
            signal.signal(n, handler)


class _Worker:
    def __init__(self, store: Store, device: str):
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, store, device), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Any = None  # a `Job` while it works on one
        self.key: tuple | None = None
        self.share = 0.0

    def give(self, job: Job) -> None:
        self.job, self.key, self.share = job, job.key, 0.0
        self.pipe.send(([r.to_dict() for r in job.runs], job.compiled))


def sweep(todo: list[Job], store: Store, workers: int = 1, device: str = "cpu", bar=None) -> Outcome:
    """Train the jobs on `workers` processes and store each finished run.

    A run that fails is tried once more, then reported in `Outcome.failed`; a killed worker is
    replaced. A full disk or missing data ends the sweep (`Outcome.fatal`). Ctrl-C checkpoints
    what is in flight and returns with `interrupted`. `bar` is a tqdm bar counting seconds of work.
    """
    check_writable(store.loose)  # before the first run, not after
    return _Sweep(todo, store, workers, device, bar).run()


class _Sweep:
    def __init__(self, todo, store, workers, device, bar):
        self.queue, self.store, self.device, self.bar = list(todo), store, device, bar
        self.size = max(1, min(workers, len(todo)))
        self.workers: list[_Worker] = []
        self.outcome = Outcome()
        self.attempts: Counter = Counter()
        self.finished = 0.0

    def run(self) -> Outcome:
        """The loop: hand out, listen, replace, until nothing is left."""
        kept = {k: os.environ.get(k) for k in ENVIRONMENT}
        os.environ.update(ENVIRONMENT)  # the workers inherit it
        with _one_interrupt():
            try:
                while (self.queue or self._busy()) and not self.outcome.fatal:
                    self._hand_out()
                    self._listen()
            except KeyboardInterrupt:
                self.outcome.interrupted = True
            finally:
                self._close()
                for name, value in kept.items():
                    os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        return self.outcome

    def _busy(self) -> list[_Worker]:
        return [w for w in self.workers if w.job]

    def _hand_out(self) -> None:
        while self.queue and len(self.workers) < self.size:
            self.workers.append(_Worker(self.store, self.device))
        for worker in [w for w in self.workers if w.job is None]:
            if not self.queue:
                return
            job = self.queue.pop(self._choice(worker))
            try:
                worker.give(job)
            except OSError:  # killed while it had nothing to do: nothing is lost
                self.workers.remove(worker)
                self.queue.append(job)

    def _choice(self, worker: _Worker) -> int:
        """A job of the worker's last shape, else of a shape no other worker is on, else the first."""
        taken = {w.key for w in self.workers if w is not worker}
        for i, job in enumerate(self.queue):
            if job.key == worker.key:
                return i
        return next((i for i, job in enumerate(self.queue) if job.key not in taken), 0)

    def _listen(self) -> None:
        pipes: dict[Any, _Worker] = {w.pipe: w for w in self._busy()}
        pipe: Any
        for pipe in wait(list(pipes), timeout=0.5):
            worker = pipes[pipe]
            try:
                kind, *content = pipe.recv()
            except (EOFError, ConnectionResetError):
                worker.process.join(5)
                self.workers.remove(worker)
                self._failed(worker.job, f"its process died with exit code {worker.process.exitcode}")
                continue
            if kind == "progress":
                worker.share = content[0]
            elif kind == "done":
                self._done(worker, content[0])
            else:
                job, worker.job = worker.job, None
                text, fatal = content
                if fatal:
                    self.outcome.fatal = text
                else:
                    self._failed(job, text)
        if self.bar is not None:
            now = self.finished + sum(w.share * w.job.seconds for w in self._busy())
            self.bar.update(max(0.0, now - self.bar.n))

    def _done(self, worker: _Worker, hashes: list[str]) -> None:
        job, worker.job = worker.job, None
        self.finished += job.seconds
        self.outcome.trained += hashes
        others = [r for r in job.runs if r.hash not in hashes and not self.store.path(r.hash).exists()]
        if others:  # another sweep is on them: look again later, in case it dies
            time.sleep(0.2)
            self.queue.append(Job(others, 0.0, job.compiled))

    def _failed(self, job: Job, text: str) -> None:
        hash = job.runs[0].hash
        self.attempts[hash] += 1
        if self.attempts[hash] < 2:
            self.queue.append(job)
        else:
            self.outcome.failed |= {r.hash: text for r in job.runs}
            self.finished += job.seconds

    def _close(self) -> None:
        for worker in self.workers:
            try:
                worker.pipe.send("stop")
                worker.pipe.close()
            except (OSError, ValueError):
                continue
        for worker in self.workers:
            worker.process.join(20)
            if worker.process.is_alive():
                worker.process.kill()
