"""What the study of a real model consists of, read from data/studies/smollm2.yaml: sizes only."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..studies import study
from ..studies.study import StudyError
from ..testtime import open_run
from ..testtime.answers import Form, Question


@dataclass(frozen=True)
class Plan:
    """Sizes of one profile.

    model: as for `--model`. problems: the first so many of GSM8K's test set are asked; the next `training` ones train
    verifiers, and are never asked; the last `shots` are worked examples. samples, training_samples: solutions of each,
    0 for a study of the others.
    answer: how answers are read (`testtime.answers.READERS`). together: problems of one job. tokens: of a solution at
    most. rows: solutions written at once.
    """

    model: str
    problems: int
    samples: int
    training: int = 0
    training_samples: int = 0
    shots: int = 4
    answer: str = "hashes"
    together: int = 16
    tokens: int = 200
    temperature: float = 0.8
    seed: int = 0
    rows: int = 256

    def asked(self) -> tuple[Form, list[Question]]:
        """How problems are put, and all that can be asked. Raises datasets.DataError."""
        return open_run.form("gsm8k", open_run.questions("gsm8k"), self.answer, None, self.shots)


def load(profile: str, name: str = "smollm2") -> Plan:
    """The plan of a profile of a study of samples, by default of those that others go on from. Raises StudyError."""
    return plan(study.load(name, profile).sizes)


def plan(sizes: dict) -> Plan:
    """The plan of a profile's sizes. Raises StudyError."""
    known = {f.name for f in fields(Plan)}
    if unknown := sorted(set(sizes) - known):
        raise StudyError(
            f"study of a real model: unknown field {unknown[0]!r}{study.suggest(unknown[0], known)}"
        )
    try:
        return Plan(**sizes)
    except TypeError as error:
        raise StudyError(f"study of a real model: {str(error).removeprefix('Plan.__init__() ')}") from None
