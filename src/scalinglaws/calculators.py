"""Calculators in the page: the numbers of a chapter, and a static table for where no script runs.

The arithmetic stands twice, in the library and in `book/_static/calculators.js`, which reads what is written
here and asks no kernel. A test holds the two together to 1e-9, relative, in Chromium.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .fit import percentile
from .fit.lines import parabola
from .laws import Chinchilla, Frontier
from .notebook import Table
from .numbers import show
from .pretraining.overtrained import saved
from .resampling import estimators
from .testtime import policy

LAW_FIELDS = {Chinchilla: ("E", "A", "B", "alpha", "beta"), Frontier: ("N0", "a", "D0", "b", "C0")}
DIGITS = 8
"""Significant digits of what is sent to the page; the static table is computed from these too."""


DRAWS = 1000
"""Resamples sent, the first ones: enough for a 95 % interval, and 100 kB."""


class Calculator:
    """One calculator: its kind, what it computes from, and a table of some of its results.

    kind: "allocation", "valley", "lifetime", "resampling" or "trade", a function of calculators.js. label: what a reader who
    does not see it is told that it is. data: JSON, rounded to DIGITS. table: shown where no script runs.
    """

    def __init__(self, kind: str, label: str, data: Mapping, table: Table):
        self.kind, self.label, self.data, self.table = kind, label, data, table

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        # "</" would end the script element
        data = json.dumps(self.data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        return (
            f'<div class="calculator" data-calculator="{self.kind}" aria-label="{html.escape(self.label, quote=True)}">'
            f'<script type="application/json">{data}</script>'
            f'<div class="calculator-static">{self.table._repr_html_()}</div></div>'
        )


def rounded(values) -> list:
    """Nested lists of floats with DIGITS significant digits."""
    if np.ndim(values):
        return [rounded(v) for v in values]
    return float(f"{float(values):.{DIGITS}g}")  # type: ignore[return-value]


def allocation(
    rules: Mapping[str, Chinchilla | Frontier],
    draws: Mapping[str, Mapping[str, Any]] | None = None,
    budgets: Sequence[float] = (1e20, 1e22, 1e24),
) -> Calculator:
    """Compute-optimal parameters and tokens for a budget, under each law.

    rules: name → law. draws: name → the resamples of some of them (`Bootstrap.samples`), from which come 95 %
    intervals; failed ones are left out, and those after the first DRAWS. budgets: FLOPs, of the static table.
    """
    listed, rows = [], []
    for name, law in rules.items():
        kind = next(k for k in LAW_FIELDS if isinstance(law, k))
        fields = [f for f in LAW_FIELDS[kind] if f != "C0"]
        values = {f: rounded(getattr(law, f)) for f in LAW_FIELDS[kind]}
        own: dict[str, list] = {f: [] for f in fields}
        if draws and name in draws:
            drawn = np.array([draws[name][f] for f in fields])
            good = drawn[:, np.isfinite(drawn).all(0) & (drawn > 0).all(0)][:, :DRAWS]
            own = dict(zip(fields, rounded(good), strict=True))
        listed.append({"name": name, "kind": kind.__name__, "law": values, "draws": own})
        again = kind(**values)
        for C in budgets:
            at, row = again.optimum(C), {"law": name, "FLOPs": show(C)}
            ends: dict[str, Any] = {"N": None, "D": None}
            if own[fields[0]]:
                constant = {k: v for k, v in values.items() if k not in fields}
                every = kind(**{f: np.array(v) for f, v in own.items()}, **constant).optimum(C)
                ends = {"N": percentile(every.N, 0.95), "D": percentile(every.D, 0.95)}
            rows.append(row | {"parameters": show(at.N, ends["N"]), "tokens": show(at.D, ends["D"])})
    table = Table(pd.DataFrame(rows), "Compute-optimal parameters and tokens under each law (95 % intervals)")
    return Calculator("allocation", "Calculator of compute-optimal sizes", {"laws": listed}, table)


def vertex(law: Chinchilla, C: float, width: float, centre: float, points: int) -> tuple[np.ndarray, float]:
    """Approach 2 at one budget, without noise: the sizes of the grid, and where the parabola has its minimum.

    `points` sizes between 1/width and width times the optimum times centre; C = 6·N·D FLOPs.
    NaN where the parabola opens downwards.
    """
    N = law.optimum(C).N * centre * np.geomspace(1 / width, width, points)
    c, middle = parabola(np.log(N), law.predict(N, C / (6 * N)), np.ones((1, points)))
    c0 = c[0]
    return N, float(np.exp(np.ravel(middle)[0] - c0[1] / (2 * c0[2]))) if c0[2] > 0 else float("nan")


def valley(laws: Mapping[str, Chinchilla], points: int = 15, budget: float = 1e21) -> Calculator:
    """An IsoFLOP profile and the parabola through it, for a budget, a width and a centre of the grid."""
    listed = [
        {"name": name, "law": {f: rounded(getattr(law, f)) for f in LAW_FIELDS[Chinchilla]}}
        for name, law in laws.items()
    ]
    rows = []
    for name, law in laws.items():
        for centre in (0.5, 1.0, 2.0):
            miss = {
                f"grid ×{w:g}": f"{100 * (vertex(law, budget, w, centre, points)[1] / law.optimum(budget).N - 1):+.1f} %"
                for w in (2, 4, 8, 16)
            }
            rows.append({"law": name, "centre": f"×{centre:g}", **miss})
    table = Table(pd.DataFrame(rows), "Error of the parabola's N, by width and centre of the grid of sizes")
    return Calculator("valley", "IsoFLOP explorer", {"laws": listed, "points": points}, table)


def lifetime(
    laws: Mapping[str, Chinchilla], sizes: Sequence[float] = (7e9, 13e9, 70e9), served: Sequence[float] = (1e11, 2e12, 1e13)
) -> Calculator:
    """The cheapest lifetime at the quality of a compute-optimal model of so many parameters, by tokens served, under each law."""
    listed, rows = [], []
    for name, law in laws.items():
        values: dict[str, Any] = {f: rounded(getattr(law, f)) for f in LAW_FIELDS[Chinchilla]}
        listed.append({"name": name, "law": values})
        again = Chinchilla(**values)
        for N, tokens in zip(sizes, served, strict=True):
            best = saved(again, N, tokens)
            row = {"law": name, "quality of": show(N), "tokens served": show(tokens), "parameters": show(best.N)}
            rows.append(row | {"training tokens": show(best.D), "FLOPs saved": f"{100 * best.share:.1f} %"})
    table = Table(pd.DataFrame(rows), "The cheapest lifetime under each law")
    return Calculator("lifetime", "Calculator of the cheapest lifetime", {"laws": listed}, table)


def outcome(n, b, c, K: int, penalty: float, precision: float) -> dict[str, float]:
    """What K samples of each task lead to when a share `precision` of the wrong passes has been weeded out.

    n, b, c [tasks]: samples, those that pass, those that are right. Returns coverage (a perfect judge), submitted,
    right, the ceiling with its lower bound (`estimators.ceiling`), and the mean reward.
    """
    n, b, c = (np.asarray(a, float) for a in (n, b, c))
    b = c + (1 - precision) * (b - c)
    limit = estimators.ceiling(b, c)
    return {
        "coverage": float(estimators.pass_at(n, c, K).mean()),
        "submitted": float(estimators.pass_at(n, b, K).mean()),
        "right": float(estimators.accuracy(n, b, c, K).mean()),
        "ceiling": limit.passed,
        "low": limit.low,
        "reward": float(estimators.reward(n, b, c, K, penalty).mean()),
    }


def resampling(models: Mapping[str, Mapping[int, tuple]], penalty: float = 2.0) -> Calculator:
    """pass@K, the ceiling and the reward of resampling from counts; models: name → tests → (n, b, c) [tasks]."""
    listed, rows = [], []
    for name, suites in models.items():
        tests = {}
        for m, counts in suites.items():
            n, b, c = (np.asarray(a, int) for a in counts)
            unique, times = np.unique(np.stack([n, b, c], 1), axis=0, return_counts=True)
            tests[str(m)] = np.column_stack([unique, times]).tolist()
            row: dict[str, str] = {"model": name, "tests": str(m)}
            for K in (1, 10, int(n.min())):
                found = outcome(n, b, c, K, penalty, 0.0)
                row |= {f"right, K = {K}": f"{found['right']:.3f}"}
            row |= {f"reward at the last, λ = {penalty:g}": f"{found['reward']:+.3f}"}
            rows.append(row | {"ceiling": f"{found['ceiling']:.3f}"})
        listed.append({"name": name, "tests": tests})
    table = Table(pd.DataFrame(rows), "What K samples lead to, by model and number of tests")
    return Calculator("resampling", "Resampling calculator", {"models": listed}, table)


def matched(curve, budgets: Sequence[int], generations: float) -> float:
    """Accuracy at so many generations, linear in their logarithm; the last one beyond the budgets measured."""
    return float(np.interp(np.log(generations), np.log(budgets), curve))


def trade(
    budgets: Sequence[int],
    small: Mapping[str, Any],
    large: Mapping[str, float],
    gaps: Mapping[str, Any],
    size: float,
) -> Calculator:
    """Search with a small model against one greedy answer of a large one, at equal FLOPs.

    budgets: generations; small: group of questions → accuracy at each of them; large: group → accuracy;
    gaps: group → resamples [draws, budgets] of the difference; size: how many times larger the large one is.
    """
    groups: list[dict[str, Any]] = [
        {"name": g, "small": rounded(small[g]), "large": rounded(large[g]), "gaps": rounded(gaps[g])}
        for g in small
    ]
    rows = []
    for R in (0.16, 0.79, 22):
        generations = policy.multiplier(size, R)
        row = {"R": f"{R:g}", "generations": show(generations)}
        for g in groups:
            middle = matched(g["small"], budgets, generations) - g["large"]
            ends = percentile([matched(one, budgets, generations) for one in g["gaps"]], 0.95)
            row[str(g["name"])] = show(middle, ends)
        rows.append(row)
    table = Table(pd.DataFrame(rows), "Accuracy of the small model minus that of the large one, at equal FLOPs")
    data = {"budgets": list(budgets), "size": rounded(size), "groups": groups}
    return Calculator("trade", "Calculator of the trade", data, table)
