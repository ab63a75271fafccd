"""Scaling laws from public models nobody trained for the purpose (Ruan, Maddison & Hashimoto 2024, arXiv:2405.10938).

Benchmarks of many models lie near a space of few dimensions; its coordinates grow with log compute inside a family and, through
a sigmoid, give tasks that look emergent. Tables: `datasets.load("benchmarks")`. A model that is foretold lends its own
benchmarks, never its result on the task.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.special import expit

from ..datasets.evaluations import BENCHMARKS

EVALUATED = (
    "Llama-2", "Llama", "Llama-3", "Qwen1.5", "Qwen", "Mistral", "Mixtral", "Yi", "Gemma", "Falcon", "Phi", "Pythia", "BLOOM",
    "GPT-Neo/J", "OPT", "MPT", "XGLM", "CodeLlama", "StarCoder", "StarCoder2", "DeepSeek-Coder",
)  # fmt: skip
"""The 21 families of the paper (Section 3.2)."""
CUT = 8.4e22
"""FLOPs of Llama-2 7B: models up to it are fitted to, the others are foretold (Section 4)."""
TASKS = {
    "word_unscrambling": ("Word unscrambling", 0.0, CUT, BENCHMARKS),
    "parsinlu_qa": ("Persian QA", 0.25, CUT, BENCHMARKS),
    "arithmetic_3ds": ("3-digit subtraction", 0.0, CUT / 4, tuple(b for b in BENCHMARKS if b != "GSM8K")),
    "arithmetic_2dm": ("2-digit multiplication", 0.0, CUT / 4, tuple(b for b in BENCHMARKS if b != "GSM8K")),
}
"""The paper's four (Figure 4): name, accuracy of guessing, where weak models end, benchmarks used."""
COMPONENTS = 3
HEIGHT = (0.8, 1.0)
"""Of the sigmoid (Section 3.4)."""


class Space(NamedTuple):
    """Principal components of benchmarks: mean and scale of each, directions [components, benchmarks], shares of variance."""

    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    filler: np.ndarray
    directions: np.ndarray
    centre: np.ndarray
    shares: np.ndarray

    def filled(self, table: pd.DataFrame) -> np.ndarray:
        """Benchmarks [models, benchmarks], what is missing set to what the first component of standardised scores implies."""
        raw = (table[list(self.names)].to_numpy(float) - self.mean) / self.scale
        return np.clip(_fill(raw, self.filler) * self.scale + self.mean, 0, 1)

    def coordinates(self, table: pd.DataFrame) -> np.ndarray:
        """[models, components]."""
        return (self.filled(table) - self.centre) @ self.directions.T


def _fill(z: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Missing entries of each row by least squares on one direction through those that are there."""
    there = ~np.isnan(z)
    weight = (there * direction**2).sum(1)
    score = (np.where(there, z, 0) @ direction) / np.where(weight > 0, weight, 1)
    return np.where(there, z, score[:, None] * direction)


def space(table: pd.DataFrame, names=BENCHMARKS, components: int = COMPONENTS, rounds: int = 500) -> Space:
    """Principal components of mean-centred, unscaled benchmarks (Appendix B.3) of these models.

    What is missing is filled by the first component of the standardised scores, found by alternating until nothing changes:
    each model's score from what it has, then the component.
    """
    raw = table[list(names)].to_numpy(float)
    mean, scale = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0)
    z = (raw - mean) / scale
    direction = np.ones(len(names)) / np.sqrt(len(names))
    for _ in range(rounds):
        full = _fill(z, direction)
        after = np.linalg.svd(full - full.mean(0), full_matrices=False)[2][0]
        after *= np.sign(after.sum())
        if np.abs(after - direction).max() < 1e-10:
            break
        direction = after
    full = np.clip(_fill(z, direction) * scale + mean, 0, 1)
    centre = full.mean(0)
    _, s, v = np.linalg.svd(full - centre, full_matrices=False)
    v = v * np.sign(v.sum(1))[:, None]
    return Space(tuple(names), mean, scale, direction, v[:components], centre, s**2 / (s**2).sum())


def within_families(table: pd.DataFrame, axis: np.ndarray, least: int = 4) -> pd.DataFrame:
    """Straight line of a coordinate on log10 C inside each family of at least so many: family, models, slope, r2."""
    rows = []
    for family, own in table.assign(axis=axis).dropna(subset=["C"]).groupby("family"):
        if len(own) >= least and own["C"].nunique() > 2:
            x, y = np.log10(own["C"]), own["axis"]
            r = float(np.corrcoef(x, y)[0, 1])
            rows.append((family, len(own), float(np.polyfit(x, y, 1)[0]), r * r))
    return pd.DataFrame(rows, columns=["family", "models", "slope", "r2"])


def fit_sigmoid(X: np.ndarray, y: np.ndarray, starts=None) -> np.ndarray:
    """h·σ(α + β·x) with the least Σ (ŷ − y)²: (h, α, β…), h within `HEIGHT` (Eq. 6). X [n, k], y [n].

    Starts: the logistic line through clipped y, and flatter and steeper ones, or those given.
    """
    A = np.column_stack([np.ones(len(X)), X])
    if starts is None:
        inside = np.clip(y, 0.01, 0.99)
        line = np.linalg.lstsq(A, np.log(inside / (1 - inside)), rcond=None)[0]
        starts = [np.concatenate([[0.95], line * f]) for f in (0.5, 1.0, 2.0)]
    low, high = np.full(A.shape[1] + 1, -np.inf), np.full(A.shape[1] + 1, np.inf)
    low[0], high[0] = HEIGHT

    def slopes(t):
        s = expit(A @ t[1:])
        return np.column_stack([s, (t[0] * s * (1 - s))[:, None] * A])

    ends = [least_squares(lambda t: t[0] * expit(A @ t[1:]) - y, s, jac=slopes, bounds=(low, high), x_scale="jac", max_nfev=300) for s in starts]
    return min(ends, key=lambda e: e.cost).x


def sigmoid(t: np.ndarray, X: np.ndarray) -> np.ndarray:
    """The fitted curve at X [n, k]."""
    return t[0] * expit(t[1] + X @ t[2:])


def known(table: pd.DataFrame) -> pd.DataFrame:
    """The paper's models: its 21 families, with compute."""
    return table[table["family"].isin(EVALUATED) & table["C"].notna()]


def predictors(weak: pd.DataFrame, strong: pd.DataFrame, names) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rule → X of weak and of strong models. Components come from the weak alone; standardised by the weak."""
    basis = space(weak, names)
    found = {"components": (basis.coordinates(weak), basis.coordinates(strong))}
    found["compute"] = tuple(np.log10(t["C"].to_numpy())[:, None] for t in (weak, strong))  # type: ignore[assignment]
    found["parameters"] = tuple(np.log10(t["N"].to_numpy())[:, None] for t in (weak, strong))  # type: ignore[assignment]
    scaled = {}
    for rule, (a, b) in found.items():
        m, s = a.mean(0), a.std(0)
        scaled[rule] = ((a - m) / s, (b - m) / s)
    return scaled


def forecasts(table: pd.DataFrame, samples: int, seed: int, level: float = 0.9, cuts: tuple[float, ...] = (1.0,)) -> pd.DataFrame:
    """A row a task, cut, rule and strong model: measured, predicted, low, high; accuracies above guessing, as a share of what is possible.

    cuts: multiples of each task's own. Weak models are resampled, the curve refitted, and a residual added to each.
    """
    rows = []
    for key, (name, chance, cut, names) in TASKS.items():
        own = known(table).dropna(subset=[key])
        y = (own[key].to_numpy() - chance) / (1 - chance)
        for times in cuts:
            weak = (own["C"] <= cut * times).to_numpy()
            if weak.sum() < 12 or weak.all():
                continue
            rng = np.random.default_rng(seed)
            draws = rng.integers(0, weak.sum(), (samples, weak.sum()))
            for rule, (X, Z) in predictors(own[weak], own[~weak], names).items():
                t = fit_sigmoid(X, y[weak])
                refits = np.array([fit_sigmoid(X[d], y[weak][d], [t]) for d in draws])
                miss = (y[weak] - sigmoid(t, X)) * np.sqrt(weak.sum() / max(weak.sum() - len(t), 1))
                each = np.array([sigmoid(r, Z) for r in refits])  # (samples, strong)
                noisy = (each[None] + rng.choice(miss, (20, samples))[:, :, None]).reshape(-1, len(Z))
                low, high = np.quantile(noisy, [(1 - level) / 2, (1 + level) / 2], axis=0)
                found = pd.DataFrame({"measured": y[~weak], "predicted": sigmoid(t, Z), "low": low, "high": high})
                rows.append(found.assign(task=name, cut=times, rule=rule, model=own["model"].to_numpy()[~weak], C=own["C"].to_numpy()[~weak], weak=int(weak.sum())))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def errors(found: pd.DataFrame) -> pd.DataFrame:
    """Mean squared error of each rule, a row a task and cut; `compute` over `components`."""
    squared = found.assign(squared=(found["predicted"] - found["measured"]) ** 2)
    table = squared.groupby(["task", "cut", "rule"], sort=False)["squared"].mean().unstack("rule")
    return table.assign(ratio=table["compute"] / table["components"]).reset_index()
