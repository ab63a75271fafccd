"""Coverage laws: known truth, integrals, the exponent that the tail of hard problems dictates."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from scalinglaws.resampling import coverage as C


def world(alpha, beta, problems, n, seed, never=0.0):
    rng = np.random.default_rng(seed)
    p = rng.beta(alpha, beta, problems) * (rng.random(problems) >= never)
    return np.full(problems, n), rng.binomial(n, p)


def test_expected_coverage_is_the_integral():
    fit = C.BetaFit(0.4, 7.0, 0.1, 0.0)
    for K in (1, 10, 300):
        unsolved, _ = integrate.quad(
            lambda p, K=K: (1 - p) ** K * stats.beta.pdf(p, 0.4, 7.0), 0, 1, limit=400
        )
        assert fit.coverage(K) == pytest.approx(0.9 * (1 - unsolved), rel=1e-4)


def test_the_fit_finds_the_truth():
    n, c = world(0.3, 4.0, 4000, 200, 0)
    fit = C.fit_beta(n, c)
    assert fit.alpha == pytest.approx(0.3, abs=0.02)
    assert fit.beta == pytest.approx(4.0, rel=0.12)
    assert fit.never == 0
    assert fit.loglik >= C.log_likelihood(0.3, 4.0, 0.0, n, c)


def test_problems_out_of_reach_are_told_from_hard_ones():
    n, c = world(0.8, 4.0, 3000, 400, 1, never=0.25)
    assert C.fit_beta(n, c, never=True).never == pytest.approx(0.25, abs=0.03)
    plain = C.fit_beta(n, c)
    assert plain.loglik < C.fit_beta(n, c, never=True).loglik - 10
    m, d = world(0.8, 4.0, 3000, 400, 2)
    assert C.fit_beta(m, d, never=True).never < 0.03


def test_the_aggregate_falls_as_the_tail_of_hard_problems():
    """The exponent of the aggregate's failures approaches α, while each problem's fall exponentially."""
    K = np.array([1e7, 1e8])
    for alpha in (0.25, 0.6):
        fit = C.BetaFit(alpha, 3.0, 0.0, 0.0)
        power = C.fit_coverage(K, fit.coverage(K))
        assert power.exponent == pytest.approx(alpha, rel=0.03)
    one = 1 - (1 - 0.01) ** np.array([100.0, 1000.0])
    assert C.fit_coverage([100, 1000], one).exponent > 3  # no power law: it grows with K


def test_a_power_law_comes_back():
    K = np.array([1, 10, 100, 1000])
    power = C.fit_coverage(K, C.PowerFit(2.5, 0.4).coverage(K))
    assert (power.scale, power.exponent) == (pytest.approx(2.5), pytest.approx(0.4))
    with pytest.raises(ValueError, match="two coverages between 0 and 1"):
        C.fit_coverage([1, 2], [0.0, 0.5])


def test_the_likelihood_sums_to_one():
    n = np.full(13, 12.0)
    each = [np.exp(C.log_likelihood(0.7, 2.0, 0.2, n[:1], np.array([float(c)]))) for c in range(13)]
    assert sum(each) == pytest.approx(1)


def test_nothing_to_learn_is_told():
    with pytest.raises(ValueError, match="not determined"):
        C.fit_beta([10, 10], [0, 0])
    with pytest.raises(ValueError, match="not determined"):
        C.fit_beta([10, 10], [10, 10])


def test_coverage_of_the_published_counts(needed):
    """Pythia 12B at 10,000 samples: coverage grows with K, and the Beta fit follows it within two points."""
    counts = needed("monkeys")
    own = counts[counts["model"].str.contains("12B")]
    n, c = own["samples"].to_numpy(), own["correct"].to_numpy()
    seen = [C.coverage(n, c, K) for K in (1, 10, 100, 1000, 10_000)]
    assert all(a < b for a, b in itertools.pairwise(seen))
    fit = C.fit_beta(n, c)
    for K, share in zip((1, 10, 100, 1000), seen, strict=False):
        assert float(fit.coverage(K)) == pytest.approx(share, abs=0.04)
