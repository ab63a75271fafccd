"""What repeated data are worth: the runs of Muennighoff et al. (2023) refitted, and how much they determine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ..fit.forms import FORMS, Form
from ..fit.general import fit_form
from ..fit.result import Bootstrap, Fit, bootstrap
from ..laws import Chinchilla
from ..laws.repeats import C4, DataConstrained

DELTA = 1e-3
"""Huber's δ of the paper's fit."""
RANGE = (0.3, 3000.0)
"""Where both constants are sought: from a third of a repeat to three thousand."""


def form(base: Chinchilla = C4, fixed: dict[str, float] | None = None) -> Form:
    """The law with its surface held at `base`, and perhaps one constant too, as the paper fits it."""
    known = fixed or {}
    free = [name for name in ("R_D", "R_N") if name not in known]
    low, high = np.log(RANGE)

    def build(t, inputs, y) -> DataConstrained:
        return DataConstrained(base, **known, **{name: float(np.exp(t[name])) for name in free})

    return replace(FORMS["repeats"], box=lambda inputs, y: {name: (low, high) for name in free}, build=build)


def inputs(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """The law's inputs from a table of runs with unique_tokens."""
    return {"N": runs["N"].to_numpy(), "D": runs["D"].to_numpy(), "U": runs["unique_tokens"].to_numpy()}


def objective(law: DataConstrained, runs: pd.DataFrame) -> float:
    """Σ H_δ(log L̂ − log L) over the runs: what the paper minimises."""
    r = np.abs(np.log(law.predict(**inputs(runs)) / runs["loss"].to_numpy()))
    return float(np.where(r <= DELTA, r**2 / 2, DELTA * (r - DELTA / 2)).sum())


def refit(runs: pd.DataFrame, fixed: dict[str, float] | None = None) -> Fit:
    """The constants R_D* and R_N* with the lowest objective, the surface held fixed."""
    return fit_form(form(fixed=fixed), inputs(runs), runs["loss"].to_numpy(), delta=DELTA)


def resampled(fit: Fit, samples: int, seed: int) -> Bootstrap:
    """Refits to resampled runs."""
    return bootstrap(fit, samples, seed)


def profile(runs: pd.DataFrame, name: str, at: Sequence[float]) -> np.ndarray:
    """The lowest objective with one constant held at each value, the other free: [values]."""
    return np.array([refit(runs, {name: float(value)}).objective for value in at])


def valley(runs: pd.DataFrame, R_D: Sequence[float], R_N: Sequence[float]) -> np.ndarray:
    """The objective over a grid of both constants, [R_N, R_D]."""
    return np.array([[objective(DataConstrained(C4, d, n), runs) for d in R_D] for n in R_N])


def pairs(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs beside the one of the same N and D whose tokens are all distinct: N, D, epochs, excess, worth.

    excess: loss over that run's, less one. worth: the share of D fresh tokens that would have raised the loss as much,
    by the slope of the paper's surface there.
    """
    found = []
    for (N, D), own in runs.groupby(["N", "D"]):
        fresh = own[own["D"] <= 1.01 * own["unique_tokens"]]
        if len(fresh) != 1 or len(own) < 2:
            continue
        base = float(fresh["loss"].iloc[0])
        for _, run in own.drop(fresh.index).iterrows():
            rise = run["loss"] - base
            fewer = (D**-C4.beta + rise / C4.B) ** (-1 / C4.beta)
            found.append((N, D, D / run["unique_tokens"], run["loss"] / base - 1, fewer / D))
    return pd.DataFrame(found, columns=["N", "D", "epochs", "excess", "worth"])


@dataclass(frozen=True)
class Rivals:
    """Held-out error of each form: root mean square of log L̂ − log L over runs that its fit did not see, [groups].

    A group is all runs of one size and one number of distinct tokens.
    """

    names: tuple[str, ...]
    errors: np.ndarray

    def ahead(self, one: str, other: str) -> np.ndarray:
        """Squared error of `other` less that of `one`, a group each: positive where `one` predicts better."""
        at = self.names.index
        return self.errors[at(other)] ** 2 - self.errors[at(one)] ** 2


RIVALS: dict[str, dict[str, float]] = {
    "both decay": {},
    "data decay": {"R_N": np.inf},
    "parameters decay": {"R_D": np.inf},
    "nothing decays": {"R_D": np.inf, "R_N": np.inf},
}
"""Form → the constants it holds fixed: what never decays has an infinite one."""


def rivals(runs: pd.DataFrame, folds: int = 8) -> Rivals:
    """Each form fitted without a fold of the groups and held against it; groups are dealt to folds in turn."""
    groups = runs.groupby(["N", "unique_tokens"]).ngroup().to_numpy()
    fold = groups % folds
    errors = np.zeros((len(RIVALS), groups.max() + 1))
    for k in range(folds):
        kept, out = runs[fold != k], runs[fold == k]
        for i, known in enumerate(RIVALS.values()):
            law = DataConstrained(C4, **known) if len(known) == 2 else refit(kept, known).law
            miss = np.log(law.predict(**inputs(out)) / out["loss"].to_numpy()) ** 2
            for g in np.unique(groups[fold == k]):
                errors[i, g] = np.sqrt(miss[groups[fold == k] == g].mean())
    return Rivals(tuple(RIVALS), errors)
