"""Verifiers for the stored solutions of a real model: how each problem's solutions are read, and what is learnt from it.

The study reads the solutions that others stored, so that it can be made anew without drawing them anew.
"""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np
import pandas as pd

from ..studies import study
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from ..testtime import open_run
from ..testtime.open_own import Own
from . import head, reading
from .plan import load

SOLUTIONS = ("smollm2", "smollm2_training")
"""The studies whose solutions are read: of the problems that are asked, and of those that verifiers learn from."""


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """All jobs, the ones that others need first. sizes: model; together, problems of a job."""
    own = Readings(sizes, artefacts)
    parts = [
        Job(f"reading {split} {part}", partial(own.read, split, part))
        for split in ("training", "test")
        for part in range(own.parts(split))
    ]
    scored = [Job(f"scores {part}", partial(own.scores, part)) for part in range(own.parts("test"))]
    return [*parts, Job("head", own.weights), *scored]


class Readings:
    """The study at one profile; every piece is made once and kept."""

    def __init__(self, sizes: dict, artefacts: ArtefactStore):
        self.model, self.together, self.artefacts = sizes["model"], sizes.get("together", 16), artefacts

    @cached_property
    def solutions(self) -> pd.DataFrame:
        """The stored solutions: see `study.Study.samples`."""
        tables = [study.tables(name, self.artefacts.profile)["samples"] for name in SOLUTIONS]
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def writer(self) -> Own:
        """The model, loaded when first needed."""
        return Own(self.model)

    def problems(self, split: str) -> np.ndarray:
        """Numbers of a split's problems."""
        return np.unique(self.solutions.query("split == @split")["problem"])

    def parts(self, split: str) -> int:
        """Jobs of a split."""
        asked, training = (load(self.artefacts.profile, name) for name in SOLUTIONS)
        return -(-(asked.problems if split == "test" else training.training) // self.together)

    def _part(self, split: str, part: int) -> pd.DataFrame:
        which = self.problems(split)[part * self.together : (part + 1) * self.together]
        return self.solutions[(self.solutions["split"] == split) & self.solutions["problem"].isin(which)]

    def about(self, split: str, part: int) -> dict:
        """What names a part's readings: the solutions, by their texts."""
        texts = self._part(split, part)["text"]
        return {
            "model": self.model,
            "split": split,
            "part": part,
            "texts": int(pd.util.hash_pandas_object(texts, index=False).sum() >> 1),
        }

    def read(self, split: str, part: int) -> tuple[np.ndarray, np.ndarray]:
        """States [n, d] and log P(yes)/P(no) [n] of a part's solutions, in their order (`reading.read`).

        Those of training are not asked for an opinion.
        """

        def make():
            some = self._part(split, part)
            first = 0 if split == "test" else len(self.problems("test"))
            asked = open_run.questions("gsm8k")
            found = [
                reading.read(
                    self.writer, asked[first + number].text, own["text"].tolist(), ask=split == "test"
                )
                for number, own in some.groupby("problem")
            ]
            return tuple(np.concatenate(kind) for kind in zip(*found, strict=True))

        return self.artefacts.artefact("readings", self.about(split, part), make)

    def head(self) -> head.Head:
        """The outcome verifier, trained on the training problems' solutions."""

        def make() -> head.Head:
            parts = range(self.parts("training"))
            some = pd.concat([self._part("training", part) for part in parts])
            states = np.concatenate([self.read("training", part)[0] for part in parts])
            return head.fit(states, some["right"].to_numpy(), some["problem"].to_numpy())

        return self.artefacts.artefact("head", self._about_head(), make)

    def _about_head(self) -> dict:
        return {"training": [self.about("training", part) for part in range(self.parts("training"))]}

    def scores(self, part: int) -> pd.DataFrame:
        """problem, sample, yes (log P(yes)/P(no)), head (log odds of being right) of a part of the test solutions."""

        def make() -> pd.DataFrame:
            some, (states, opinions) = self._part("test", part), self.read("test", part)
            told = {"yes": opinions, "head": self.head().log_odds(states).astype(np.float32)}
            return some[["problem", "sample"]].reset_index(drop=True).assign(**told)

        return self.artefacts.table("scores", self.about("test", part) | {"head": True}, make)

    def weights(self) -> pd.DataFrame:
        """The head as a table, so that others search with it: weight, centre, scale of each state; bias, penalty."""

        def make() -> pd.DataFrame:
            found = self.head()
            each = {"weight": found.weight, "centre": found.centre, "scale": found.scale}
            return pd.DataFrame(each | {"bias": found.bias, "penalty": found.penalty})

        return self.artefacts.table("heads", {"head": "table"} | self._about_head(), make)
