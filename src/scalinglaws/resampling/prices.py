"""When submissions are found and how often they are wrong; what wrong ones cost, and the best number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from .estimators import Best, best_budget, budget_interval, false_discovery, reward
from .readout import Ladder
from .theory import TaskClass


def groups(n: int) -> list[tuple[int, int]]:
    """Groups of samples 1, 2, 3–4, 5–8, … up to n, each as (after, last): samples after + 1 … last."""
    steps = [0, *(2**k for k in range(int(np.log2(n)) + 1) if 2**k < n), n]
    return list(pairwise(steps))


def found_in(of: Ladder, parts: Sequence[tuple[int, int]], m: int = 1) -> np.ndarray:
    """P(wrong | the first passing sample lies in a group), [models, groups] (Stroebl et al. 2024, Figure 5).

    parts: groups (after, last). Over all submissions of a model; NaN where there are none.
    """
    return np.array(
        [
            [false_discovery(n, b, c, last, after) for after, last in parts]
            for n, b, c in zip(of.n, of.b[m], of.c, strict=True)
        ]
    )


def rise(of: Ladder, parts: Sequence[tuple[int, int]], m: int = 1) -> float:
    """The rate of the last group minus that of the first, the mean over the models."""
    rates = found_in(of, (parts[0], parts[-1]), m)
    return float((rates[:, 1] - rates[:, 0]).mean())


def by_ease(of: Ladder, m: int = 1) -> dict[str, float]:
    """P(wrong | passes) on the mean task of thirds of the tasks, by how often a sample passes there.

    of: one model with its seeds. Tasks that nothing passed are left out; a rate is the mean over tasks, then seeds.
    """
    ease = (of.b[m] / of.n).mean(0)
    third = np.digitize(ease, np.quantile(ease[ease > 0], [1 / 3, 2 / 3]))
    parts = [of.tasks((third == k) & (ease > 0)) for k in range(3)]
    names = ("seldom passed", "in between", "often passed")
    return {name: float(1 - np.nanmean(part.conditional(m))) for name, part in zip(names, parts, strict=True)}


def best_budgets(of: Ladder, m: int, penalties: Sequence[float]) -> dict[float, list[Best]]:
    """λ → the best number of samples with m tests, a model each (`estimators.best_budget`)."""
    data = list(zip(of.n, of.b[m], of.c, strict=True))
    return {p: [best_budget(*one, p) for one in data] for p in penalties}


def budget_table(of: Ladder, m: int, penalties: Sequence[float], resamples: int, seed: int) -> pd.DataFrame:
    """Best number of samples of each model's first seed with its 95 % interval over tasks, as texts, a column a penalty.

    "≥" and "+" mark the largest number of samples, at which a budget is censored.
    """
    one = of.models(of.seeds == of.seeds.min())

    def cell(n, b, c, penalty):
        best = best_budget(n, b, c, penalty)
        least, most = budget_interval(n, b, c, penalty, resamples, seed)
        more = "+" if most == of.n.max() else ""
        return f"{'≥ ' if best.censored else ''}{best.K} ({least} to {most}{more})"

    rows = zip(one.names, one.n, one.b[m], one.c, strict=True)
    return pd.DataFrame(
        [{"model": name} | {f"λ = {p:g}": cell(n, b, c, p) for p in penalties} for name, n, b, c in rows]
    )


def kinds(budgets: np.ndarray, cap: int, small: int = 10) -> str:
    """How many best budgets are 0, 1 … small − 1, larger, and at the cap: four counts with strokes between."""
    K = np.asarray(budgets)
    parts = (K == 0, (K > 0) & (K < small), (K >= small) & (K < cap), K >= cap)
    return " / ".join(f"{int(np.sum(e))}" for e in parts)


def reward_lines(
    of: Ladder, m: int, penalties: Sequence[float]
) -> dict[float, tuple[np.ndarray, np.ndarray]]:
    """λ → (K = 0 … n, mean reward over tasks) of the first model of `of` with m tests (`estimators.reward`)."""
    n, b, c = of.n[0], of.b[m][0], of.c[0]
    every = np.arange(int(n.min()) + 1)
    return {p: (every, np.array([reward(n, b, c, K, p).mean() for K in every])) for p in penalties}


def classes(of: Ladder, m: int, group: np.ndarray) -> list[TaskClass]:
    """Classes of tasks with the mean rates of the first model of `of`, by a label of each task [tasks]."""
    right = (of.c / of.n)[0]
    false = ((of.b[m] - of.c) / np.maximum(of.n - of.c, 1))[0]
    members = [group == g for g in np.unique(group)]
    return [TaskClass(here.mean(), right[here].mean(), false[here].mean()) for here in members]


def halves(of: Ladder) -> np.ndarray:
    """Whether a task belongs to the easier half of the first model's tasks, by its rate of right samples [tasks]."""
    ranks = np.argsort(np.argsort((of.c / of.n)[0], kind="stable"))
    return ranks >= len(ranks) // 2
