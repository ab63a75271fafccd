"""The resampling study from the first training example to stored counts; every piece made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..lm.examples import Examples
from ..lm.worker import one_thread
from ..studies.artefacts import ArtefactStore, packed
from ..studies.jobs import Job, in_processes, work_off
from . import writing
from .language import Program, render
from .plan import Plan, load
from .tasks import VISIBLE, Mix, Task, draw_tasks, judge, kept_out, sound

ROOM, KINDS = "resampling", ("counts", "programs")
SHOWN = 3
"""Programs of each kind that are kept of a task, to be read."""


QUESTION = "What can sampling again reach, when only a few tests judge the samples?"


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

    def data(self) -> Examples:
        """Training examples, the same for every rung; none shows a behaviour that is kept out."""
        rng = lambda: np.random.default_rng([2411, 1, self.seed])
        make = lambda: writing.curriculum(self.plan.examples, self.plan.depths, rng(), kept_out(self.tasks))
        return self.artefacts.artefact("data", self._about_data(), make)

    def _about(self, name: str) -> dict:
        m = self.plan.models[name]
        return self._about_data() | {
            "model": name,
            "size": asdict(m.size),
            "seen": m.examples,
            "recipe": asdict(m.recipe) | {"seed": self.seed},
        }

    def weights(self, name: str) -> torch.Tensor:
        """Parameters of a rung."""
        m = self.plan.models[name]
        recipe = replace(m.recipe, seed=self.seed)

        def make():
            data = self.data()
            part = Examples(data.tokens[: m.examples], data.weight[: m.examples])
            return writing.train(m.size, recipe, part, device())

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

    def rung(self, name: str) -> None:
        """Everything of a rung, from its weights to its tables; the notes of all of it travel with the tables."""
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
    whole = right.all(1)
    operations = np.array([len(p) for p in programs], int)
    wasteful = ~sound(programs) if programs else np.zeros(0, bool)
    row = {"n": len(written), "broken": sum(p is None for p in written), "c": int(times[whole].sum())}
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


def jobs(profile: str, artefacts: ArtefactStore) -> list[Job]:
    """Every rung of every seed, the small ones first; a rung is one job, so that no process waits for another's model.

    Raises PlanError for a broken plan.
    """
    plan = load(profile)
    studies = [Study(plan, seed, artefacts) for seed in plan.seeds]
    out = [Job(f"data {s.seed}", s.data) for s in studies]
    return out + [Job(f"{name} {s.seed}", partial(s.rung, name)) for name in plan.models for s in studies]


def store(profile: str, folder: Path | None = None) -> ArtefactStore:
    """Where a profile's artefacts are kept."""
    return ArtefactStore(profile, folder, ROOM, KINDS)


def work(
    profile: str,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
    share: tuple[int, int] = (0, 1),
) -> ArtefactStore:
    """Make whatever is not made and not being made elsewhere; returns the store. See `jobs.work_off`."""
    artefacts = store(profile, folder)
    return work_off(jobs(profile, artefacts), artefacts, say, share)


def run(profile: str, workers: int | None = None, folder: Path | None = None) -> None:
    """Work off a profile with several processes of one thread each, then pack the tables into data/resampling.

    Raises PlanError for a broken plan, RuntimeError when a process failed: what was finished stays.
    """
    load(profile)
    in_processes(work, (profile, folder), workers)
    work(profile, folder).pack()


def tables(profile: str) -> dict[str, pd.DataFrame]:
    """The study's tables by kind: "smoke" makes them now, the others read what is committed. Raises StoreError."""
    if profile != "smoke":
        return {kind: packed(kind, profile, ROOM, "resample") for kind in (*KINDS, "pieces")}
    with one_thread():
        artefacts = work(profile, say=lambda text: None)
    return {kind: artefacts.whole(kind) for kind in KINDS} | {"pieces": artefacts.notes()}
