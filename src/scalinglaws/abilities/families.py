"""A few skills behind many benchmarks, shared by families of models: Sloth (Maia Polo et al. 2024, arXiv:2412.06540).

    score_ij = γ_j + (1 − γ_j)·σ(b_j + Σ_d Λ_jd·θ_id),   θ_id = α_family,d + β_d1·log N + β_d2·log D + β_d3·log N·log D

γ_j: score of guessing on benchmark j. A family that is foretold lends its smallest model, so that its intercepts are known
(Section 4.2); its other models are never among the rows that a fit sees. Tables: `datasets.load("families")`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import expit, logit

from ..datasets.evaluations import SCORES

GUESSED = {"MMLU": 0.25, "ARC": 0.25, "HellaSwag": 0.25, "Winogrande": 0.5, "GSM8K": 0.0, "TruthfulQA": 0.2}
"""Of the old leaderboard (four, four, four, two choices, none); TruthfulQA: near the least score (Section 4.2, Appendix A)."""
HUBER = 0.01
"""Misses beyond it count linearly (Section 3.2)."""
RIDGE = 1e-3
"""Weight of a small pull on intercepts, slopes and loadings, which fixes what the skills' rotation leaves free."""


def tidy(table: pd.DataFrame, scores: Iterable[str] = tuple(GUESSED)) -> pd.DataFrame:
    """Models with N, D and every score; a family's base and instruct models are two families, as in the paper (Section 4.1)."""
    scores = list(scores)
    own = table.dropna(subset=["N", "D", *scores])
    name = own["family"] + np.where(own["instruct"].astype(bool), " (instruct)", "")
    return own.assign(base=own["family"], family=name)[["model", "base", "family", "N", "D", *scores]].reset_index(drop=True)


class _Shape:
    """Where each parameter lies in the vector, the scores and the covariates."""

    def __init__(self, own: pd.DataFrame, scores: list[str], skills: int, only_compute: bool):
        self.scores, self.skills = scores, skills
        self.families = sorted(own["family"].unique())
        self.y = own[scores].to_numpy(float)
        self.guess = np.array([GUESSED[s] for s in scores])
        self.X, self.f = self.covariates(own, only_compute), own["family"].map({n: i for i, n in enumerate(self.families)}).to_numpy()
        F, k, J = len(self.families), self.X.shape[1], len(scores)
        self.parts = np.cumsum([F * skills, k * skills, J * skills])
        self.total = int(self.parts[-1] + J)

    @staticmethod
    def covariates(own: pd.DataFrame, only_compute: bool) -> np.ndarray:
        n, d = np.log(own["N"].to_numpy() / 1e9) / 3, np.log(own["D"].to_numpy() / 1e12) / 3  # of the order of one
        return (n + d)[:, None] if only_compute else np.column_stack([n, d, n * d])

    def unpack(self, t):
        a, b, c = self.parts
        d = self.skills
        return t[:a].reshape(-1, d), t[a:b].reshape(-1, d), t[b:c].reshape(-1, d), t[c:]

    def chances(self, t, X, f):
        alpha, beta, loads, bias = self.unpack(t)
        theta = alpha[f] + X @ beta
        return self.guess + (1 - self.guess) * expit(bias + theta @ loads.T), theta


def fitted(own: pd.DataFrame, skills: int, only_compute: bool = False, seed: int = 0):
    """The shape and the vector of parameters with the least Huber loss of the scores; from the leading skills of their logits.

    `separate` fits one skill a benchmark.
    """
    shape = _Shape(own, [s for s in SCORES if s in own], skills, only_compute)
    z = logit(np.clip((shape.y - shape.guess) / (1 - shape.guess), 0.02, 0.98))
    bias = z.mean(0)
    u, s, v = np.linalg.svd(z - bias, full_matrices=False)
    scale = s[:skills] / np.sqrt(len(z))
    loads, theta = (v[:skills] * scale[:, None]).T, u[:, :skills] * np.sqrt(len(z))
    dummies = np.eye(len(shape.families))[shape.f]
    A = np.column_stack([dummies, shape.X])
    coefficients = np.linalg.solve(A.T @ A + 0.05 * np.eye(A.shape[1]), A.T @ theta)
    start = np.concatenate([coefficients.ravel(), loads.ravel(), bias])
    pull = np.sqrt(RIDGE)
    (n, J), d, (a, b, c) = shape.y.shape, skills, shape.parts

    def residual(t: np.ndarray) -> np.ndarray:
        fit, _ = shape.chances(t, shape.X, shape.f)
        return np.concatenate([((fit - shape.y) / HUBER).ravel(), pull * t[:c]])

    def slopes(t: np.ndarray) -> np.ndarray:
        alpha, beta, loads, bias = shape.unpack(t)
        theta = alpha[shape.f] + shape.X @ beta
        p = expit(bias + theta @ loads.T)
        g = (1 - shape.guess) * p * (1 - p) / HUBER  # [n, J]
        out = np.zeros((n, J, shape.total))
        for k in range(d):
            own = g * loads[:, k]
            out[np.arange(n)[:, None], np.arange(J)[None], (shape.f * d + k)[:, None]] = own
            for i in range(shape.X.shape[1]):
                out[:, :, a + i * d + k] = own * shape.X[:, i : i + 1]
            out[:, np.arange(J), b + np.arange(J) * d + k] = g * theta[:, k : k + 1]
        out[:, np.arange(J), c + np.arange(J)] = g
        return np.concatenate([out.reshape(n * J, -1), pull * np.eye(c, shape.total)])

    end = least_squares(residual, start, jac=slopes, loss="huber", x_scale="jac", max_nfev=60, ftol=1e-6)
    return shape, end.x


def separate(own: pd.DataFrame, only_compute: bool = False):
    """A curve a benchmark, no skills shared: intercepts of families and slopes in log N, log D (and their product), or in log C."""
    found = []
    for score in [s for s in SCORES if s in own]:
        found.append(fitted(own[["model", "family", "N", "D", score]], 1, only_compute))
    return found


def predict(found, table: pd.DataFrame, only_compute: bool = False) -> np.ndarray:
    """Scores [models, benchmarks] of models whose families the fit has seen."""
    columns = []
    for shape, t in found if isinstance(found, list) else [found]:
        index = {n: i for i, n in enumerate(shape.families)}
        columns.append(shape.chances(t, shape.covariates(table, only_compute), table["family"].map(index).to_numpy())[0])
    return np.concatenate(columns, axis=1)


def left_out(own: pd.DataFrame, least: int = 3) -> list[tuple[str, pd.Index, pd.Index]]:
    """Family, rows a fit may see, rows to be foretold, for every family of at least `least` sizes.

    Seen: every model of other bases, and the family's smallest; a family's twin (instruct or base) is left out altogether.
    """
    rows = []
    for family, group in own.groupby("family"):
        if group["N"].nunique() < least:
            continue
        smallest = group.index[[group["N"].to_numpy().argmin()]]
        others = own.index[own["base"] != group["base"].iloc[0]]
        rows.append((str(family), others.append(smallest), group.index.difference(smallest)))
    return rows


def forecasts(own: pd.DataFrame, skills: Iterable[int] = (1, 2, 3)) -> pd.DataFrame:
    """A row a rule, foretold model and benchmark: rule, family, model, N, benchmark, measured, predicted.

    Rules: "N skills"; "size and tokens" and "compute", a curve a benchmark; "smallest", the family's smallest model again.
    """
    scores, rows = [s for s in SCORES if s in own], []
    for family, seen, wanted in left_out(own):
        train, aim = own.loc[seen], own.loc[wanted]
        guesses = {f"{k} skill{'s' * (k > 1)}": predict(fitted(train, k), aim) for k in skills}
        guesses["size and tokens"] = predict(separate(train), aim)
        guesses["compute"] = predict(separate(train, True), aim, True)
        guesses["smallest"] = np.repeat(train.loc[seen[-1:], scores].to_numpy(), len(aim), 0)
        for rule, guess in guesses.items():
            wide = pd.DataFrame(guess, columns=scores, index=wanted).melt(var_name="benchmark", value_name="predicted", ignore_index=False)
            wide["measured"] = aim[scores].melt(ignore_index=False)["value"]
            rows.append(wide.assign(rule=rule, family=family, model=own.loc[wide.index, "model"], N=own.loc[wide.index, "N"]))
    return pd.concat(rows, ignore_index=True)
