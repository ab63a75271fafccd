"""Do the three approaches recover a known law, and do their intervals cover it as often as they say?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..laws import Chinchilla
from .envelope import fit_envelope
from .isoflop import fit_isoflop
from .result import bootstrap
from .simulate import HOFFMANN_BUDGETS, curve_runs, isoflop_runs, with_noise
from .surface import fit_surface
from .varpro import fit_varpro

METHODS = ("envelope", "isoflop", "surface", "varpro")
"""The paper's three approaches and variable projection on the runs of approach 3."""
HORIZONS = (5.0, 12.5, 31.0, 80.0)
"""Tokens per parameter of the four training lengths of approach 1: a factor of 16, as in the paper."""


def designs(law: Chinchilla, sizes) -> dict:
    """The runs each method sees: training curves, IsoFLOP profiles, and the final losses of both."""
    sizes = np.asarray(sizes, float)
    curves = curve_runs(law, sizes[(sizes >= 7e7) & (sizes <= 1.05e10)], HORIZONS)
    profiles = isoflop_runs(law, sizes, HOFFMANN_BUDGETS)
    return {"curves": curves, "profiles": profiles}


def simulated_study(design: dict, sigma: float, rng: np.random.Generator) -> dict:
    """One study of a `designs` world: every fit to the same noisy runs (a curve's noise is one shift a run)."""
    curves, profiles = design["curves"], design["profiles"]
    curve_loss = with_noise(curves, sigma, rng, per_group=True)
    profile_loss = with_noise(profiles, sigma, rng)
    last = np.r_[np.flatnonzero(np.diff(curves.group)), len(curves.group) - 1]
    N, D = np.r_[curves.N[last], profiles.N], np.r_[curves.D[last], profiles.D]
    loss = np.r_[curve_loss[last], profile_loss]
    return {
        "envelope": fit_envelope(curves.N, curves.D, curve_loss, run=curves.group, grid=300),
        "isoflop": fit_isoflop(profiles.N, profiles.D, profile_loss, profiles.C, budget=profiles.group),
        "surface": fit_surface(N, D, loss),
        "varpro": fit_varpro(N, D, loss),
        "varpro_profiles": fit_varpro(profiles.N, profiles.D, profile_loss),  # the runs of approach 2 alone
    }


def coverage_study(
    law: Chinchilla,
    sizes,
    *,
    studies: int,
    resamples: int,
    sigma: float,
    level: float = 0.8,
    schemes: dict[str, tuple[str, ...]] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate of the exponent a, its interval and whether it covers the truth: a row a study, scheme and method.

    `sigma` is the relative noise of the loss. `schemes` maps a way of resampling ("resample",
    "subsample") to the methods it is applied to. Every study has its own seed, (seed, study).
    """
    schemes = {"resample": METHODS} if schemes is None else schemes
    rows, design = [], designs(law, sizes)
    for study in range(studies):
        rng = np.random.default_rng((seed, study))
        fits = simulated_study(design, sigma, rng)
        for scheme, methods in schemes.items():
            for method in methods:
                low, high = bootstrap(fits[method], resamples, rng, scheme=scheme).interval("a", level)
                rows.append(
                    (study, scheme, method, fits[method].params["a"], low, high, low <= law.a <= high)
                )
    return pd.DataFrame(rows, columns=["study", "scheme", "method", "a", "low", "high", "covers"])


def summarise(table: pd.DataFrame, truth: float, level: float) -> pd.DataFrame:
    """Per method: mean and standard deviation of the estimates, bias, coverage with its binomial standard error."""
    out = []
    for method, g in table.groupby("method", sort=False):
        share = g["covers"].mean()
        out.append(
            {
                "method": method,
                "mean a": g["a"].mean(),
                "sd a": g["a"].std(ddof=1),
                "bias": g["a"].mean() - truth,
                "mean width": (g["high"] - g["low"]).mean(),
                "nominal": level,
                "coverage": share,
                "coverage se": np.sqrt(share * (1 - share) / len(g)),
                "studies": len(g),
            }
        )
    return pd.DataFrame(out)
