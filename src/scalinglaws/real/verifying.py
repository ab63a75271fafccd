"""Verifiers for the stored solutions of a real model: how each problem's solutions are read, and what is learnt from it.

The study reads the solutions that others stored, so that it can be made anew without drawing them anew.
"""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np
import pandas as pd
from scipy.special import log_expit

from ..studies import study
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from ..testtime import open_run, select
from ..testtime.open_own import Own
from . import head, reading
from .plan import load

SOLUTIONS = ("smollm2", "smollm2_training")
"""The studies whose solutions are read: of the problems that are asked, and of those that verifiers learn from."""
KINDS = ("outcome", "process")
"""What heads learn: whether a solution is right, from its end; whether it will be, from the end of each line.

The second sees one way of going on from each line: a Monte-Carlo rollout, of which there is one.
"""


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """All jobs, the ones that others need first. sizes: model; together, problems of a job."""
    own = Readings(sizes, artefacts)
    parts = [
        Job(f"reading {split} {part}", partial(own.read, split, part))
        for split in ("training", "test")
        for part in range(own.parts(split))
    ]
    scored = [Job(f"scores {part}", partial(own.scores, part)) for part in range(own.parts("test"))]
    return [*parts, Job("heads", own.weights), *scored]


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

    def read(self, split: str, part: int) -> reading.Reading:
        """What the model says of a part's solutions, in their order. Those of training are not asked for an opinion."""

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
            states, opinions = (np.concatenate([f[k] for f in found]) for k in (0, 1))
            return states, opinions, [lines for f in found for lines in f.lines]

        return reading.Reading(*self.artefacts.artefact("readings", self.about(split, part), make))

    def head(self, kind: str) -> head.Head:
        """A verifier trained on the training problems' solutions: of a kind of KINDS."""

        def make() -> head.Head:
            parts = range(self.parts("training"))
            some = pd.concat([self._part("training", part) for part in parts])
            read = [self.read("training", part) for part in parts]
            right, problem = some["right"].to_numpy(), some["problem"].to_numpy()
            if kind == "outcome":
                return head.fit(np.concatenate([r.states for r in read]), right, problem)
            lines = [lines for r in read for lines in r.lines]
            count = [len(own) for own in lines]
            return head.fit(np.concatenate(lines), np.repeat(right, count), np.repeat(problem, count))

        return self.artefacts.artefact("head", {"kind": kind} | self._about_head(), make)

    def _about_head(self) -> dict:
        return {"training": [self.about("training", part) for part in range(self.parts("training"))]}

    def scores(self, part: int) -> pd.DataFrame:
        """A row a test solution of a part: problem, sample, yes, head, last, min, product.

        yes: log P(yes)/P(no); head: log odds of the outcome head; last, min, product: log of the process head's P after
        the last line, of the smallest after any line, and of their product.
        """

        def make() -> pd.DataFrame:
            some, read = self._part("test", part), self.read("test", part)
            outcome, process = (self.head(kind) for kind in KINDS)
            told = {"yes": read.opinions, "head": outcome.log_odds(read.states)}
            each = [log_expit(process.log_odds(lines)) for lines in read.lines]
            told |= {how: np.array([select.aggregate(e, how) for e in each]) for how in select.AGGREGATES}
            told = {name: value.astype(np.float32) for name, value in told.items()}
            return some[["problem", "sample"]].reset_index(drop=True).assign(**told)

        return self.artefacts.table("scores", self.about("test", part) | {"heads": KINDS}, make)

    def weights(self) -> pd.DataFrame:
        """The heads as a table, for others: kind; weight, centre, scale of each state; bias, penalty."""

        def make() -> pd.DataFrame:
            found = {kind: self.head(kind) for kind in KINDS}
            names = ("weight", "centre", "scale", "bias", "penalty")
            return pd.concat(
                [pd.DataFrame({"kind": k} | {n: getattr(h, n) for n in names}) for k, h in found.items()]
            )

        return self.artefacts.table("heads", {"heads": KINDS} | self._about_head(), make)


def stored(profile: str, kind: str) -> head.Head:
    """A stored head. Raises StoreError where there is none."""
    table = study.tables("smollm2_verifiers", profile)["heads"].query("kind == @kind")
    weight, centre, scale, bias, penalty = (
        table[n].to_numpy() for n in ("weight", "centre", "scale", "bias", "penalty")
    )
    return head.Head(weight, float(bias[0]), centre, scale, float(penalty[0]))
