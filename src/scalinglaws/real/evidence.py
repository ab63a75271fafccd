"""What the studies of a real model stored, as pages read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pandas as pd

from .. import datasets
from ..provenance import made
from ..resampling import sandbox
from ..studies import study
from ..testtime import embedded, select
from . import luck


@dataclass(frozen=True)
class Solutions:
    """As many solutions of each problem. reference [problems]; answers, right, logp, tokens [problems, samples].

    answers: as read, None where none could be; logp: mean log p a token, nats; NaN where it, or the number of tokens,
    was not kept.
    """

    reference: tuple[str, ...]
    answers: np.ndarray
    right: np.ndarray
    logp: np.ndarray
    tokens: np.ndarray
    texts: np.ndarray

    @property
    def n(self) -> int:
        """Solutions of a problem."""
        return self.right.shape[1]

    def first(self, problems: int) -> Solutions:
        """Those of the first so many problems."""
        own = {f.name: getattr(self, f.name)[:problems] for f in fields(self)}
        return Solutions(**own)

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """n and c [problems]: solutions, and right ones."""
        return np.full(len(self.right), self.n), self.right.sum(1)

    @cached_property
    def hits(self) -> np.ndarray:
        """`luck.hits` of the solutions."""
        return luck.hits(self.reference, self.answers.tolist())

    @property
    def unread(self) -> float:
        """Share of solutions without an answer that could be read."""
        return float(np.mean([a is None for a in self.answers.ravel()]))

    @cached_property
    def numbered(self) -> np.ndarray:
        """Answers as numbers of the problem's distinct ones, 0 a right one, −1 none [problems, samples]."""
        return np.array([_numbered(a, r) for a, r in zip(self.answers, self.right, strict=True)])

    def chosen(
        self, K: Sequence[int], rule: str = "majority", log_score: np.ndarray | None = None
    ) -> np.ndarray:
        """Accuracy [problems, budgets] of what a rule of `testtime.select` chooses among K solutions."""
        score = np.zeros(self.right.shape) if log_score is None else log_score
        pairs = zip(self.numbered, score, strict=True)
        return np.array([select.replay(a, s, 0, K, rule) for a, s in pairs])


def _numbered(answers: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Every right answer is answer 0, however it is spelt; others are known by their number, or their spelling."""
    known: dict = {}
    out = []
    for answer, good in zip(answers, right, strict=True):
        if answer is None:
            out.append(-1)
            continue
        value = luck.number(answer)
        out.append(0 if good else known.setdefault(answer if value != value else value, len(known) + 1))
    return np.array(out)


def solutions(samples: pd.DataFrame, reference: Sequence[str] | None = None) -> Solutions:
    """The test problems' solutions of a stored table. reference: the problems' right answers where the table lacks them."""
    some = samples[samples["split"] == "test"].sort_values(["problem", "sample"])
    shape = some["problem"].nunique(), -1
    grid = lambda name: some[name].to_numpy(object).reshape(shape)
    texts = lambda name: np.array(
        [[t if isinstance(t, str) else None for t in row] for row in grid(name)], object
    )
    if reference is None:
        reference = grid("reference")[:, 0].tolist()
    else:
        reference = [reference[i] for i in some["problem"].unique()]
    known = lambda name: grid(name).astype(float) if name in some else np.full(grid("right").shape, np.nan)
    right = grid("right").astype(bool)
    return Solutions(tuple(reference), texts("answer"), right, known("logp"), known("tokens"), texts("text"))


@dataclass(frozen=True)
class Evidence:
    """Solutions with worked examples (`shown`), without (`bare`), and who made them."""

    shown: Solutions
    bare: Solutions
    provenance: pd.DataFrame
    profile: str

    def about(self) -> str:
        """A line that says of what the study consists and when it was made."""
        return made(self.profile, self.provenance)


@dataclass(frozen=True)
class Coded:
    """Programs of a set of tasks. n, b, c [tasks]: written, pass the base tests, pass all."""

    counts: pd.DataFrame

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """n, b and c [tasks]."""
        n, b, c = (self.counts[name].to_numpy() for name in "nbc")
        return n, b, c

    @property
    def longer(self) -> np.ndarray:
        """Mean syntax nodes of a task's wrong programs that pass the base tests, less those of its right ones.

        Of the tasks that have both.
        """
        _, b, c = self.arrays
        both = (c > 0) & (b > c)
        false, right = (self.counts[f"{kind}_operations"].to_numpy()[both] for kind in ("false", "right"))
        return false / (b - c)[both] - right / c[both]


def possible(profile: str, name: str) -> str:
    """The profile of a study that can be read here: the one asked for, or "cpu" where a toy run lacks what it needs.

    "smoke" draws from the model now; without its package, the questions, or a sandbox for programs, the stored tables
    are shown, and a line says so.
    """
    if profile != "smoke":
        return profile
    try:
        embedded.packaged()
        datasets.fetch("evalplus" if name == "smollm2_code" else "gsm8k")
        if name == "smollm2_code":
            sandbox.check()
    except (embedded.EmbeddedError, datasets.DataError, sandbox.NoSandbox) as error:
        print(f"{name}: stored results instead of a toy run ({error})")
        return "cpu"
    return profile


def programs(profile: str) -> dict[str, Coded]:
    """The judged programs of each set of tasks that is stored. Raises StoreError where none is.

    A toy run judges its own; of a set of which it has no right program the stored ones are shown, and a line says so.
    """
    sets = lambda profile: dict(list(study.tables("smollm2_code", profile)["counts"].groupby("split", sort=False)))
    own = sets(possible(profile, "smollm2_code"))
    if profile == "smoke":
        stored = sets("cpu")
        for name in (n for n in stored if n not in own or not own[n]["c"].any()):
            own[name] = stored[name]
            print(f"{name}: no program of the toy run is right: stored results")
    return {name: Coded(counts.reset_index(drop=True)) for name, counts in own.items()}


def load(profile: str) -> Evidence:
    """The studies of a profile. The bare samples were drawn on a GPU and are the same for all.

    Raises StoreError where a table is missing.
    """
    drawn, profile = study.tables("smollm2_bare", "gpu"), possible(profile, "smollm2")
    bare, stored = solutions(drawn["samples"]), study.tables("smollm2", profile)
    shown = stored["samples"]
    known = None if "reference" in shown else bare.reference
    both = pd.concat([stored["provenance"], drawn["provenance"]], ignore_index=True)
    return Evidence(solutions(shown, known), bare, both, profile)
