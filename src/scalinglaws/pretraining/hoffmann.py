"""Hoffmann et al.'s fits (2022) on the points read off their figures, and what Besiroglu et al. (2024) say of them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import fit, laws
from ..fit import simulate
from ..numbers import scientific, show

GOPHER, CHINCHILLA = 5.76e23, 5.88e23
"""Training FLOPs of the two models, as the paper gives them (Table A4 and Section 4)."""


@dataclass(frozen=True)
class Digitised:
    """Approach 3 on the digitised runs. points: all, columns N, D, C, loss, kept240; kept: those that count.

    surface: `fit.Fit` of L = E + A/N^α + B/D^β; boot: its refits to Besiroglu et al.'s own resamples.
    seconds: CPU time of the fit and of the resamples.
    """

    points: pd.DataFrame
    kept: pd.DataFrame
    surface: fit.Fit
    boot: fit.Bootstrap
    seconds: tuple[float, float]

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """N, D, C and loss of the runs kept."""
        return tuple(self.kept[c].to_numpy() for c in ("N", "D", "C", "loss"))  # type: ignore[return-value]

    def valleys(self) -> tuple[fit.IsoflopFit, pd.DataFrame]:
        """Approach 2: (fit, runs within 15 % of one of the paper's nine budgets, with the column `budget`)."""
        budget = fit.assign_budgets(self.kept["C"], simulate.HOFFMANN_BUDGETS, 0.15)
        near = self.kept.assign(budget=budget)[budget >= 0]
        N, D, C, loss, label = (near[c].to_numpy() for c in ("N", "D", "C", "loss", "budget"))
        return fit.fit_isoflop(N, D, loss, C, budget=label), near


def digitised(points: pd.DataFrame, resamples: int) -> Digitised:
    """Fit approach 3 to the runs that Besiroglu et al. kept, and refit it to their `resamples` resamples."""
    kept = points[points["kept240"]]
    N, D, loss = (kept[c].to_numpy() for c in ("N", "D", "loss"))
    started = time.process_time()
    surface = fit.fit_surface(N, D, loss)
    fitted = time.process_time()
    boot = fit.bootstrap(surface, weights=fit.legacy_resample_weights(len(N), resamples))
    return Digitised(points, kept, surface, boot, (fitted - started, time.process_time() - fitted))


def budget_scatter(near: pd.DataFrame) -> float:
    """Median over the budgets of the standard deviation of log C within one; near: from `Digitised.valleys`."""
    return float(np.median([np.std(np.log(part)) for _, part in near.groupby("budget")["C"]]))


def table_a3(table: pd.DataFrame) -> dict[str, float]:
    """How far the compute of Table A3, approach 3, is from what the law gives, as a share, by its constants.

    table: `paper_table("chinchilla_table3_A3")`; the row of 175 billion, misprinted, is left out.
    """
    good = table[table["N"] != 175e9]
    known = {"tex": laws.HOFFMANN_TEX, "rounded": laws.HOFFMANN_ROUNDED}
    off = lambda law: (law.optimum_at(good["N"]).C / good["approach3_C"] - 1).abs().max()
    return {name: float(off(law)) for name, law in known.items()}


def continued(table: pd.DataFrame, found: Digitised, valleys: fit.IsoflopFit) -> pd.DataFrame:
    """FLOPs at which each size of the paper's Tables 3 and A3 is optimal, by the paper and by our two frontiers.

    The last column holds 80 % of the surface's refits: N at the compute where the surface says that size is best.
    """
    rows = []
    for row in table.itertuples():
        at3, at2 = found.surface.law.optimum_at(row.N), valleys.law.optimum_at(row.N)
        low, high = found.boot.optimum_interval(float(at3.C), 0.8)["N"]
        paper = {f"C, paper {k}": scientific(getattr(row, f"approach{k}_C"), 2) for k in (1, 2, 3)}
        ours = {"C, our 2": scientific(at2.C, 2), "C, our 3": scientific(at3.C, 2)}
        size = lambda n: show(float(f"{n:.3g}"))
        rows.append(
            {"N": size(row.N), **paper, **ours, "80 % of N at that C": f"{size(low)} to {size(high)}"}
        )
    return pd.DataFrame(rows)


def three_intervals(found: Digitised, resamples: int) -> pd.DataFrame:
    """95 % intervals of every parameter of the surface: percentile, BCa, and profile likelihood for E, α and β."""
    N, D, _, loss = found.columns
    weights = fit.legacy_resample_weights(len(N), resamples)
    boot = fit.bootstrap(found.surface, weights=weights, jackknife=True)
    grids = {
        "E": np.linspace(1.6, 2.0, 81),
        "alpha": np.linspace(0.27, 0.43, 81),
        "beta": np.linspace(0.27, 0.50, 81),
    }
    pair = lambda ends: f"{ends[0]:.4g} to {ends[1]:.4g}"
    profile = lambda k: pair(fit.profile(N, D, loss, found.surface.law, k, grids[k]).interval)
    return pd.DataFrame(
        {
            "parameter": k,
            "estimate": f"{found.surface.params[k]:.4g}",
            "percentile": pair(boot.interval(k)),
            "BCa": pair(boot.interval(k, kind="bca")),
            "profile likelihood": profile(k) if k in grids else "—",
        }
        for k in ("E", "A", "B", "alpha", "beta", "a")
    )


@dataclass(frozen=True)
class Rejection:
    """How badly the published constants fit.

    ratio: likelihood ratio on the runs kept; scored: fitted to those, scored on all; refitted: fitted and scored on
    all; wald: from the refits' covariance. Each has `statistic` and `p`.
    """

    ratio: fit.RatioTest
    scored: fit.RatioTest
    refitted: fit.RatioTest
    wald: fit.RatioTest


def rejection(found: Digitised, delta: float = 1e-8) -> Rejection:
    """Test `laws.HOFFMANN_TEX` against the fit with Huber's δ near zero (absolute errors), as Besiroglu et al. do."""
    N, D, _, loss = found.columns
    least_absolute = fit.fit_surface(N, D, loss, delta=delta)
    everything = [found.points[c].to_numpy() for c in ("N", "D", "loss")]
    refitted = fit.fit_surface(*everything, delta=delta)

    def against(runs, law) -> fit.RatioTest:
        n, d, losses = runs
        return fit.likelihood_ratio(n, d, losses, laws.HOFFMANN_TEX, law, delta=delta)

    logs = lambda q: np.stack([np.log(q["A"]), np.log(q["B"]), np.log(q["E"]), q["alpha"], q["beta"]])
    apart = logs(least_absolute.params) - logs(vars(laws.HOFFMANN_TEX))
    return Rejection(
        against((N, D, loss), least_absolute.law),
        against(everything, least_absolute.law),
        against(everything, refitted.law),
        fit.wald(apart, np.cov(logs(found.boot.samples))),
    )


@dataclass(frozen=True)
class Stopped:
    """Fits of the mean of the Huber losses by BFGS at its default tolerance.

    a: exponent, started at the published constants; interval: 80 % of 100 subsamples of 80 %; draws: parameters of
    200 resamples; elsewhere: exponents from a hundred other starts of the paper's grid.
    """

    a: float
    interval: tuple[float, float]
    draws: dict[str, np.ndarray]
    elsewhere: np.ndarray


def stopped(N, D, loss, seed: int) -> Stopped:
    """What Besiroglu et al. say happened: the average's gradients are so small that the optimiser stops at once."""
    averaged = lambda start, weights=None: fit.fit_averaged(N, D, loss, start, weights=weights)
    tex, rng = laws.HOFFMANN_TEX, np.random.default_rng
    starts = [
        laws.Chinchilla.from_theta([*t[:3], *np.maximum(t[3:], 0.01)]) for t in fit.hoffmann_grid()[::45]
    ]
    with np.errstate(all="ignore"):
        elsewhere = np.array([averaged(start)["a"][0] for start in starts])
    subsamples = averaged(tex, fit.subsample_weights(len(N), 100, rng(seed)))["a"]
    draws = averaged(tex, fit.resample_weights(len(N), 200, rng(seed)))
    return Stopped(float(averaged(tex)["a"][0]), fit.percentile(subsamples, 0.8), draws, elsewhere)
