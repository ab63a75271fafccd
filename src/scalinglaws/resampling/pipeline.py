"""Everything a profile's study makes, as a list of jobs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from ..studies import study
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from . import demonstration
from .plan import plan
from .study import Study


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """Every model size of every seed, the small ones first; one is one job, so that no process waits for another's model.

    Raises StudyError for sizes that cannot be.
    """
    found = plan(sizes)
    studies = [Study(found, seed, artefacts) for seed in found.seeds]
    out = [Job(f"data {s.seed} {part}", partial(s.part, part)) for s in studies for part in range(s.parts)]
    return out + [
        Job(f"{name} {s.seed}", partial(s.complete, name)) for name in found.models for s in studies
    ]


def publish(profile: str) -> Path:
    """Store the models that the chapter shows; see `demonstration.publish`."""
    return demonstration.publish(profile)


def tables(profile: str) -> dict[str, pd.DataFrame]:
    """The study's tables by kind, as the chapter wants them; see `studies.study.tables`."""
    return study.tables("resampling", profile)
