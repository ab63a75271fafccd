"""`scalinglaws study NAME`: train, sample or search what a study still lacks, here or on Slurm, and store it."""

from __future__ import annotations

import sys
from importlib import import_module

from ..paths import root
from . import UserError, need_torch, sweep

ARTEFACTS = {
    "testtime": ("testtime.pipeline", "testtime.demonstration"),
    "resampling": ("resampling.study", "resampling.demonstration"),
}
"""Studies of artefacts that depend on each other: who lists their jobs, and who stores models for the chapter. The
others are lists of runs in data/studies."""


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "study",
        help="make what a study lacks: runs, samples, searches, counts (resumable; local or Slurm)",
        description="Make what a stored study lacks. Without NAME, list the studies. What is finished is kept, and the "
        "same command goes on.",
    )
    p.add_argument("study", nargs="?", metavar="NAME", help="a study, or a YAML file of runs of your own")
    sweep.add_options(p)
    p.set_defaults(run=run)


def run(options) -> int:
    """Exit 0 when the study is complete, 1 when something failed, 130 after Ctrl-C, 2 for bad input."""
    need_torch()
    if options.study is None:
        return _list()
    if options.study in ARTEFACTS:
        return _artefacts(options, *map(_module, ARTEFACTS[options.study]))
    return sweep.run(options)


def _module(name: str):
    return import_module(f"..{name}", __package__)


def _list() -> int:
    from ..lm import study as studies

    for name in studies.names():
        loaded = studies.load(name)
        print(f"{name:<14} {len(loaded.runs):>4} runs  {loaded.question}")
    for name, (module, _) in ARTEFACTS.items():
        room = _module(module)
        print(f"{name:<14} {len(room.jobs('cpu', room.store('cpu'))):>4} jobs  {room.QUESTION}")
    return 0


def _artefacts(options, room, demonstration) -> int:
    from ..lm.store import StoreError
    from ..studies import jobs, slurm
    from ..testtime.plan import PlanError

    sweep.check_counts(options)
    if options.store or options.device:
        given = "--store" if options.store else "--device"
        raise UserError(
            f"{given} goes with studies of runs; {options.study} keeps its artefacts under _build"
        )
    try:
        store = room.store(options.profile)
        todo = room.jobs(options.profile, store)
        if options.dry_run:
            print(jobs.price(todo, store))
            return 0
        if options.on == "slurm":
            more = {k: getattr(options, k) for k in slurm.PASSED_ON}
            tasks = min(options.tasks, len(todo))
            slurm.work_off(
                room.work, options.profile, store.folder, options.study, tasks, options.minutes, more=more
            )
        room.run(options.profile, options.workers if options.on == "local" else 1)
        demonstration.publish(options.profile)
    except (PlanError, StoreError, slurm.SlurmError) as error:
        raise UserError(str(error)) from None
    except RuntimeError as error:  # a job that failed twice: all others are made
        print(f"scalinglaws study: {error}", file=sys.stderr)
        return 1
    written = sorted((root() / "data" / store.room).glob(f"*-{options.profile}.*"))
    print(
        f"{options.study} ({options.profile}): {len(todo)} jobs done, {len(written)} files in data/{store.room}"
    )
    return 0
