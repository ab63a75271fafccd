"""Everything a profile's study makes, as a list of jobs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd

from ..studies import study
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from . import demonstration
from .plan import Plan, plans
from .study import Study


def jobs(sizes: dict, artefacts: ArtefactStore, worlds=None, seeds=None) -> list[Job]:
    """All jobs (or those of some worlds and seeds), the ones that others need first.

    Raises StudyError for sizes that cannot be.
    """
    lines = [
        _line(plan, seed, artefacts)
        for name, plan in plans(sizes).items()
        if not worlds or name in worlds
        for seed in plan.seeds
        if not seeds or seed in seeds
    ]
    stages = sorted({stage for line in lines for stage, _ in line})
    return [job for stage in stages for line in lines for s, job in line if s == stage]


def _line(plan: Plan, seed: int, artefacts: ArtefactStore) -> list[tuple[int, Job]]:
    """One world and seed: (stage, job). Stage 0 models, 1 labels, 2 main verifiers, 3 searches, 4 revision, 5 the rest."""
    own, at, out = Study(plan, seed, artefacts), f"{plan.world} {seed}", []

    def add(stage: int, name: str, make: Callable, *arguments) -> None:
        out.append((stage, Job(f"{at} {name}", partial(make, *arguments))))

    add(0, "base", own.weights)
    add(0, "samples", own.draws)
    add(1, "labels", own.labels)
    for v in plan.verifiers.values():
        if seed in v.seeds:
            stage = 2 if v.seeds == plan.seeds else 5
            add(stage, f"verifier {v.name}", own.verifier, v.name)
            add(stage, f"scores of {v.name}", own.scores, v.name)
            add(stage, f"quality of {v.name}", own.quality, v.name)
    for entry in plan.searches:
        if seed in entry.get("seeds", plan.seeds):
            for verifier, N in product(entry["verifiers"], entry["budgets"]):
                stage = 3 if plan.verifiers[verifier].seeds == plan.seeds and "seeds" not in entry else 5
                add(
                    stage,
                    f"{entry['method']} {N} with {verifier}",
                    own.searched,
                    entry["method"],
                    verifier,
                    N,
                )
    for keep, N, seeds in plan.revision.get("chains", []):
        if seed in seeds:
            add(4, f"reviser {keep}", own.revision_weights, keep)
            add(4, f"revisions {keep} {N}", own.chains, keep, N)
    for name, seeds in plan.proposer_seeds.items():
        if name != "base" and seed in seeds:
            add(5, name, own.weights, name)
            add(5, f"{name} samples", _other, own, name)
    return out


def _other(own: Study, name: str) -> None:
    """Another proposer: its samples, and where it writes steps their scores by the base's main verifier."""
    own.draws(name)
    judge = own.plan.labels.get("judge")
    if judge and not name.startswith("answer"):
        own.scores(judge, name)
        own.quality(judge, name)


def publish(profile: str) -> Path:
    """Store the models that the chapter searches with; see `demonstration.publish`."""
    return demonstration.publish(profile)


def tables(profile: str) -> dict[str, pd.DataFrame]:
    """The study's tables by kind, as the chapter wants them; see `studies.study.tables`."""
    return study.tables("testtime", profile)
