"""How much could anybody know? Every forecast of this room made again with the largest models left out, and its intervals counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from .. import datasets
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from . import direct, emergence, errors, families, ladder, observed

LEVEL = 0.9
"""Of the intervals."""
COLUMNS = ("method", "fitted_to", "task", "target", "measured", "predicted", "low", "high")


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """A job a method and cut. sizes: resamples, cuts (parameters of the largest run that a ladder may see; 0: the paper's), methods."""
    found: list[Job] = []
    for method in sizes["methods"]:
        cuts = sizes["cuts"] if method in ("two steps", "one step") else [0]
        for cut in cuts:
            about = {"method": method, "cut": cut, "resamples": sizes["resamples"]}
            make = partial(_METHODS[method], cut, sizes["resamples"])
            found.append(Job(f"{method} {cut:g}", partial(artefacts.table, "foretold", about, make)))
    return found


def _rungs(cut: float) -> tuple[pd.DataFrame, str]:
    """The ladder's runs up to a size, with everything larger as targets; 0: the paper's sixteen runs and two targets."""
    table = datasets.load("ladder")
    if not cut:
        return table[table["target"] | ((table["N"] < 2e9) & (table["multiple"] >= 1))], "16 runs to 1.3B"
    seen = table[(table["N"] <= cut) & ~table["target"]]
    return table.assign(target=table["N"] > cut), f"{seen['run'].nunique()} runs to {cut / 1e9:.2g}B"


def _tidy(found: pd.DataFrame, method: str | pd.Series, fitted_to: str | pd.Series) -> pd.DataFrame:
    return found.assign(method=method, fitted_to=fitted_to)[list(COLUMNS)]


def _two_steps(cut: float, resamples: int) -> pd.DataFrame:
    table, told = _rungs(cut)
    return _tidy(ladder.forecasts(table, resamples, level=LEVEL), "two steps", told)


def _one_step(cut: float, resamples: int) -> pd.DataFrame:
    table, told = _rungs(cut)
    found = direct.forecasts(table, resamples, level=LEVEL)
    return _tidy(found, "one step, " + found["rule"], told)


def _errors(_: float, resamples: int) -> pd.DataFrame:
    models, table = datasets.load("overtrained"), datasets.load("downstream")
    sets = {"mean of 17": errors.PAPERS} | {task: [task] for task in errors.PAPERS}
    found = errors.forecasts(models, table, sets, resamples, 0, LEVEL)
    return _tidy(found, np.where(found["task"] == "mean of 17", "error of loss, mean", "error of loss, one task"), "small runs")


def _observed(_: float, resamples: int) -> pd.DataFrame:
    found = observed.forecasts(datasets.load("benchmarks"), resamples, 0, LEVEL, (1.0, 0.5, 0.25))
    found = found.rename(columns={"model": "target"})
    return _tidy(found, "observed, " + found["rule"], found["cut"].map(lambda c: f"{c:g} of the paper's compute"))


def _families(_: float, resamples: int) -> pd.DataFrame:
    return conformal(families.forecasts(families.tidy(datasets.load("families"))))


def conformal(found: pd.DataFrame, level: float = LEVEL) -> pd.DataFrame:
    """Each family's largest model with the interval that the misses on other families' largest models allow.

    predicted ± the ⌈level·(n + 1)⌉-th smallest of n absolute misses on that benchmark, a family's twin (base or instruct) left
    out. The other families' forecasts were fitted with this one among the rows, so that nothing is guaranteed.
    """
    found = found.assign(miss=(found["predicted"] - found["measured"]).abs())
    rows = []
    for (rule, benchmark), own in found.groupby(["rule", "benchmark"]):
        largest = own[own["N"] == own.groupby("family")["N"].transform("max")].drop_duplicates("family")
        base = largest["family"].str.removesuffix(" (instruct)")
        for _, aim in largest.iterrows():
            others = np.sort(largest.loc[base != aim["family"].removesuffix(" (instruct)"), "miss"])
            reach = others[min(int(np.ceil(level * (len(others) + 1))), len(others)) - 1]
            rows.append((f"skills, {rule}", "other families", benchmark, aim["model"], aim["measured"], aim["predicted"], aim["predicted"] - reach, aim["predicted"] + reach))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _passes(_: float, resamples: int) -> pd.DataFrame:
    table, rows = emergence.passed(datasets.load("monkeys")), []
    for cut in (5e8, 1.1e9, 3e9):
        found = emergence.forecast(table, cut, resamples, 0, LEVEL)
        found = found.assign(low=found["told_low"], high=found["told_high"])
        rows.append(_tidy(found.assign(task="MATH", target=found["N"].map("{:.2g}".format)), "chance to pass", f"models to {cut / 1e9:.1g}B"))
    return pd.concat(rows, ignore_index=True)


_METHODS: dict[str, Callable[[float, int], pd.DataFrame]] = {
    "two steps": _two_steps, "one step": _one_step, "error of loss": _errors, "observed": _observed, "skills": _families,
    "chance to pass": _passes,
}  # fmt: skip


def coverage(found: pd.DataFrame, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """A row a method: forecasts, targets, covered (share inside), its 95 % interval, miss (mean, in points), width (median, in points).

    The interval resamples targets, a target with all its tasks: forecasts of one model are wrong together.
    """
    rows = []
    for method, own in found.groupby("method", sort=False):
        inside = ((own["low"] <= own["measured"]) & (own["measured"] <= own["high"])).to_numpy(float)
        target = own["target"].astype("category").cat.codes.to_numpy()
        m = target.max() + 1
        hits, counts = np.bincount(target, inside, m), np.bincount(target, minlength=m)
        draws = np.random.default_rng(seed).integers(0, m, (resamples, m))
        shares = hits[draws].sum(1) / counts[draws].sum(1)
        miss, width = 100 * (own["predicted"] - own["measured"]).abs(), 100 * (own["high"] - own["low"])
        rows.append((method, len(own), m, inside.mean(), *np.quantile(shares, [0.025, 0.975]), miss.mean(), width.median()))
    return pd.DataFrame(rows, columns=["method", "forecasts", "targets", "covered", "low", "high", "miss", "width"])
