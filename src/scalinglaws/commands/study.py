"""`scalinglaws study NAME`: train, sample or search what a study still lacks, here or on Slurm, and store it."""

from __future__ import annotations

import sys
from functools import partial

from . import UserError, need_torch, sweep


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "study",
        help="make what a study lacks: runs, samples, searches, counts (resumable; local or Slurm)",
        description="Make what a stored study lacks. Without NAME, list the studies. What is finished is kept, and the "
        "same command goes on.",
    )
    p.add_argument(
        "study", nargs="?", metavar="NAME", help="a study of data/studies, or a YAML file of your own"
    )
    sweep.add_options(p)
    p.set_defaults(run=run)


def run(options) -> int:
    """Exit 0 when the study is complete, 1 when something failed, 130 after Ctrl-C, 2 for bad input."""
    from ..studies import study as studies

    need_torch()
    try:
        if options.study is None:
            return sweep.list_all()
        if studies.of_runs(studies.read(options.study)[1]):
            return sweep.run(options)
        return _make(options, studies.load(options.study, options.profile))
    except studies.StudyError as error:
        raise UserError(str(error)) from None


def _make(options, study) -> int:
    from ..datasets import DataError
    from ..lm.store import StoreError
    from ..resampling.sandbox import NoSandbox
    from ..studies import jobs, slurm
    from ..studies.study import work
    from ..testtime.open_load import ModelError

    sweep.check_counts(options)
    if options.store or options.device:
        given = "--store" if options.store else "--device"
        raise UserError(f"{given} goes with studies of runs; {study.name} keeps its artefacts under _build")
    try:
        store = study.store()
        todo = study.jobs(store)
        if options.dry_run:
            print(jobs.price(todo, store))
            return 0
        if options.on == "slurm":
            more = {k: getattr(options, k) for k in slurm.PASSED_ON}
            tasks = min(options.tasks, len(todo))
            task = partial(work, study.source)
            slurm.work_off(task, study.profile, store.folder, study.name, tasks, options.minutes, more=more)
        written = study.run(options.workers if options.on == "local" else 1)
    except (StoreError, slurm.SlurmError, DataError, ModelError, NoSandbox) as error:
        raise UserError(str(error)) from None
    except RuntimeError as error:  # a job that failed twice: all others are made
        print(f"scalinglaws study: {error}", file=sys.stderr)
        return 1
    print(f"{study.name} ({study.profile}): {len(todo)} jobs done, {len(written)} files in data/{study.name}")
    return 0
