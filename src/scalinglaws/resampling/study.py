"""The resampling study from the first training example to stored counts; every piece made once and kept."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pandas as pd
import torch

from ..lm.examples import Examples
from ..studies.artefacts import ArtefactStore
from . import writing
from .language import Program, render
from .plan import Plan
from .tasks import VISIBLE, Mix, Task, draw_tasks, judge, kept_out, sound

PART = 100_000
"""Training examples made at a time."""
SHOWN = 3
"""Programs of each kind that are kept of a task, to be read."""


def device() -> str:
    """Where models are trained and sampled: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def test_tasks(mix: Mix) -> tuple[Task, ...]:
    """The test tasks of a mix: the same for every model and seed."""
    return tuple(draw_tasks(mix, 0))


class Study:
    """One seed of a plan: a training set, and the ladder of models trained on it."""

    def __init__(self, plan: Plan, seed: int, artefacts: ArtefactStore):
        self.plan, self.seed, self.artefacts = plan, seed, artefacts

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The test tasks."""
        return test_tasks(self.plan.mix)

    def _about_data(self) -> dict:
        return {
            "seed": self.seed,
            "mix": asdict(self.plan.mix),
            "depths": self.plan.depths,
            "examples": self.plan.examples,
        }

    @property
    def parts(self) -> int:
        """In how many parts the training examples are made, each by whoever is free."""
        return -(-self.plan.examples // PART)

    def part(self, number: int) -> Examples:
        """`PART` training examples; none shows a behaviour that is kept out."""
        n = min(PART, self.plan.examples - number * PART)
        rng = lambda: np.random.default_rng([2411, 1, self.seed, number])
        make = lambda: writing.curriculum(n, self.plan.depths, rng(), kept_out(self.tasks))
        about = self._about_data() | {"examples": n, "part": number}
        return self.artefacts.artefact("data", about, make)

    def data(self, n: int | None = None) -> Examples:
        """The first n training examples (default: all), the same for every model size."""
        n = self.plan.examples if n is None else n
        found = [self.part(i) for i in range(-(-n // PART))]
        width = max(e.tokens.shape[1] for e in found)
        wide = lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1])))
        tokens, weight = (
            np.concatenate([wide(getattr(e, k)) for e in found])[:n] for k in ("tokens", "weight")
        )
        return Examples(tokens, weight)

    def _about(self, name: str) -> dict:
        m = self.plan.models[name]
        return self._about_data() | {
            "model": name,
            "size": asdict(m.size),
            "seen": m.examples,
            "recipe": asdict(m.recipe) | {"seed": self.seed},
        }

    def weights(self, name: str) -> torch.Tensor:
        """Parameters of a model."""
        m = self.plan.models[name]
        recipe = replace(m.recipe, seed=self.seed)

        def make():
            return writing.train(m.size, recipe, self.data(m.examples), device())

        return self.artefacts.artefact("model", self._about(name), make)

    def _about_samples(self, name: str) -> dict:
        return self._about(name) | {"samples": self.plan.samples, "temperature": self.plan.temperature}

    def answers(self, name: str) -> np.ndarray:
        """Sampled answers, tokens [tasks, samples, LONGEST_ANSWER]."""

        def make():
            writer = writing.Writer(self.plan.models[name].size, self.weights(name).to(device()), self.seed)
            prompts = [writing.prompt(t) for t in self.tasks]
            return writer.write(prompts, self.plan.samples, self.plan.temperature)

        return self.artefacts.artefact("answers", self._about_samples(name), make)

    def counts(self, name: str) -> pd.DataFrame:
        """One row a task: n samples, c right, b_m that pass m visible tests, and how the passing ones are written."""
        return self.artefacts.table("counts", self._about_samples(name), lambda: self._judged(name)[0])

    def programs(self, name: str) -> pd.DataFrame:
        """A few right and a few falsely accepted programs of each task, as words."""
        return self.artefacts.table("programs", self._about_samples(name), lambda: self._judged(name)[1])

    def complete(self, name: str) -> None:
        """Everything of a model, from its weights to its tables; the notes of all of it travel with the tables."""
        for step in (self.weights, self.answers, self.counts, self.programs):
            step(name)

    def _judged(self, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        m = self.plan.models[name]
        where = {"model": name, "seed": self.seed, "N": m.size.N, "examples": m.examples * m.epochs}
        rows, shown = [], []
        for i, (task, tokens) in enumerate(zip(self.tasks, self.answers(name), strict=True)):
            written = [writing.read(t.tolist()) for t in tokens]
            row, kept = tally(task, written)
            here = where | {"task": i}
            rows.append(here | {"split": task.split, "depth": task.depth, "dropped": task.dropped} | row)
            shown += [here | {"asked": render(task.program)} | k for k in kept]
        columns = [*where, "task", "asked", "kind", "program", "times"]
        return pd.DataFrame(rows), pd.DataFrame(shown, columns=columns)


def tally(task: Task, written: list[Program | None]) -> tuple[dict, list[dict]]:
    """Counts of one task's samples, and a few of its programs.

    n samples, of which `broken` spell no program; c right on the whole hidden suite; b_m passing the first m
    visible inputs; majority: whether the most frequent behaviour on the hidden suite is right (ties share);
    most_m: the same for the behaviour of the sample that passes most of m tests. Style, by `right` and `false_m`
    (passes m tests and is wrong): sums of operations and of redundant programs, over samples.
    """
    kinds: dict[Program, int] = {}
    for p in written:
        if p is not None:
            kinds[p] = kinds.get(p, 0) + 1
    programs, times = list(kinds), np.array(list(kinds.values()), int)
    right, done = judge(task, programs)
    whole = np.asarray(right.all(1))
    operations = np.array([len(p) for p in programs], int)
    wasteful = ~sound(programs) if programs else np.zeros(0, bool)
    row: dict = {"n": len(written), "broken": sum(p is None for p in written), "c": int(times[whole].sum())}
    row |= _style("right", times * whole, operations, wasteful)
    for m in VISIBLE:
        passed = right[:, :m].all(1)
        row[f"b{m}"] = int(times[passed].sum())
        row |= _style(f"false{m}", times * (passed & ~whole), operations, wasteful)
        best = right[:, :m].sum(1)
        top = times * (best == best.max(initial=-1))
        row[f"most{m}"] = float((top * whole).sum() / top.sum()) if top.sum() else 0.0
    row["majority"] = _vote(done, times, whole)
    kept = []
    for kind, chosen in (("right", whole), ("false", right[:, : VISIBLE[0]].all(1) & ~whole)):
        for j in sorted(np.flatnonzero(chosen), key=lambda j: -times[j])[:SHOWN]:
            kept.append({"kind": kind, "program": render(programs[j]), "times": int(times[j])})
    return row, kept


def _style(kind: str, times: np.ndarray, operations: np.ndarray, wasteful: np.ndarray) -> dict[str, int]:
    return {
        f"{kind}_operations": int((times * operations).sum()),
        f"{kind}_redundant": int((times * wasteful).sum()),
    }


def _vote(done: list[bytes], times: np.ndarray, whole: np.ndarray) -> float:
    """Whether the most frequent behaviour is right; the share of the tied ones that are."""
    votes: dict[bytes, int] = {}
    for behaviour, n in zip(done, times.tolist(), strict=True):
        votes[behaviour] = votes.get(behaviour, 0) + n
    top = [b for b, n in votes.items() if n == max(votes.values())]
    right = {b for b, ok in zip(done, whole, strict=True) if ok}
    return sum(b in right for b in top) / len(top) if top else 0.0
