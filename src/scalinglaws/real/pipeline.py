"""Everything the study of a real model makes, as a list of jobs."""

from __future__ import annotations

from functools import partial

from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from .plan import plan
from .study import Study


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """All jobs, the ones that others need first. Raises StudyError for sizes that cannot be."""
    own = Study(plan(sizes), artefacts)
    return [
        Job(f"samples {split} {part}", partial(own.samples, split, part))
        for split in ("test", "training")
        for part in range(own.parts(split))
    ]
