"""Stored counts, model beside model on the same tasks, and the questions that the chapter asks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from .estimators import accuracy, ceiling, conditional, fixed_effects, pass_at, reward
from .tasks import VISIBLE


@dataclass(frozen=True)
class Ladder:
    """Counts of all models on the same tasks, the weakest model first.

    names, seeds [models]; n, c and b[m] [models, tasks]; task: one row a task (split, depth, dropped).
    """

    names: np.ndarray
    seeds: np.ndarray
    n: np.ndarray
    c: np.ndarray
    b: dict[int, np.ndarray]
    task: pd.DataFrame

    @cached_property
    def pass_1(self) -> np.ndarray:
        """P(a sample is right) of each model, the mean over tasks."""
        return (self.c / self.n).mean(1)

    @property
    def ladder(self) -> list[str]:
        """The models by name, the weakest first."""
        return list(dict.fromkeys(self.names))

    def tasks(self, chosen) -> Ladder:
        """The same models on these tasks: a mask or an index, which may repeat."""
        cut = lambda a: a[:, chosen]
        b = {m: cut(v) for m, v in self.b.items()}
        return replace(
            self, n=cut(self.n), c=cut(self.c), b=b, task=self.task.iloc[np.arange(len(self.task))[chosen]]
        )

    def models(self, chosen) -> Ladder:
        """These models on the same tasks: a mask or an index."""
        b = {m: v[chosen] for m, v in self.b.items()}
        return replace(
            self, names=self.names[chosen], seeds=self.seeds[chosen], n=self.n[chosen], c=self.c[chosen], b=b
        )

    def conditional(self, m: int) -> np.ndarray:
        """P(right | passes m tests) of each model: the mean of c/b over its own tasks with a passing sample."""
        seen = self.b[m] > 0
        each = np.where(seen, np.nan_to_num(conditional(self.b[m], self.c)), 0.0).sum(1)
        return np.divide(each, seen.sum(1), out=np.full(len(each), np.nan), where=seen.any(1))

    def common(self, m: int) -> np.ndarray:
        """Tasks where every model has a sample that passes m tests."""
        return np.asarray((self.b[m] > 0).all(0))

    def by_model(self, each: np.ndarray) -> dict[str, float]:
        """Values of the models [models], the mean over the seeds of a model."""
        return {name: float(np.mean(each[self.names == name])) for name in self.ladder}

    def levels(self, each: np.ndarray) -> np.ndarray:
        """The same without the names, the weakest model first [models by name]."""
        return np.array(list(self.by_model(each).values()))

    def model(self, name: str) -> Ladder:
        """One model with all its seeds."""
        return self.models(self.names == name)


def ladder(counts: pd.DataFrame) -> Ladder:
    """The stored table as arrays. Raises ValueError where a model lacks a task that another has."""
    order = counts.assign(share=counts["c"] / counts["n"])
    strength = order.groupby("model")["share"].mean().sort_values(kind="stable")
    keys = [(model, seed) for model in strength.index for seed in sorted(set(counts["seed"]))]
    groups = {key: g.sort_values("task") for key, g in counts.groupby(["model", "seed"])}
    parts = [groups[k] for k in keys if k in groups]
    names, seeds = (np.array([p[column].iloc[0] for p in parts]) for column in ("model", "seed"))
    shown = parts[0]["task"].to_numpy()
    for part, name, seed in zip(parts, names, seeds, strict=True):
        if not np.array_equal(part["task"], shown):
            raise ValueError(
                f"model {name}, seed {seed}: other tasks than the first model's; make the study whole"
            )
    whole = lambda column: np.stack([p[column].to_numpy() for p in parts])
    task = parts[0][["task", "split", "depth", "dropped"]].reset_index(drop=True)
    return Ladder(names, seeds, whole("n"), whole("c"), {m: whole(f"b{m}") for m in VISIBLE}, task)


def bootstrap(
    statistic: Callable[[Ladder], float | np.ndarray], of: Ladder, resamples: int, seed: int
) -> np.ndarray:
    """95 % interval [2, …] of a statistic: seeds are resampled, then tasks, all models on the same ones.

    A drawn seed stands in the place of another in every model, so that names keep their order. The statistic is
    a number or an array. Resamples without a value are left out of its interval. Raises ValueError where none has one.
    """
    rng = np.random.default_rng(seed)
    count, seeds = len(of.task), np.unique(of.seeds)
    place = {(name, s): k for k, (name, s) in enumerate(zip(of.names, of.seeds, strict=True))}

    def once():
        other = dict(zip(seeds, rng.choice(seeds, len(seeds)), strict=True))
        models = [
            place.get((n, other[s]), k) for k, (n, s) in enumerate(zip(of.names, of.seeds, strict=True))
        ]
        return statistic(of.models(np.array(models)).tasks(rng.integers(count, size=count)))

    drawn = np.array([once() for _ in range(resamples)])
    if np.isnan(drawn).all(0).any():
        raise ValueError("no resample has a value: too few tasks with a passing sample")
    return np.nanquantile(drawn, [0.025, 0.975], axis=0)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y on x; NaN where fewer than two x differ."""
    there = ~(np.isnan(x) | np.isnan(y))
    x, y = x[there], y[there]
    if len(x) < 2 or np.ptp(x) == 0:
        return float("nan")
    x = x - x.mean()
    return float(x @ y / (x @ x))


def association(of: Ladder, m: int, on=None) -> float:
    """Slope of conditional accuracy on pass@1 over the models (Stroebl et al. 2024, Figure 3).

    on: the tasks of the conditional accuracy (a mask; default all). pass@1 is always that of all tasks.
    """
    part = of if on is None else of.tasks(on)
    return slope(of.pass_1, part.conditional(m)) if len(part.task) else float("nan")


def within_tasks(of: Ladder, m: int, on=None) -> float:
    """Slope of P(pass m tests | wrong) on the model's pass@1 with task fixed effects.

    A cell is a model on a task (of `on`) that it does not always solve. Negative: the errors of a stronger model
    are caught more often on the same task. Zero: base rates alone make its passing samples more often right.
    """
    part = of if on is None else of.tasks(on)
    wrong = part.n - part.c
    rate = np.divide(part.b[m] - part.c, wrong, out=np.full(wrong.shape, np.nan), where=wrong > 0)
    return fixed_effects(np.broadcast_to(of.pass_1[:, None], rate.shape), rate)


def false_rate(of: Ladder, m: int) -> np.ndarray:
    """P(pass m tests | wrong) of each model, pooled over tasks."""
    return (of.b[m] - of.c).sum(1) / (of.n - of.c).sum(1)


def null(of: Ladder, m: int, rng: np.random.Generator) -> Ladder:
    """The same right samples, but wrong ones pass with a chance that depends on the task and not on the model.

    That chance is the pooled (Σ b − c)/(Σ n − c) of the task over all models. What is left of a finding in
    this world is what base rates alone make.
    """
    wrong = of.n - of.c
    passed = (of.b[m] - of.c).sum(0)
    chance = np.divide(passed, wrong.sum(0), out=np.zeros(wrong.shape[1]), where=wrong.sum(0) > 0)
    return replace(of, b=of.b | {m: of.c + rng.binomial(wrong, chance)})


def pooled_null(pass_1: np.ndarray, conditional_accuracy: np.ndarray) -> np.ndarray:
    """P(pass | wrong) that one task of each model's average would need: x(1 − y)/(y(1 − x)).

    From y = x/(x + (1 − x)·f). For published tables that give means only, where no task can be held fixed.
    """
    x, y = np.asarray(pass_1, float), np.asarray(conditional_accuracy, float)
    return x * (1 - y) / (y * (1 - x))


def bounds(of: Ladder, m: int) -> pd.DataFrame:
    """The ceiling of each model with m tests: over tasks where something passed, and filled with 0 and 1."""
    found = [ceiling(b, c) for b, c in zip(of.b[m], of.c, strict=True)]
    return pd.DataFrame(
        {
            "model": of.names,
            "seed": of.seeds,
            "pass@1": of.pass_1,
            "passed": [f.passed for f in found],
            "low": [f.low for f in found],
            "high": [f.high for f in found],
            "tasks": [f.tasks for f in found],
        }
    )


def chosen(counts: pd.DataFrame, m: int) -> pd.DataFrame:
    """Accuracy of ways to choose one of all n samples, by model: the weakest first.

    one: a sample at random; first: the first that passes m tests, wrong if none does; most: the one that passes
    most of m tests; majority: the most frequent behaviour; perfect: coverage, what a perfect judge would reach.
    """
    n, b, c = (counts[k].to_numpy() for k in ("n", f"b{m}", "c"))
    table = pd.DataFrame(
        {
            "model": counts["model"],
            "one": c / n,
            "first": accuracy(n, b, c, n),
            "most": counts[f"most{m}"],
            "majority": counts["majority"],
            "perfect": pass_at(n, c, n),
        }
    )
    return table.groupby("model").mean().sort_values("one")


def poorly_tested(of: Ladder, m: int, below: float = 0.9) -> np.ndarray:
    """Tasks whose mean conditional accuracy over the models is under `below` (Stroebl et al. 2024, Section 4)."""
    each = conditional(of.b[m], of.c)
    seen = ~np.isnan(each)
    mean = np.divide(np.nansum(each, 0), seen.sum(0), out=np.ones(each.shape[1]), where=seen.any(0))
    return mean < below


def small_budgets(
    of: Ladder, m: int, penalty: float, resamples: int, seed: int, below: int = 10
) -> tuple[float, tuple[float, float]]:
    """Share of models whose best budget is 1 … below − 1 with m tests, and its 95 % interval, seeds and tasks resampled."""
    rng, count, seeds = np.random.default_rng(seed), len(of.task), np.unique(of.seeds)
    tasks = np.vstack([np.ones(count), rng.multinomial(count, np.full(count, 1 / count), resamples)])
    drawn = np.vstack(
        [np.ones(len(seeds)), rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), resamples)]
    )
    share = np.zeros(resamples + 1)
    for n, b, c, s in zip(of.n, of.b[m], of.c, of.seeds, strict=True):
        each = np.stack([reward(n, b, c, K, penalty) for K in range(int(n.min()) + 1)])
        best = (each @ tasks.T).argmax(0)
        share += ((best > 0) & (best < below)) * drawn[:, np.searchsorted(seeds, s)]
    share /= len(of.seeds)
    low, high = np.quantile(share[1:], [0.025, 0.975])
    return float(share[0]), (float(low), float(high))
