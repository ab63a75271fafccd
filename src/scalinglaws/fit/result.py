"""What a fit returns, and how resampling turns it into intervals.

Every approach hands back a `Fit` that knows how to refit itself under other weights on the
same runs. One bootstrap therefore serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from ..laws import Allocation, Chinchilla, Frontier

MOST_WEIGHTS = 250_000_000  # resamples × rows: minutes of work
WEIGHTS_AT_ONCE = 20_000_000  # resamples × rows held at a time: 160 MB
Parameters = dict[str, np.ndarray]


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    method: "surface", "varpro", "isoflop", "envelope", or which of Kaplan's laws.
    law: the fitted law of `laws`.
    params: every parameter of the law and the exponents a, b, by name.
    objective: the value minimised (its meaning is the method's).
    status: "converged", "not converged" or "bound: NAME, …" with the parameters held at a bound.
    n: runs used. warnings: one sentence each.
    refit: weights (K, n) → parameters, each of shape (K,); NaN where a resample cannot be fitted.
    strata: labels (n,) within which the bootstrap resamples, or None.
    groups: labels (n,) that are resampled as a whole (rows of one training curve), or None.
    residuals: log loss − log L̂ of each run, (n,), where the law gives a loss.
    """

    method: str
    law: Any
    params: dict[str, float]
    objective: float
    status: str
    n: int
    warnings: tuple[str, ...] = ()
    refit: Callable[[np.ndarray], Parameters] | None = field(default=None, repr=False, compare=False)
    strata: np.ndarray | None = field(default=None, repr=False, compare=False)
    groups: np.ndarray | None = field(default=None, repr=False, compare=False)
    residuals: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def units(self) -> int:
        """Independent runs: the groups, or the rows where each is a run of its own."""
        return self.n if self.groups is None else len(np.unique(self.groups))

    @property
    def converged(self) -> bool:
        """False only where the optimiser gave up; a fit held at a bound has converged there."""
        return self.status != "not converged"

    @property
    def bound_hit(self) -> bool:
        """Whether a parameter ended at the edge of its allowed range."""
        return self.status.startswith("bound")


@dataclass(frozen=True)
class Bootstrap:
    """K refits of one fit. `samples` maps each parameter to its K values, NaN where a refit failed."""

    fit: Fit
    samples: Parameters
    jackknife: Parameters | None = field(default=None, repr=False)

    def interval(self, name: str, level: float = 0.95, kind: str = "percentile") -> tuple[float, float]:
        """Two-sided interval of a parameter at `level`: "percentile", "expanded" (`expanded_level`) or "bca"."""
        return self._interval(
            self.samples[name],
            self.fit.params[name],
            None if self.jackknife is None else self.jackknife[name],
            level,
            kind,
        )

    def standard_error(self, name: str) -> float:
        """Standard deviation of the refits."""
        return float(np.nanstd(self.samples[name]))

    def optimum(self, C, **k) -> Allocation:
        """The compute-optimal allocation at C FLOPs under every refit, arrays of shape (K,)."""
        return _law(self.fit.law, self.samples).optimum(C, **k)

    def optimum_interval(
        self, C: float, level: float = 0.95, kind: str = "percentile", **k
    ) -> dict[str, tuple[float, float]]:
        """Intervals of N_opt and D_opt at C FLOPs, percentile or expanded; `k` as in `Chinchilla.optimum`."""
        at = self.optimum(C, **k)
        level = expanded_level(level, self.fit.units) if kind == "expanded" else level
        return {"N": percentile(at.N, level), "D": percentile(at.D, level)}

    @property
    def failed(self) -> float:
        """Share of resamples that could not be fitted."""
        return float(np.mean(np.isnan(next(iter(self.samples.values())))))

    def _interval(self, samples, estimate, jackknife, level, kind):
        if kind == "percentile":
            return percentile(samples, level)
        if kind == "expanded":
            return percentile(samples, expanded_level(level, self.fit.units))
        if kind == "bca":
            if jackknife is None:
                raise ValueError("BCa needs the jackknife: call bootstrap(..., jackknife=True)")
            return bca(samples, estimate, jackknife, level)
        raise ValueError(f"interval kind must be 'expanded', 'percentile' or 'bca', got {kind!r}")


def _law(law: Any, samples: Any) -> Any:
    """A law of the same kind whose fields are arrays, one entry a resample."""
    if isinstance(law, Chinchilla):
        # a resample that lost a term (A or B zero) has no optimum
        term: Any = {k: np.where(samples[k] > 0, samples[k], np.nan) for k in ("A", "B")}
        return Chinchilla(**term, **{k: samples[k] for k in ("E", "alpha", "beta")})
    return Frontier(**{k: samples[k] for k in ("N0", "a", "D0", "b")}, C0=law.C0)


def bootstrap(
    fit: Fit,
    samples: int = 4000,
    rng: np.random.Generator | int = 0,
    *,
    scheme: str = "resample",
    fraction: float = 0.8,
    weights=None,
    jackknife: bool = False,
) -> Bootstrap:
    """Refit under resampled runs.

    scheme "resample": n runs drawn with replacement. scheme "subsample": `fraction` of the
    runs drawn without (Hoffmann et al. 2022, Table 2: 80 %). `weights` (K, n) overrides both.
    Rows of one group are drawn together. Raises ValueError for an unknown scheme or more work than anyone means.
    """
    rng = np.random.default_rng(rng)
    draw: dict[str, Callable[..., np.ndarray]] = {
        "resample": resample_weights,
        "subsample": partial(subsample_weights, fraction=fraction),
    }
    if scheme not in draw:
        raise ValueError(f"scheme must be 'resample' or 'subsample', got {scheme!r}")
    if fit.refit is None:
        raise ValueError(f"a fit by {fit.method} cannot be resampled")
    if weights is not None:
        refits = fit.refit(weights)
    else:
        check_resamples(fit.n, samples)
        most = max(1, WEIGHTS_AT_ONCE // fit.n)
        counts = [most] * (samples // most) + [samples % most] * (samples % most > 0)
        parts = [fit.refit(draw[scheme](fit.n, k, rng, strata=fit.strata, groups=fit.groups)) for k in counts]
        refits = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    left_out = None
    if jackknife:
        labels = np.arange(fit.n) if fit.groups is None else np.unique(fit.groups, return_inverse=True)[1]
        left_out = fit.refit((labels[None, :] != np.arange(labels.max() + 1)[:, None]).astype(float))
    return Bootstrap(fit, refits, left_out)


def check_resamples(n: int, samples: int) -> None:
    """Raise ValueError where `samples` refits of `n` rows are more work than anyone means."""
    if samples * n > MOST_WEIGHTS:
        raise ValueError(
            f"{samples} resamples of {n:,} rows are too many; ask for at most {MOST_WEIGHTS // n} (--bootstrap)"
        )


def _blocks(n, strata, groups):
    """Unit (group) of each row, and the units of each stratum; strata that cut a group are dropped."""
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    m = unit.max() + 1
    if strata is None:
        return unit, [np.arange(m)]
    stratum = np.unique(strata, return_inverse=True)[1]
    of_unit = np.zeros(m, int)
    of_unit[unit] = stratum
    if (of_unit[unit] != stratum).any():
        return unit, [np.arange(m)]
    return unit, [np.flatnonzero(of_unit == s) for s in range(stratum.max() + 1)]


def resample_weights(n: int, K: int, rng: np.random.Generator, *, strata=None, groups=None) -> np.ndarray:
    """How often each of n rows is drawn in K resamples with replacement, shape (K, n).

    Units (groups, or rows) are drawn, within strata where these do not cut a group.
    """
    unit, blocks = _blocks(n, strata, groups)
    counts = np.empty((K, unit.max() + 1))
    for rows in blocks:
        counts[:, rows] = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=K)
    return counts[:, unit]


def subsample_weights(
    n: int, K: int, rng: np.random.Generator, fraction: float = 0.8, *, strata=None, groups=None
):
    """1 for the round(fraction·m) units kept, 0 for the rest, shape (K, n); within strata if given."""
    unit, blocks = _blocks(n, strata, groups)
    kept = np.zeros((K, unit.max() + 1))
    for rows in blocks:
        rank = rng.random((K, len(rows))).argsort(axis=1).argsort(axis=1)
        kept[:, rows] = rank < round(fraction * len(rows))
    return kept[:, unit]


def percentile(samples, level: float) -> tuple[float, float]:
    """The central `level` of the samples; NaNs left out."""
    tail = 50 * (1 - level)
    low, high = np.nanpercentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def expanded_level(level: float, units: int) -> float:
    """The level at which percentiles of few resampled units cover `level` of the time.

    2Φ(√(m/(m−1))·t) − 1 with t the two-sided quantile of Student's t with m − 1 degrees of
    freedom (Hesterberg 2015, doi:10.1080/00031305.2015.1089789): resampling m
    units takes their spread for (m−1)/m of what it is, and percentiles for normal.
    """
    m = max(units, 2)
    t = stdtrit(m - 1, (1 + level) / 2)
    return float(2 * ndtr(np.sqrt(m / (m - 1)) * t) - 1)


def bca(samples, estimate: float, jackknife, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron 1987).

    With z₀ = Φ⁻¹(share of samples below the estimate) and acceleration
    â = Σd³ / 6(Σd²)^{3/2}, d = mean of the jackknife minus its values, the ends are the
    samples' quantiles at Φ(z₀ + (z₀ + z)/(1 − â(z₀ + z))).
    """
    samples = np.asarray(samples)[~np.isnan(samples)]
    below = np.mean(samples < estimate) + np.mean(samples == estimate) / 2
    z0 = ndtri(np.clip(below, 0.5 / len(samples), 1 - 0.5 / len(samples)))
    d = np.nanmean(jackknife) - np.asarray(jackknife)
    d = d[~np.isnan(d)]
    spread = np.sum(d**2)
    acceleration = np.sum(d**3) / (6 * spread**1.5) if spread > 0 else 0.0
    z = z0 + ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(samples, ndtr(z0 + z / (1 - acceleration * z)))
    return float(low), float(high)


def legacy_resample_weights(n: int, K: int, seed: int = 42) -> np.ndarray:
    """The resamples of a notebook that calls np.random.seed(seed) and then np.random.choice K times.

    For comparing with published bootstraps draw by draw (Besiroglu et al. 2024 use 42, 4000).
    """
    rng = np.random.RandomState(seed)
    return np.stack([np.bincount(rng.choice(n, size=n, replace=True), minlength=n) for _ in range(K)]).astype(
        float
    )
