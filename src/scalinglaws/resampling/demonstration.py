"""Two models of the study, kept in half precision, so that a chapter can let them write before the reader's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..lm import examples
from ..lm.store import StoreError
from ..paths import data_file, root
from ..studies import study as studies
from ..studies.artefacts import provenance
from . import language, plan
from .language import Program
from .study import Study
from .tasks import Task, judge
from .writing import Writer, prompt, read

ROOM = "resampling"


def _first(profile: str, folder: Path | None) -> Study:
    chosen = plan.load(profile)
    return Study(chosen, chosen.seeds[0], studies.load(ROOM, profile).store(folder))


def publish(profile: str, folder: Path | None = None) -> Path:
    """Write the shown models of the first seed to data/resampling/models-PROFILE.safetensors, making what is missing."""
    study = _first(profile, folder)
    shown = study.plan.shown
    sizes = {name: asdict(study.plan.models[name].size) for name in shown}
    path = root() / "data" / ROOM / f"models-{profile}.safetensors"
    examples.save(
        path,
        {name: study.weights(name) for name in shown},
        {"seed": study.seed, "sizes": sizes, **provenance()},
    )
    return path


def writers(profile: str, seed: int = 0) -> dict[str, Writer]:
    """The shown models by name, the smaller first; for "smoke" those of the toy study. Raises StoreError where there are none."""
    if profile == "smoke":
        study = _first(profile, None)
        return {
            name: Writer(study.plan.models[name].size, study.weights(name), seed) for name in study.plan.shown
        }
    path = data_file(ROOM, f"models-{profile}.safetensors")
    if not path.is_file():
        raise StoreError(
            f"no models data/{ROOM}/{path.name}: make them with `python -m scalinglaws study resampling --profile {profile}`"
        )
    weights, about = examples.load(path)
    sizes = {name: examples.Size(**size) for name, size in about["sizes"].items()}
    return {n: Writer(sizes[n], weights[n], seed) for n in sorted(sizes, key=lambda n: sizes[n].N)}


@dataclass(frozen=True)
class Caught:
    """A wrong program that passes the first visible test: the task, what was written, and the first input it fails."""

    task: Task
    written: Program
    where: int

    @property
    def told(self) -> str:
        """Two lines: what was asked and written; the input that gives it away, with the right output and the wrong one."""
        one = [a[self.where : self.where + 1] for a in self.task.hidden]
        values, lengths = language.run([self.task.program, self.written], (one[0], one[1]))
        given = one[0][0][: one[1][0]]
        sought, got = (values[k, 0][: lengths[k, 0]] for k in (0, 1))
        asked, wrote = (language.render(p) for p in (self.task.program, self.written))
        return f"asked {asked!r}, wrote {wrote!r}\n   test {self.where + 1}: {given} -> {sought}, not {got}"


@dataclass(frozen=True)
class Session:
    """What a model wrote before our eyes: samples, how many pass one test, how many are right, and who was caught."""

    samples: int
    passed: int
    right: int
    caught: tuple[Caught, ...]


def watch(writer: Writer, asked: Sequence[Task], each: int) -> Session:
    """Let a model write `each` programs for every task; one visible test decides. The last one caught of a task is kept."""
    samples = writer.write([prompt(t) for t in asked], each)
    passed, right, caught = 0, 0, {}
    for task, tokens in zip(asked, samples, strict=True):
        programs = [p for p in (read(t.tolist()) for t in tokens) if p is not None]
        ok = judge(task, programs)[0]
        passed += int(ok[:, 0].sum())
        right += int(ok.all(1).sum())
        for p, row in zip(programs, ok, strict=True):
            if row[0] and not row.all():
                caught[task.program] = Caught(task, p, int(np.argmin(row)))
    return Session(each * len(asked), passed, right, tuple(caught.values()))
