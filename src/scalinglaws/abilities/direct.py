"""Accuracy foretold in one step, from parameters and tokens alone: rivals of the ladder's two.

"surface": the error 1 − Acc as E + A/N^α + B/D^β, an option of Bhagia et al.'s released code. "no floor": −log Q = A/N^α + B/D^β
with Q the accuracy above guessing (Krajewski et al. 2025, arXiv:2512.08894), fitted to runs that are better than guessing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from .. import fit
from ..fit.result import expanded_level, percentile, resample_weights
from ..laws.abilities import LogAccuracy
from .ladder import final

CHANCE = {"MMLU": 0.25, "HellaSwag": 0.25, "ARC-Challenge": 0.25, "ARC-Easy": 0.25, "PIQA": 0.5, "CommonsenseQA": 0.2,
          "Social IQa": 1 / 3, "OpenBookQA": 0.25, "WinoGrande": 0.5, "BoolQ": 0.5}  # fmt: skip
"""Accuracy of guessing: one over the number of choices."""
MARGIN = 0.05
"""Runs whose Q is above this are fitted to."""
RULES = ("surface", "no floor")


def fit_log_accuracy(N, D, accuracy, chance: float, weights=None, start: LogAccuracy | None = None) -> LogAccuracy:
    """−log Q = A/N^α + B/D^β with the least Σ w (log(−log Q̂) − log(−log Q))², runs with Q above `MARGIN`.

    Coordinates are both terms at the typical run, so that they hardly depend on the exponents. Raises ValueError where fewer
    than five runs are better than guessing.
    """
    Q = (np.asarray(accuracy, float) - chance) / (1 - chance)
    good = (Q > MARGIN) & (Q < 1)
    if good.sum() < 5:
        raise ValueError(f"{int(good.sum())} runs are better than guessing; four parameters need five")
    n, d = (np.log(np.asarray(v, float)[good]) for v in (N, D))
    centre, y = (n.mean(), d.mean()), np.log(-np.log(Q[good]))
    root = np.sqrt(np.ones(len(y)) if weights is None else np.asarray(weights, float)[good])

    def law(t):
        return np.logaddexp(t[0] - np.exp(t[2]) * (n - centre[0]), t[1] - np.exp(t[3]) * (d - centre[1]))

    middle = y.mean() - np.log(2)
    near = start and (np.log(start.A) - start.alpha * centre[0], np.log(start.B) - start.beta * centre[1], np.log(start.alpha), np.log(start.beta))
    starts = [near] if near else [(middle, middle, np.log(a), np.log(b)) for a in (0.1, 0.3) for b in (0.1, 0.3)]
    low, high = (np.array([middle - 8, middle - 8, np.log(0.005), np.log(0.005)]), np.array([middle + 3, middle + 3, np.log(3.0), np.log(3.0)]))
    ends = [least_squares(lambda t: root * (law(t) - y), np.clip(s, low + 1e-9, high - 1e-9), bounds=(low, high)) for s in starts]
    best = min(ends, key=lambda e: e.cost).x
    alpha, beta = np.exp(best[2:])
    a, b = best[:2]
    return LogAccuracy(float(np.exp(a + alpha * centre[0])), float(np.exp(b + beta * centre[1])), float(alpha), float(beta), chance)


def _refits(rule: str, ends: pd.DataFrame, chance: float, W: np.ndarray):
    """The rule's accuracy at (N, D): of the fit, and of each refit."""
    N, D, accuracy = (ends[k].to_numpy(float) for k in ("N", "D", "accuracy"))
    if rule == "surface":
        found = fit.fit_surface(N, D, 1 - accuracy)
        s = found.refit(W)  # type: ignore[misc]  # a surface can be refitted
        return (lambda n, d: 1 - found.law.predict(n, d)), (lambda n, d: 1 - (s["E"] + s["A"] * n ** -s["alpha"] + s["B"] * d ** -s["beta"]))
    one = fit_log_accuracy(N, D, accuracy, chance)
    many = []
    for w in W:
        try:
            many.append(fit_log_accuracy(N, D, accuracy, chance, w, one))
        except ValueError:
            continue
    return one.predict, (lambda n, d: np.array([m.predict(n, d) for m in many]))


def forecasts(table: pd.DataFrame, resamples: int = 100, seed: int = 0, level: float = 0.9) -> pd.DataFrame:
    """A row a rule, task and target: measured, predicted, low, high; as `ladder.forecasts`, from the runs' ends alone."""
    rows = []
    for task, own in table.groupby("task", sort=False):
        ends, aims = final(own[~own["target"]]), final(own[own["target"]])
        rng = np.random.default_rng(seed)
        W, m = resample_weights(len(ends), resamples, rng), len(ends)
        for rule in RULES:
            try:
                best, each = _refits(rule, ends, CHANCE[str(task)], W)
            except ValueError:  # hardly a run is better than guessing: no forecast
                continue
            misses = (ends["accuracy"] - best(ends["N"].to_numpy(), ends["D"].to_numpy())).to_numpy() * np.sqrt(m / max(m - 5, 1))
            for _, aim in aims.iterrows():
                N, D = float(aim["N"]), float(aim["D"])
                drawn = each(N, D)
                noisy = np.clip(drawn + rng.choice(misses, (20, len(drawn))), 0, 1).ravel()
                rows.append((rule, task, aim["run"], N, D, aim["accuracy"], float(best(N, D)), *percentile(noisy, expanded_level(level, m))))
    return pd.DataFrame(rows, columns=["rule", "task", "target", "N", "D", "measured", "predicted", "low", "high"])
