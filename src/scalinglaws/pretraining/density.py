"""How fast models of equal ability shrink: Xiao et al. (2024) in their manner, on public benchmarks of open models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import expit, logit

from ..laws import BESIROGLU, Chinchilla
from ..laws.density import Densing

TASKS = ("ARC", "HellaSwag", "Winogrande", "MMLU")
GUESSING = np.array([0.25, 0.25, 0.5, 0.25])
"""Accuracy of guessing on each of `TASKS`."""
REFERENCE = ("pythia", "opt", "llama", "llama-2")
"""Families of several sizes whose scores tie ability to loss: plain text, of 2022 and 2023."""
MOST = 7e10
"""Parameters of the largest reference model."""
GUESSED = 0.05
"""Scores up to this are hardly above guessing."""
AT = 1e12
"""Tokens that the reference model of N̂ parameters has seen (Eq. 4)."""


def scores(models: pd.DataFrame) -> pd.Series:
    """Mean share of what guessing leaves that a model gets right; NaN where a task lacks."""
    return ((models[list(TASKS)] - GUESSING) / (1 - GUESSING)).mean(axis=1, skipna=False)


@dataclass(frozen=True)
class Ability:
    """S = top/(1 + e^{γ(L − middle)}): a score against the loss that a law of loss gives for N and D (Eq. 3, its floor at guessing)."""

    gamma: float
    middle: float
    top: float
    law: Chinchilla = BESIROGLU

    def predict(self, N, D):
        """Score of N parameters after D tokens."""
        return self.top * expit(-self.gamma * (self.law.predict(N, D) - self.middle))

    def equivalent(self, score):
        """N̂: the reference parameters with that score after `AT` tokens; NaN where none has it."""
        share = np.asarray(score, float) / self.top
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = self.middle - logit(np.where((share > 0) & (share < 1), share, np.nan)) / self.gamma
            left = loss - self.law.E - self.law.B * AT**-self.law.beta
            return (self.law.A / np.where(left > 0, left, np.nan)) ** (1 / self.law.alpha)


def ability(models: pd.DataFrame) -> Ability:
    """The curve through the reference families, least squares on the score."""
    own = models[models["family"].isin(REFERENCE) & ~models["instruct"]].dropna(subset=["D", *TASKS])
    S, L = scores(own).to_numpy(), BESIROGLU.predict(own["N"].to_numpy(), own["D"].to_numpy())
    curve = lambda t: Ability(float(np.exp(t[0])), float(t[1]), float(expit(t[2])))
    miss = lambda t: curve(t).top * expit(-curve(t).gamma * (L - curve(t).middle)) - S
    return curve(least_squares(miss, [np.log(5.0), 2.1, 1.0]).x)


def densities(models: pd.DataFrame) -> pd.DataFrame:
    """Base models with a date and all tasks: model, family, date, days since the first of 2023, N, score, density = N̂/N, seen.

    Left out: routed models, of which the table counts one expert, and scores hardly above guessing.
    seen: N̂ is no larger than the largest reference model; beyond it the curve extrapolates to where it is flat.
    """
    own = models[~models["instruct"] & ~models["family"].str.startswith("mixtral")].dropna(subset=["date", *TASKS]).copy()
    own["score"] = scores(own)
    own = own[own["score"] > GUESSED]
    own["density"] = ability(models).equivalent(own["score"]) / own["N"]
    own["days"] = (own["date"] - pd.Timestamp("2023-01-01")).dt.days
    own["seen"] = own["density"] * own["N"] <= MOST
    return own.dropna(subset=["density"]).sort_values("date", ignore_index=True)[["model", "family", "date", "days", "N", "score", "density", "seen"]]


def best_so_far(table: pd.DataFrame) -> pd.DataFrame:
    """The densest model of its day, where it is denser than all of the days before."""
    daily = table.loc[table.groupby("days")["density"].idxmax()].sort_values("days")
    return daily[daily["density"] > daily["density"].cummax().shift(fill_value=0.0)]


def trend(table: pd.DataFrame) -> Densing:
    """ln ρ_max = A·t + B through the models that were the densest when they came, t in days of 2023 (Eq. 5)."""
    best = best_so_far(table)
    A, B = np.polyfit(best["days"], np.log(best["density"]), 1) if len(best) > 1 else (np.nan, np.nan)
    return Densing(float(A), float(B))


def resampled(table: pd.DataFrame, samples: int, seed: int) -> np.ndarray:
    """A over resampled families, [samples]."""
    rng = np.random.default_rng(seed)
    families = [own for _, own in table.groupby("family")]
    found = []
    for _ in range(samples):
        drawn = pd.concat([families[i] for i in rng.integers(0, len(families), len(families))]).sort_values("date")
        found.append(trend(drawn.drop_duplicates("model").reset_index(drop=True)).A)
    return np.array(found)
