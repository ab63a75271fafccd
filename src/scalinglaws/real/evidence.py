"""What the studies of a real model stored, as pages read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from .. import datasets
from ..provenance import made
from ..resampling import sandbox
from ..resampling.estimators import task_bootstrap
from ..studies import study
from ..testtime import embedded, select
from ..testtime.verifier import within
from . import luck


@dataclass(frozen=True)
class Solutions:
    """As many solutions of each problem. reference [problems]; answers, right, logp [problems, samples].

    answers: as read, None where none could be; logp: mean log p a token, nats, NaN where it was not kept.
    """

    reference: tuple[str, ...]
    answers: np.ndarray
    right: np.ndarray
    logp: np.ndarray
    texts: np.ndarray

    @property
    def n(self) -> int:
        """Solutions of a problem."""
        return self.right.shape[1]

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
    likely = grid("logp").astype(float) if "logp" in some else np.full(grid("right").shape, np.nan)
    return Solutions(tuple(reference), texts("answer"), grid("right").astype(bool), likely, texts("text"))


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
    """The judged programs of each set of tasks that the profile's study holds. Raises StoreError where none is stored.

    Where none of a toy run's programs passes, the stored ones are shown, and a line says so.
    """
    profile = possible(profile, "smollm2_code")
    counts = study.tables("smollm2_code", profile)["counts"]
    if profile == "smoke" and not counts["c"].any():
        print("smollm2_code: no program of the toy run is right: stored results")
        counts = study.tables("smollm2_code", "cpu")["counts"]
    return {name: Coded(own.reset_index(drop=True)) for name, own in counts.groupby("split", sort=False)}


def opinions(profile: str, shown: Solutions) -> dict[str, np.ndarray]:
    """What each verifier says of the solutions [problems, samples]: the higher, the better; −∞ of what cannot be read.

    frequency: how many other solutions of the problem give the same answer. likelihood: mean log p a token.
    yes: log P(yes)/P(no), asked whether it is right. head: log odds of the head on the states.
    """
    stored = study.tables("smollm2_verifiers", possible(profile, "smollm2"))["scores"].sort_values(
        ["problem", "sample"]
    )
    same = shown.numbered[:, :, None] == shown.numbered[:, None, :]
    told = {"frequency": same.sum(2) - 1.0, "likelihood": shown.logp}
    told |= {name: stored[name].to_numpy().reshape(shown.right.shape) for name in ("yes", "head")}
    return {name: np.where(shown.numbered < 0, -np.inf, score) for name, score in told.items()}


def knows(
    score: np.ndarray, right: np.ndarray, resamples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """AUC within a problem of scores [problems, samples], mean over problems with both kinds, and its 95 % interval.

    Problems are resampled. Where no problem has both kinds, nothing is known: ½, between 0 and 1.
    """
    each = within(score.ravel(), right.ravel(), np.repeat(np.arange(len(right)), right.shape[1]))
    if not len(each):
        return 0.5, (0.0, 1.0)
    return float(each.mean()), task_bootstrap(np.mean, (each,), resamples, seed)


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
