"""Coverage laws: why the share of problems that K samples solve follows a power law although no problem does.

One problem with success rate p is failed by all of K samples with probability (1 − p)^K, exponentially rarely.
Over problems the failures add up to E[(1 − p)^K], and if the density of p behaves as p^(α−1) near 0, that
falls as K^(−α): the power law is the tail of hard problems (Schaeffer et al. 2025, Section 3). With p
Beta(α, β)-distributed, E[(1 − p)^K] = B(α, β + K)/B(α, β) exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln, logsumexp

from ..fit import fit_power
from .estimators import pass_at


def coverage(n, c, K) -> float:
    """Share of problems solved by K samples: the mean of the unbiased pass@K. n, c [problems]."""
    return float(pass_at(n, c, K).mean())


@dataclass(frozen=True)
class BetaFit:
    """p ~ Beta(alpha, beta) for a share 1 − never of problems, and p = 0 for the rest. loglik in nats."""

    alpha: float
    beta: float
    never: float
    loglik: float

    def coverage(self, K) -> np.ndarray:
        """Expected share of problems solved by K samples: (1 − never)·[1 − B(α, β + K)/B(α, β)]."""
        K = np.asarray(K, float)
        unsolved = np.exp(betaln(self.alpha, self.beta + K) - betaln(self.alpha, self.beta))
        return (1 - self.never) * (1 - unsolved)


def log_likelihood(alpha: float, beta: float, never: float, n: np.ndarray, c: np.ndarray) -> float:
    """log P(counts) under a Beta-binomial in which a share `never` of problems is out of reach, nats."""
    choose = gammaln(n + 1) - gammaln(c + 1) - gammaln(n - c + 1)
    each = choose + betaln(alpha + c, beta + n - c) - betaln(alpha, beta)
    if never > 0:
        out = np.where(c == 0, np.log(never), -np.inf)
        each = logsumexp(np.stack([np.log1p(-never) + each, out]), axis=0)
    return float(each.sum())


def fit_beta(n, c, never: bool = False) -> BetaFit:
    """Maximum likelihood from counts c of n per problem; `never` allows a share of problems out of reach.

    Best of several starts by Nelder–Mead in log α, log β and logit of the share.
    Raises ValueError when no problem was ever solved, or all always: then α and β are not determined.
    """
    n, c = np.asarray(n, float), np.asarray(c, float)
    if not c.sum() or (c == n).all():
        raise ValueError("all problems have the same outcome: a Beta distribution is not determined")

    def loss(t):
        share = float(expit(t[2])) if never else 0.0
        value = -log_likelihood(np.exp(t[0]), np.exp(t[1]), share, n, c)
        return value if np.isfinite(value) else 1e300

    starts = [
        (np.log(a), np.log(b), -1.0)[: 3 if never else 2] for a in (0.1, 0.5, 2.0) for b in (1.0, 10.0, 100.0)
    ]
    options = {"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4000}
    best = min(
        (minimize(loss, s, method="Nelder-Mead", options=options) for s in starts), key=lambda r: r.fun
    )
    share = float(expit(best.x[2])) if never else 0.0
    return BetaFit(float(np.exp(best.x[0])), float(np.exp(best.x[1])), share, -float(best.fun))


@dataclass(frozen=True)
class PowerFit:
    """−log coverage(K) = scale · K^(−exponent)."""

    scale: float
    exponent: float

    def coverage(self, K) -> np.ndarray:
        """Coverage at K samples."""
        return np.exp(-self.scale * np.asarray(K, float) ** -self.exponent)


def fit_coverage(K, share) -> PowerFit:
    """The power law of Brown et al. (2024): a line through log(−log coverage) against log K.

    Raises ValueError for fewer than two coverages strictly between 0 and 1.
    """
    K, share = np.asarray(K, float), np.asarray(share, float)
    inside = (share > 0) & (share < 1)
    if inside.sum() < 2:
        raise ValueError("a power law needs two coverages between 0 and 1")
    law = fit_power(K[inside], -np.log(share[inside]))
    alpha = law.params["alpha"]
    return PowerFit(float(law.params["scale"] ** alpha), float(alpha))


def curve(n, c, K) -> np.ndarray:
    """`coverage` at every number of samples of K [budgets]."""
    return np.array([coverage(n, c, k) for k in K])


@dataclass(frozen=True)
class Forecast:
    """What few samples say of many: the exponent by way of a Beta law and directly, and both coverages at the end."""

    by_beta: float
    directly: float
    end_beta: float
    end_power: float


def forecast(n, c, few: int, early: np.ndarray, K: np.ndarray, rng: np.random.Generator) -> Forecast:
    """Forecasts from `few` samples a problem, drawn without replacement from c right of n [problems].

    early: numbers of samples up to `few` at which the power law is fitted directly. K: those up to the end at which
    one is fitted to the Beta law, as Schaeffer et al. (2025) do; the last is where both coverages are predicted.
    Raises ValueError where the draw has no spread, as `fit_beta` and `fit_coverage`.
    """
    drawn, tried = rng.hypergeometric(c, n - c, few), np.full(len(n), few)
    beta, power = fit_beta(tried, drawn), fit_coverage(early, curve(tried, drawn, early))
    by_way = fit_coverage(K, beta.coverage(K))
    end = (float(law.coverage(K[-1])) for law in (beta, power))
    return Forecast(by_way.exponent, power.exponent, *end)


def off_power(n: np.ndarray, c: np.ndarray, K: np.ndarray) -> tuple[float, PowerFit]:
    """Largest distance of a model's coverage from its best power law over K, and that law.

    n, c [seeds, problems]; coverage is the mean over seeds.
    """
    share = np.mean([curve(a, b, K) for a, b in zip(n, c, strict=True)], axis=0)
    law = fit_coverage(K, share)
    return float(np.abs(law.coverage(K) - share).max()), law
