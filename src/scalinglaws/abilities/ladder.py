"""A ladder of small runs that foretells a large one's accuracy in two steps (Bhagia et al. 2024, arXiv:2412.04403).

Step one: the task's loss follows L(N, D) = E + A/N^α + B/D^β, fitted to the last checkpoints of the runs. Step two: accuracy
is a sigmoid of that loss, fitted to all checkpoints. A forecast chains the two. Tables have a row a checkpoint: run, N, D,
loss, accuracy; whatever is to be foretold is never among the rows that a fit sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from .. import fit
from ..fit.result import Fit, expanded_level, percentile, resample_weights
from ..laws.abilities import Sigmoid

SMOOTHED, SKIPPED = 5, 0.1
"""Checkpoints in a moving average, and share of a run's first checkpoints that step two leaves out (the paper's released settings)."""
_LOW, _HIGH = np.array([-1.0, 0.0, 0.0, 0.0]), np.array([0.0, np.inf, np.inf, 1.0])


def final(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a run: its last D, and means over its last `SMOOTHED` checkpoints of loss, accuracy and, where there is one, soft."""
    rows = rows.sort_values(["run", "D"], kind="stable")
    last = rows.groupby("run").tail(1).set_index("run")
    scores = [k for k in ("loss", "accuracy", "soft") if k in rows]
    smooth = rows.groupby("run").tail(SMOOTHED).groupby("run")[scores].mean()
    return last.assign(**smooth).reset_index()


def along(rows: pd.DataFrame) -> pd.DataFrame:
    """What step two is fitted to: run, loss, accuracy, moving averages over each run without its beginning."""
    parts = []
    for run, own in rows.sort_values("D", kind="stable").groupby("run"):
        own = own.iloc[int(np.ceil(SKIPPED * len(own))) if len(own) > 1 else 0 :]
        smooth = own[["loss", "accuracy"]].rolling(SMOOTHED, min_periods=1).mean()
        parts.append(smooth.assign(run=run))
    return pd.concat(parts, ignore_index=True)


def fit_sigmoid(loss, accuracy, weights=None, start: Sigmoid | None = None) -> Sigmoid:
    """Least squares of the accuracy (n,), with the point of no loss and full accuracy added once (released code).

    The best of a few starts, or from `start` alone. Raises ValueError for fewer than four rows.
    """
    x, y = np.append(np.asarray(loss, float), 0.0), np.append(np.asarray(accuracy, float), 1.0)
    if len(x) < 5:
        raise ValueError(f"a sigmoid has four parameters: {len(x) - 1} rows cannot determine them")
    root = np.sqrt(np.append(np.ones(len(x) - 1) if weights is None else np.asarray(weights, float), 1.0))

    def residual(t):
        return root * (Sigmoid(*t).predict(x) - y)

    def slopes(t):
        a, k, middle, _ = t
        with np.errstate(over="ignore"):
            s = 1 / (1 + np.exp(-k * (x - middle)))
        inner = a * s * (1 - s)
        return root[:, None] * np.stack([s, inner * (x - middle), -inner * k, np.ones_like(x)], axis=1)

    spread = np.quantile(x[:-1], [0.1, 0.5, 0.9])
    starts = [(start.a, start.k, start.L0, start.b)] if start else [(-0.7, k, m, 1.0) for k in (1.0, 3.0, 8.0) for m in spread]
    ends = [least_squares(residual, np.clip(s, _LOW + 1e-9, _HIGH - 1e-9), jac=slopes, bounds=(_LOW, _HIGH), x_scale=(0.5, 3.0, 0.5, 0.5)) for s in starts]  # fmt: skip
    return Sigmoid(*map(float, min(ends, key=lambda e: e.cost).x))


@dataclass(frozen=True)
class Ladder:
    """Both steps fitted to the same runs, and K refits of both to resampled runs.

    first: step one. second: step two. surfaces: parameters of step one by name, (K,). curves: step two under each refit.
    misses: accuracy less what the chain gives, of the runs' ends, (runs,).
    """

    first: Fit
    second: Sigmoid
    surfaces: dict[str, np.ndarray]
    curves: tuple[Sigmoid, ...]
    misses: np.ndarray

    def loss(self, N, D):
        """Step one: the task's loss at N parameters and D tokens."""
        return self.first.law.predict(N, D)

    def accuracy(self, N, D):
        """Both steps."""
        return self.second.predict(self.loss(N, D))

    def interval(self, N: float, D: float, level: float = 0.9, seed: int = 0) -> tuple[float, float]:
        """In which a further run's accuracy lies with this probability: refits of both steps, and a miss of a run drawn with each.

        Misses are widened by √(m/(m−5)) for the parameters fitted to m runs (as in `fit.predict`).
        """
        return self._ends(self._each(N, D), level, seed)

    def law_interval(self, N: float, D: float, level: float = 0.9) -> tuple[float, float]:
        """Of the curve alone, without a run's own luck."""
        return percentile(self._each(N, D), expanded_level(level, len(self.misses)))

    def _each(self, N, D) -> np.ndarray:
        s = self.surfaces
        losses = s["E"] + s["A"] * N ** -s["alpha"] + s["B"] * D ** -s["beta"]
        return np.array([curve.predict(loss) for curve, loss in zip(self.curves, losses, strict=True)])

    def _ends(self, each, level, seed) -> tuple[float, float]:
        m = len(self.misses)
        drawn = np.random.default_rng(seed).choice(self.misses, (20, len(each))) * np.sqrt(m / max(m - 5, 1))
        return percentile(np.clip(each + drawn, 0, 1).ravel(), expanded_level(level, m))


def climb(rows: pd.DataFrame, resamples: int = 200, seed: int = 0) -> Ladder:
    """Both steps of one task on `rows`: run, N, D, loss, accuracy; refits to resampled runs, a run with all its checkpoints.

    Raises ValueError where the runs are fewer than six or no loss is positive.
    """
    ends, path = final(rows), along(rows)
    if len(ends) < 6:
        raise ValueError(f"step one has five parameters: {len(ends)} runs cannot determine them")
    first = fit.fit_surface(ends["N"], ends["D"], ends["loss"])
    second = fit_sigmoid(path["loss"], path["accuracy"])
    W = resample_weights(len(ends), resamples, np.random.default_rng(seed))
    surfaces = first.refit(W)  # type: ignore[misc]  # a surface can be refitted
    run = path["run"].map({name: i for i, name in enumerate(ends["run"])}).to_numpy()
    curves = tuple(fit_sigmoid(path["loss"], path["accuracy"], w[run], second) for w in W)
    misses = ends["accuracy"] - second.predict(first.law.predict(ends["N"], ends["D"]))
    return Ladder(first, second, surfaces, curves, misses.to_numpy())


def forecasts(table: pd.DataFrame, resamples: int = 200, seed: int = 0, level: float = 0.9) -> pd.DataFrame:
    """A row a task and target: what was measured, both steps and their misses, and the interval.

    table: as `datasets.load("ladder")`. Fitted to the runs without `target` only. Columns: task, target, N, D, measured,
    predicted, low, high, law_low, law_high, loss (the target's), first (predicted loss), second (accuracy from the true loss).
    """
    rows = []
    for task, own in table.groupby("task", sort=False):
        ladder = climb(own[~own["target"]], resamples, seed)
        for _, aim in final(own[own["target"]]).iterrows():
            N, D = float(aim["N"]), float(aim["D"])
            ends, law = ladder.interval(N, D, level, seed), ladder.law_interval(N, D, level)
            rows.append((task, aim["run"], N, D, aim["accuracy"], ladder.accuracy(N, D), *ends, *law, aim["loss"], ladder.loss(N, D), ladder.second.predict(aim["loss"])))  # fmt: skip
    names = ["task", "target", "N", "D", "measured", "predicted", "low", "high", "law_low", "law_high", "loss", "first", "second"]
    return pd.DataFrame(rows, columns=names)


def noise(table: pd.DataFrame, run: str = "1B-10x", last: int = 10) -> pd.DataFrame:
    """Standard deviation of loss and accuracy over a run's last checkpoints, a row a task (SD10: Section 5, Table 4)."""
    own = table[table["run"].str.startswith(run)].sort_values("D", kind="stable").groupby("task", sort=False).tail(last)
    return own.groupby("task", sort=False)[["loss", "accuracy"]].std().reset_index()
