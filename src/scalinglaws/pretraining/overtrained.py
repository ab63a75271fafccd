"""Runs over-trained on purpose: the models of Gadre et al. (2024), the large ones predicted from the small."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from .. import fit
from ..laws import Chinchilla
from ..laws.overtrained import Overtrained, lifetime_optimum

SMALL = 1e9
"""Models below so many parameters may be fitted to; the others are predicted."""
FITTED = ((11, 20), (79, 20), (154, 20), (412, 20), (11, 320))
"""The runs that the paper fits its law to: million parameters, tokens a parameter (Table 1)."""


def labels(runs: pd.DataFrame) -> list[tuple[int, int]]:
    """Million parameters and tokens a parameter of each run, rounded."""
    return list(zip((runs["N"] / 1e6).round().astype(int), runs["M"].round().astype(int), strict=True))


def chosen(runs: pd.DataFrame, which: Iterable[tuple[int, int]] = FITTED) -> pd.DataFrame:
    """The runs with these labels."""
    wanted = set(which)
    return runs[[label in wanted for label in labels(runs)]]


def fitted(runs: pd.DataFrame) -> Overtrained:
    """The law with the least Σ (L̂ − L)² over `runs`, as the paper fits it: unweighted, in nats (Section 3.3)."""
    C, M, loss = (runs[k].to_numpy(float) for k in ("C", "M", "loss"))
    law = lambda t: Overtrained(float(np.exp(t[0])), float(np.exp(t[1])), float(np.exp(t[2])), float(np.exp(t[3])))
    starts = [(np.log(E), 5.0, 5.0, np.log(eta)) for E in (1.0, 1.8) for eta in (0.1, 0.15, 0.2)]
    ends = [least_squares(lambda t: law(t).predict(C, M) - loss, start, xtol=1e-12, ftol=1e-12) for start in starts]
    return law(min(ends, key=lambda e: e.cost).x)


def fitted_freely(runs: pd.DataFrame) -> Chinchilla:
    """The surface E + A/N^α + B/D^β with the least Σ (L̂ − L)² over `runs`, as `fitted`; it starts from the Huber fit."""
    N, D, loss = (runs[k].to_numpy(float) for k in ("N", "D", "loss"))
    start = fit.fit_surface(N, D, loss).law.theta
    end = least_squares(lambda t: Chinchilla.from_theta(t).predict(N, D) - loss, start, x_scale=np.abs(start), xtol=1e-12, ftol=1e-12)
    return Chinchilla.from_theta(end.x)


def predicted(runs: pd.DataFrame) -> pd.DataFrame:
    """The large runs under three rules, each a fit to one corpus' small runs: corpus, N, M, loss, rule, predicted, error.

    error: predicted over measured, less one. Rules: "the paper's five runs" (`FITTED`); "all small runs" from 20 tokens
    a parameter on, with one exponent, and "… two exponents", the surface with α ≠ β, fitted alike.
    """
    rows = []
    for _, own in runs.groupby("corpus"):
        large, small = own[own["N"] > SMALL], own[(own["N"] < SMALL) & (own["M"] > 19)]
        free = fitted_freely(small)
        found = {
            "the paper's five runs": fitted(chosen(own)).predict(large["C"], large["M"]),
            "all small runs": fitted(small).predict(large["C"], large["M"]),
            "all small runs, two exponents": free.predict(large["N"], large["D"]),
        }
        for rule, guess in found.items():
            table = large[["corpus", "N", "M", "loss"]].assign(rule=rule, predicted=np.asarray(guess))
            rows.append(table.assign(error=table["predicted"] / table["loss"] - 1))
    return pd.concat(rows, ignore_index=True)


def fifth(runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's four runs at 20 tokens a parameter, with each other small run as the fifth: corpus, fifth_N, fifth_M, N, M, error.

    Only the large runs at other than 20 tokens a parameter depend on it.
    """
    rows = []
    for corpus, own in runs.groupby("corpus"):
        large = own[(own["N"] > SMALL) & (own["M"].round() != 20)]
        for other in labels(own[(own["N"] < SMALL) & (own["M"].round() != 20)]):
            law = fitted(chosen(own, (*FITTED[:4], other)))
            error = law.predict(large["C"], large["M"]) / large["loss"] - 1
            rows += [(corpus, *other, N, M, e) for N, M, e in zip(large["N"], large["M"], error, strict=True)]
    return pd.DataFrame(rows, columns=["corpus", "fifth_N", "fifth_M", "N", "M", "error"])


class Slopes(NamedTuple):
    """η at each M [ratios], its 95 % interval [ratios, 2], and the change of η for a tenfold M with its interval."""

    M: np.ndarray
    eta: np.ndarray
    ends: np.ndarray
    change: float
    change_ends: np.ndarray


def slopes(runs: pd.DataFrame, samples: int, seed: int) -> Slopes:
    """−d log(L − E)/d log C at fixed M over the small runs, E of each corpus as the paper's five runs give it.

    All corpora share the slope, each has its own height. Resampled: sizes of a corpus, a size with all of its M.
    """
    small = runs[runs["N"] < SMALL].copy()
    E = {corpus: fitted(chosen(own)).E for corpus, own in small.groupby("corpus")}
    small["y"] = np.log(small["loss"] - small["corpus"].map(E))
    small["x"], small["ratio"] = np.log(small["C"]), small["M"].round()
    clusters = [own for _, own in small.groupby(["corpus", "N"])]
    rng = np.random.default_rng(seed)
    draws = [np.ones(len(clusters))] + [np.bincount(rng.integers(0, len(clusters), len(clusters)), minlength=len(clusters)) for _ in range(samples)]
    table = pd.concat([own.assign(cluster=i) for i, own in enumerate(clusters)])
    ratios = np.sort(table["ratio"].unique())
    found = np.array([[_slope(table[table["ratio"] == M], weights) for M in ratios] for weights in draws])
    change = np.array(
        [np.polyfit(np.log10(ratios)[ok], eta[ok], 1)[0] if ok.sum() > 1 else np.nan for eta in found for ok in [np.isfinite(eta)]]
    )
    ends = np.nanquantile(found[1:], [0.025, 0.975], axis=0).T
    return Slopes(ratios, found[0], ends, float(change[0]), np.nanquantile(change[1:], [0.025, 0.975]))


def _slope(table: pd.DataFrame, weights: np.ndarray) -> float:
    """Weighted least squares with a height for each corpus; NaN where the runs drawn have no slope."""
    w = weights[table["cluster"]]
    centred = lambda v: v - (w * v).groupby(table["corpus"]).transform("sum") / pd.Series(w, v.index).groupby(table["corpus"]).transform("sum")
    with np.errstate(invalid="ignore"):
        x, y = (centred(table[k]).to_numpy() for k in "xy")
    ok = w > 0
    xx = float((w * x**2)[ok].sum())
    return -float((w * x * y)[ok].sum()) / xx if xx > 1e-9 else np.nan


class Saved(NamedTuple):
    """What serving changes: N, D of the cheapest lifetime, D over that of the Chinchilla-optimal model, share of FLOPs saved."""

    N: float
    D: float
    longer: float
    share: float
    flops: float


def saved(law: Chinchilla, N: float, served: float) -> Saved:
    """The cheapest way to the quality of a compute-optimal model of N parameters that will serve so many tokens.

    The model that is replaced has the tokens which `law` calls optimal for N (Sardana & Frankle 2023, Section 2).
    """
    plain = law.optimum_at(N)
    best = lifetime_optimum(law, float(plain.loss), served)
    before = 6 * N * plain.D + 2 * N * served
    N_best, D_best = float(best.N), float(best.D)
    return Saved(N_best, D_best, D_best / float(plain.D), float(1 - best.C / before), float(before - best.C))


def saved_by(draws: dict[str, np.ndarray], N: float, served: float, most: int = 500) -> np.ndarray:
    """`saved` under resampled surfaces, [draws, 5]; draws without an optimum are left out."""
    names = ("E", "A", "B", "alpha", "beta")
    rows = []
    for values in zip(*(draws[k][:most] for k in names), strict=True):
        if np.isfinite(values).all() and min(values[1:]) > 0:
            rows.append(saved(Chinchilla(*map(float, values)), N, served))
    return np.array(rows, float)
