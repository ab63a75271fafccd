"""The study's counts as every page of the chapter reads them, and the models of the ladder with what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ..numbers import scientific, span
from ..provenance import made
from . import pipeline, writing
from .plan import ModelPlan, Plan
from .readout import Ladder, ladder
from .study import test_tasks
from .tasks import Mix

HELD_OUT = "held out"
"""The split that stands beside the evaluation mix."""


@dataclass(frozen=True)
class Evidence:
    """What a study found.

    counts: a row a model, seed and task (`study.tally`); programs: programs of each task that pass one test, and how
    often each was written; provenance: a row an artefact of the study, with its date, processor and seconds.
    """

    counts: pd.DataFrame
    programs: pd.DataFrame
    provenance: pd.DataFrame

    @cached_property
    def mixed(self) -> pd.DataFrame:
        """The counts on the evaluation mix: without the held-out tasks of two operations."""
        return self.counts[self.counts["split"] != HELD_OUT]

    @cached_property
    def of(self) -> Ladder:
        """The models on the evaluation mix, the weakest first. Raises ValueError where a model lacks a task."""
        return ladder(self.mixed)

    @cached_property
    def whole(self) -> Ladder:
        """The models on all tasks, those held out too."""
        return ladder(self.counts)

    @property
    def weak(self) -> str:
        """Name of the weakest model."""
        return self.of.ladder[0]

    @property
    def strong(self) -> str:
        """Name of the strongest model."""
        return self.of.ladder[-1]

    @property
    def n(self) -> int:
        """Samples a task."""
        return int(self.of.n.max())

    def offers(self, models: Sequence[str], most: int = 4, times: int = 2) -> pd.DataFrame:
        """Wrong programs that pass one test: of each of these models `most`, the most frequent one of a task.

        model, task, asked, program, times; only programs that were written at least so many times.
        """
        some = self.programs.query("kind == 'false' and times >= @times")
        some = some[some["model"].isin(list(models))]
        some = some.sort_values("times", ascending=False).drop_duplicates(["model", "task"])
        return some.groupby("model", sort=False).head(most)

    def about(self, profile: str) -> str:
        """A line that says of what the study consists and when it was made."""
        return made(profile, self.provenance)


def load(profile: str) -> Evidence:
    """The study of a profile, from its stored tables; "smoke" trains its toys now. See `pipeline.tables` for errors."""
    tables = pipeline.tables(profile)
    return Evidence(tables["counts"], tables["programs"], tables["provenance"])


def tokens_each(mix: Mix) -> float:
    """Mean tokens of an example, prompt and answer together, over the tasks of a mix."""
    return float(np.mean([len(writing.prompt(t)) + len(writing.spell(t.program)) for t in test_tasks(mix)]))


def training_flops(model: ModelPlan, tokens: float) -> float:
    """Training FLOPs of a model, 6 N times the tokens that it sees; tokens: those of an example."""
    return 6 * model.size.N * model.examples * model.epochs * tokens


def model_table(found: Evidence, plan: Plan) -> pd.DataFrame:
    """A row a model, the weakest first: its size, examples and training FLOPs, and its pass@1, as texts.

    pass@1 on the evaluation mix, from the lowest seed to the highest, and then on each split by its name.
    """
    of, whole = found.of, found.whole
    split, tokens = whole.task["split"].to_numpy(), tokens_each(plan.mix)
    rows = []
    for name in of.ladder:
        model, own = plan.models[name], of.pass_1[of.names == name]
        each = (whole.c / whole.n)[whole.names == name].mean(0)
        row = {"model": name, "N": f"{model.size.N:,}", "examples": f"{model.examples:,}"}
        row["FLOPs"] = scientific(training_flops(model, tokens))
        row["pass@1"] = f"{of.by_model(of.pass_1)[name]:.3f}"
        row["seeds"] = span((min(own), max(own)), 3)
        rows.append(row | {part: f"{each[split == part].mean():.3f}" for part in dict.fromkeys(split)})
    return pd.DataFrame(rows)
