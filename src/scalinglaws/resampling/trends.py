"""Does conditional accuracy rise with skill, on which models does that hang, and how much of it do base rates make?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from .estimators import leave_one_out
from .readout import Ladder, association, null, poorly_tested, within_tasks
from .tasks import VISIBLE


@dataclass(frozen=True)
class Line:
    """y = intercept + slope·x by least squares, its correlation r, and the x between which it was fitted."""

    slope: float
    intercept: float
    r: float
    low: float
    high: float

    @property
    def drawn(self) -> tuple[float, float, float, float]:
        """Slope, intercept, and both ends, as `plots.resampling.published` wants them."""
        return self.slope, self.intercept, self.low, self.high


def line(table: pd.DataFrame) -> Line:
    """The line through published points (Stroebl et al. 2024, Figure 3): `conditional` on `pass_1`, a row a model.

    Raises ValueError where all pass_1 are equal.
    """
    x, y = table["pass_1"], table["conditional"]
    fit = stats.linregress(x, y)
    return Line(*(float(v) for v in (fit.slope, fit.intercept, fit.rvalue, x.min(), x.max())))


def worst_pair(table: pd.DataFrame) -> tuple[float, tuple[float, float]]:
    """The smallest correlation with two models left out, and Fisher's 95 % interval for it.

    table: pass_1 and conditional, a row a model, at least six of them: Fisher's interval needs four.
    """
    left = [table.drop(list(pair)) for pair in combinations(table.index, 2)]
    least = min((stats.pearsonr(t["pass_1"], t["conditional"]) for t in left), key=lambda r: r.statistic)
    low, high = least.confidence_interval()
    return float(least.statistic), (float(low), float(high))


def measures(of: Ladder, suites: Sequence[int] = VISIBLE) -> np.ndarray:
    """Three slopes on pass@1 for each number of tests, [suites, 3].

    Of conditional accuracy; of the same on tasks where every model has a passing sample; and of P(pass | wrong)
    within those tasks (`readout.within_tasks`). NaN where there are no such tasks.
    """
    out = []
    for m in suites:
        on = of.common(m)
        out.append((association(of, m), association(of, m, on), within_tasks(of, m, on)))
    return np.array(out)


def without_each(of: Ladder, m: int = 1) -> np.ndarray:
    """Slope of conditional accuracy on pass@1 with each model left out in turn, all its seeds, [models by name]."""
    names = np.array(of.ladder)
    kept_only = lambda kept: of.models(np.isin(of.names, names[kept]))
    return leave_one_out(lambda kept: association(kept_only(kept), m), len(names))


def steep_and_rest(of: Ladder, m: int = 1) -> np.ndarray:
    """That slope on the poorly tested tasks, and on the others (Stroebl et al. 2024, Section 4), [2]."""
    poor = poorly_tested(of, m)
    return np.array([association(of, m, on) for on in (poor, ~poor)])


def null_worlds(
    of: Ladder, suites: Sequence[int], count: int, rng: np.random.Generator
) -> dict[int, list[Ladder]]:
    """m → `count` worlds in which a wrong program's chance to pass m tests depends on its task alone (`readout.null`)."""
    return {m: [null(of, m, rng) for _ in range(count)] for m in suites}


def beyond_null(of: Ladder, m: int, rng: np.random.Generator) -> float:
    """Slope of conditional accuracy on the common tasks minus that of one null world drawn from the same counts.

    Negative: the errors work against what base rates make.
    """
    on = of.common(m)
    drawn = null(of, m, rng)
    return association(of, m, on) - association(drawn, m, on)


def spelt_rate(counts: pd.DataFrame, m: int = 1) -> pd.Series:
    """P(pass m tests | wrong) of each model among samples that are programs at all, pooled over seeds and tasks.

    counts: n, c, broken and bm, a row a model, seed and task.
    """
    table = counts.assign(
        wrong=counts["n"] - counts["c"] - counts["broken"], false=counts[f"b{m}"] - counts["c"]
    )
    sums = table.groupby("model")[["false", "wrong"]].sum()
    return sums["false"] / sums["wrong"]


def points(of: Ladder, nulls: dict[int, np.ndarray]) -> pd.DataFrame:
    """The data of the ladder's figure: tests, model, pass@1, conditional and null, a row a model and number of tests.

    nulls: m → conditional accuracy in the null world [models]; its keys are the numbers of tests.
    """
    columns = {"model": of.names, "pass@1": of.pass_1}
    parts = [
        pd.DataFrame({"tests": m, **columns, "conditional": of.conditional(m), "null": each})
        for m, each in nulls.items()
    ]
    return pd.concat(parts, ignore_index=True)
