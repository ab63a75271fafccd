"""Do the intervals of `fit` cover the truth as often as they say, and is an answer withheld where none is had?

Simulated studies whose law is known, as people make them: scattered runs, IsoFLOP profiles,
seeds that share what is peculiar to their run, training curves that share a run's luck. And
designs from full to degenerate, in which the range of D/N shrinks to one ratio.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from scalinglaws import fit
from scalinglaws.fit import diagnose
from scalinglaws.laws import Chinchilla

LAW = Chinchilla(1.8, 480, 2100, 0.35, 0.37)
NOISE = 0.01
WITHIN = 0.004  # of seeds about their run, and of points about their curve


def _table(N, D, rng, shared=None):
    """Runs at (N, D); `shared` labels rows that have one run's luck, beside their own small noise."""
    if shared is None:
        noise = NOISE * rng.standard_normal(len(N))
    else:
        noise = NOISE * rng.standard_normal(shared.max() + 1)[shared] + WITHIN * rng.standard_normal(len(N))
    return pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D) * np.exp(noise)})


def scattered(rng, n: int = 30, ratio: float = 40.0):
    """Sizes over two decades; D/N within a factor `ratio` about 30."""
    N = np.exp(rng.uniform(np.log(3e7), np.log(3e9), n))
    return _table(N, 30 * N * ratio ** rng.uniform(-0.5, 0.5, n), rng)


def seeds(rng, n: int = 18, each: int = 3):
    """Three seeds of every run."""
    runs = scattered(rng, n)
    N, D = (np.repeat(runs[c].to_numpy(), each) for c in ("N", "D"))
    return _table(N, D, rng, np.repeat(np.arange(n), each))


def profiles(rng, each: int = 1):
    """Six IsoFLOP profiles of seven sizes."""
    C = np.repeat([6e18, 2e19, 6e19, 2e20, 6e20, 2e21], 7)
    N = LAW.optimum(C).N * np.tile(np.geomspace(0.2, 5, 7), 6)
    N, C = np.repeat(N, each), np.repeat(C, each)
    return _table(N, C / (6 * N), rng, np.repeat(np.arange(42), each) if each > 1 else None)


def seeded_profiles(rng):
    """The same, three seeds a run."""
    return profiles(rng, 3)


def curves(rng, sizes: int = 10, points: int = 30):
    """Every point logged of ten training curves with a common number of tokens."""
    run = np.repeat(np.arange(sizes), points)
    N = np.geomspace(3e7, 5e9, sizes)[run]
    return _table(N, np.tile(np.linspace(2e9, 60e9, points), sizes), rng, run)


def few_curves(rng):
    """Six of them."""
    return curves(rng, 6)


def long_curves(rng):
    """Twenty-four curves to 400 tokens a parameter, whose envelope is well inside."""
    run = np.repeat(np.arange(24), 40)
    N = np.geomspace(2e7, 2e10, 24)[run]
    return _table(N, N * np.tile(np.geomspace(1, 400, 40), 24), rng, run)


WORLDS = {
    "scattered": (scattered, ("surface", "varpro")),
    "seeds": (seeds, ("surface", "varpro")),
    "profiles": (profiles, ("surface", "varpro", "isoflop")),
    "profiles, seeds": (seeded_profiles, ("varpro", "isoflop")),
    "6 curves": (few_curves, ("surface", "varpro")),
    "10 curves": (curves, ("surface", "varpro")),
    "24 curves": (long_curves, ("varpro", "envelope")),
}
RATIOS = (40.0, 8.0, 4.0, 2.0, 1.4, 1.1, 1.0)
"""Ranges of D/N from a full design to a ladder at one ratio."""


def coverage(
    worlds=WORLDS, studies: int = 100, resamples: int = 200, level: float = 0.95, by_row: bool = False
):
    """Share of `studies` whose interval holds the truth: a row a world and method, a column a quantity.

    `by_row` resamples rows for comparison, as if each were a run.
    """
    rows = []
    for name, (make, methods) in worlds.items():
        for method in methods:
            hits = []
            for study in range(studies):
                runs = make(np.random.default_rng((11, study)))
                C = float(np.exp(np.log(6 * runs["N"] * runs["D"]).mean()))
                found = fit.fit(runs, method)
                weights = (
                    fit.resample_weights(found.n, resamples, np.random.default_rng(study)) if by_row else None
                )
                boot = fit.bootstrap(found, resamples, study, weights=weights)
                kind = "percentile" if by_row else "expanded"
                truth = {q: getattr(LAW, q) for q in ("a", "E", "alpha", "beta") if q in found.params}
                ends = {q: boot.interval(q, level, kind) for q in truth}
                truth["N_opt"], ends["N_opt"] = LAW.optimum(C).N, boot.optimum_interval(C, level, kind)["N"]
                hits.append({q: ends[q][0] <= truth[q] <= ends[q][1] for q in truth})
            rows.append({"world": name, "method": method, **pd.DataFrame(hits).mean()})
    return pd.DataFrame(rows)


def degenerate(
    ratios=RATIOS, studies: int = 60, resamples: int = 200, method: str = "varpro", level: float = 0.95
):
    """Designs from full to degenerate: share of studies whose split is withheld, and coverage of N_opt where it is not."""
    rows = []
    for ratio in ratios:
        shown, hits, loss = 0, [], []
        for study in range(studies):
            runs = scattered(np.random.default_rng((12, study)), 30, ratio)
            C = float(np.exp(np.log(6 * runs["N"] * runs["D"]).mean()))
            found = fit.fit(runs, method)
            boot = fit.bootstrap(found, resamples, study)
            N = float(np.exp(np.log(runs["N"]).mean()))
            low, high = fit.predict(found, N, 30 * N, boot=boot, level=level).mean
            loss.append(low <= LAW.predict(N, 30 * N) <= high)
            if diagnose.after(found, runs, boot, level).split:
                shown += 1
                low, high = boot.optimum_interval(C, level, "expanded")["N"]
                hits.append(low <= LAW.optimum(C).N <= high)
        rows.append(
            {
                "D/N within": ratio,
                "withheld": 1 - shown / studies,
                "N_opt": np.mean(hits) if hits else np.nan,
                "loss": np.mean(loss),
            }
        )
    return pd.DataFrame(rows)
