"""Everything a profile's study makes, as a list of jobs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd

from ..lm.worker import one_thread
from ..studies.artefacts import KINDS, ArtefactStore, packed
from ..studies.jobs import Job, in_processes, work_off
from .plan import Plan, load
from .study import Study

QUESTION = "What does computing longer at test time buy, against a larger model?"


def jobs(profile: str, artefacts: ArtefactStore, worlds=None, seeds=None) -> list[Job]:
    """All jobs (or those of some worlds and seeds), the ones that others need first.

    Raises PlanError for a broken plan.
    """
    plans = load(profile)
    lines = [
        _line(plan, seed, artefacts)
        for name, plan in plans.items()
        if not worlds or name in worlds
        for seed in plan.seeds
        if not seeds or seed in seeds
    ]
    stages = sorted({stage for line in lines for stage, _ in line})
    return [job for stage in stages for line in lines for s, job in line if s == stage]


def _line(plan: Plan, seed: int, artefacts: ArtefactStore) -> list[tuple[int, Job]]:
    """One world and seed: (stage, job). Stage 0 models, 1 labels, 2 main verifiers, 3 searches, 4 revision, 5 the rest."""
    study, at, out = Study(plan, seed, artefacts), f"{plan.world} {seed}", []

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


def store(profile: str, folder: Path | None = None) -> ArtefactStore:
    """Where a profile's artefacts are kept."""
    return ArtefactStore(profile, folder)


def work(
    profile: str,
    folder: Path | None = None,
    worlds=None,
    seeds=None,
    say: Callable[[str], None] = print,
    share: tuple[int, int] = (0, 1),
) -> ArtefactStore:
    """Make whatever is not made and not being made elsewhere; returns the store. See `jobs.work_off`."""
    artefacts = store(profile, folder)
    return work_off(jobs(profile, artefacts, worlds, seeds), artefacts, say, share)


def run(profile: str, workers: int | None = None, folder: Path | None = None, worlds=None) -> None:
    """Work off a profile with several processes of one thread each, then pack the tables into data/testtime.

    Raises PlanError for a broken plan, RuntimeError when a process failed: what was finished stays, the same call goes on.
    """
    load(profile)  # a broken plan is told before any process is started
    in_processes(work, (profile, folder, worlds), workers)
    work(profile, folder, worlds).pack()


def tables(profile: str) -> dict[str, pd.DataFrame]:
    """A study's tables by kind, as a chapter wants them.

    "smoke" makes them now, in this process, on one thread; the others read what is committed.
    Raises StoreError with the remedy where nothing is.
    """
    if profile != "smoke":
        return {kind: packed(kind, profile) for kind in (*KINDS, "pieces")}
    with one_thread():
        artefacts = work(profile, say=lambda text: None)
    found = {kind: artefacts.whole(kind) for kind in KINDS}
    return found | {"pieces": artefacts.notes()}
