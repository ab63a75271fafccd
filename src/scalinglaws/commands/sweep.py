"""`scalinglaws sweep STUDY`: train what a study still lacks and store it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import UserError


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "sweep",
        help="train a study's missing runs (resumable)",
        description="Train the runs of data/studies/STUDY.yaml that the store lacks. Without STUDY, list the studies.",
    )
    p.add_argument(
        "study", nargs="?", metavar="STUDY", help="a study of data/studies, or a YAML file of your own"
    )
    add_options(p)
    p.set_defaults(run=run)


def add_options(p) -> None:
    """Where and how a study is made, on the command line."""
    p.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu")
    p.add_argument("--on", choices=("local", "slurm"), default="local", help="where (default: local)")
    p.add_argument(
        "--dry-run", action="store_true", help="print what is missing and what it costs, then stop"
    )
    p.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core; four on a GPU)")
    p.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda for the gpu profile, else cpu")
    p.add_argument("--store", type=Path, metavar="FOLDER", help="default: data/runs of the checkout")
    cluster = p.add_argument_group("Slurm")
    cluster.add_argument(
        "--tasks", type=int, default=8, metavar="N", help="tasks of the job array (default: 8)"
    )
    cluster.add_argument(
        "--minutes", "--time", type=int, default=240, metavar="N", help="time limit of a task (default: 240)"
    )
    for name, what in (("partition", "NAME"), ("account", "NAME"), ("qos", "NAME"), ("gres", "LIST")):
        cluster.add_argument(f"--{name}", metavar=what, help="handed on to sbatch")


def check_counts(options) -> None:
    """Raise UserError for a count below one."""
    for name in ("workers", "tasks", "minutes"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")


def run(options) -> int:
    """Exit 0 when the study is complete, 1 when runs failed, 130 after Ctrl-C, 2 for bad input."""
    try:
        import torch
    except ImportError:
        raise UserError("training needs torch: pip install torch==2.13.0, or run `make setup`") from None
    from ..datasets import DataError
    from ..lm import study as studies
    from ..lm.store import StoreError

    device = options.device or ("cuda" if options.profile == "gpu" else "cpu")
    if device == "cuda" and options.on == "local" and not torch.cuda.is_available() and options.study:
        raise UserError("no CUDA device here: --device cpu, or --profile cpu for the smaller study")
    check_counts(options)
    try:
        if options.study is None:
            return list_all()
        return _sweep(options, studies.load(options.study, options.profile), device)
    except (studies.StudyError, StoreError, DataError) as error:
        raise UserError(str(error)) from None


def list_all() -> int:
    """Print every study, what it makes and what it asks."""
    from ..lm import study as runs
    from ..studies import study as studies

    wide = max(map(len, studies.names()))
    for name in studies.names():
        if studies.of_runs(studies.read(name)[1]):
            loaded = runs.load(name)
            print(f"{name:<{wide}} {len(loaded.runs):>4} runs  {loaded.question}")
        else:
            study = studies.load(name)
            print(f"{name:<{wide}} {len(study.jobs(study.store())):>4} jobs  {study.question}")
    return 0


def _sweep(options, study, device: str) -> int:
    from tqdm import tqdm

    from ..lm import cost, sweep
    from ..lm.corpus import open_corpus
    from ..lm.store import Store

    store = Store(study.name, study.profile, options.store)
    todo = sweep.pending(study.runs, store)
    have = len(study.runs) - len(todo)
    print(f"{study.name} ({study.profile}): {len(study.runs)} runs, {have} stored, {len(todo)} to train")
    if not todo:
        return 0 if options.dry_run else _report(store, sweep.Outcome())
    for name in sorted({r.corpus for r in todo} | {r.transfer for r in todo if r.transfer}):
        open_corpus(name)
    times = [r.tokens / min(r.unique_tokens or float("inf"), open_corpus(r.corpus).tokens) for r in todo]
    if repeated := sum(t > 1.01 for t in times):
        print(
            f"repeated data: {repeated} runs read their text more than once, one of them {max(times):.1f} times"
        )
    workers = options.workers or (sweep.GPU_WORKERS if device == "cuda" else os.cpu_count() or 1)
    rate = _rates(todo, store, device)
    price = cost.total(todo, rate)
    spread = options.tasks if options.on == "slurm" else workers
    print(
        f"cost: {price.flops:.2e} FLOPs, {price.seconds / 3600:.2f} hours of one worker at the rate measured here "
        f"({price.seconds / 3600 / spread:.2f} h on {spread}), {price.bytes / 1e6:.1f} MB of disk, "
        f"{price.memory / 2**30:.1f} GiB of memory a worker"
    )
    if options.dry_run:
        return 0
    if options.on == "slurm":
        from ..lm import slurm
        from ..studies.slurm import PASSED_ON, SlurmError

        work = sweep.jobs(todo, rate, device, study.runs)
        try:
            more = {k: getattr(options, k) for k in PASSED_ON}
            outcome = slurm.sweep(work, store, device, options.tasks, options.minutes, more)
        except SlurmError as error:
            raise UserError(str(error)) from None
    else:
        _check_memory(price.memory, min(workers, len(todo)), device)
        todo = sweep.jobs(todo, rate, device, study.runs)
        form = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of work [{elapsed}<{remaining}]"
        with tqdm(total=price.seconds, desc=study.name, bar_format=form, mininterval=2, disable=None) as bar:
            outcome = sweep.sweep(todo, store, workers, device, bar)
    return _report(store, outcome)


def _check_memory(need: float, workers: int, device: str) -> None:
    """Refuse, before the first run, what the machine would kill."""
    from ..provenance import hardware

    room = float(hardware()["memory_gib"]) * 2**30
    if device == "cpu" and room and need * workers > room:
        fit = int(room // need)
        remedy = f"--workers {fit}" if fit else "a smaller batch, context or model, or a larger machine"
        raise UserError(
            f"the largest run takes about {need / 2**30:.1f} GiB in each of {workers} workers, and this machine has "
            f"{room / 2**30:.0f}: {remedy}"
        )


def _rates(todo, store, device: str) -> dict:
    """Seconds a token of every shape; on the CPU where a cluster's login node has no GPU."""
    import torch

    from ..lm import cost
    from ..provenance import hardware

    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: the hours below are for one CPU core")
        device = "cpu"
    known = store.table() if device == "cpu" else None
    return cost.rates(todo, known, str(hardware()["processor"]), lambda r: cost.seconds_per_token(r, device))


def _report(store, outcome) -> int:
    table = store.table()
    if len(table):
        store.pack()
    diverged = int((table["status"] == "diverged").sum())
    print(f"trained now: {len(outcome.trained)}")
    print(
        f"stored: {len(table)} runs in {store.table_path.name}"
        + (f", {diverged} of them diverged" if diverged else "")
    )
    for hash, text in outcome.failed.items():
        print(f"failed twice: {hash}: {text}", file=sys.stderr)
    if outcome.fatal:
        raise UserError(outcome.fatal)
    if outcome.interrupted:
        print("interrupted; the same command goes on where this left off", file=sys.stderr)
        return 130
    return 1 if outcome.failed else 0
