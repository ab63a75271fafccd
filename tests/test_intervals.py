"""Resampling: weights, percentiles, BCa, likelihoods, and whether intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scalinglaws import fit
from scalinglaws.fit import coverage, likelihood
from scalinglaws.fit.huber import HuberObjective
from scalinglaws.laws import BESIROGLU, HOFFMANN_TEX


def mean_fit(x):
    """A fit whose only parameter is the mean: intervals for it are known."""
    return fit.Fit("mean", BESIROGLU, {"m": float(np.mean(x))}, 0.0, "converged", len(x),
                   refit=lambda W: {"m": (W @ x) / W.sum(axis=1)})  # fmt: skip


def test_resample_weights_are_counts():
    rng = np.random.default_rng(0)
    W = fit.resample_weights(20, 500, rng)
    assert W.shape == (500, 20)
    assert (W.sum(axis=1) == 20).all()
    assert W.mean() == pytest.approx(1)
    assert W.var() == pytest.approx(0.95, abs=0.05)  # binomial(20, 1/20)


def test_strata_and_groups_are_respected():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], [5, 15])
    W = fit.resample_weights(20, 50, rng, strata=strata)
    assert (W[:, :5].sum(axis=1) == 5).all()
    groups = np.repeat(np.arange(4), 5)
    W = fit.resample_weights(20, 50, rng, groups=groups)
    assert (W.reshape(50, 4, 5) == W.reshape(50, 4, 5)[:, :, :1]).all()
    S = fit.subsample_weights(20, 50, rng, 0.8)
    assert set(np.unique(S)) == {0.0, 1.0}
    assert (S.sum(axis=1) == 16).all()
    assert (fit.subsample_weights(20, 50, rng, 0.8, strata=strata)[:, :5].sum(axis=1) == 4).all()


def test_legacy_weights_are_numpys_old_stream():
    W = fit.legacy_resample_weights(7, 3)
    state = np.random.RandomState(42)
    expected = [np.bincount(state.choice(np.arange(7), size=7, replace=True), minlength=7) for _ in range(3)]
    assert W.tolist() == np.array(expected, float).tolist()


def test_subsamples_of_four_fifths_vary_half_as_much():
    x = np.random.default_rng(1).standard_normal(400)
    f = mean_fit(x)
    full = fit.bootstrap(f, 4000, 0).standard_error("m")
    part = fit.bootstrap(f, 4000, 0, scheme="subsample").standard_error("m")
    assert part / full == pytest.approx(np.sqrt((1 - 0.8) / 0.8), rel=0.06)


def test_bca_corrects_a_skewed_statistic():
    # mean of an exponential sample: BCa against SciPy's
    x = np.random.default_rng(3).exponential(size=40)
    f = mean_fit(x)
    boot = fit.bootstrap(f, 20_000, 0, jackknife=True)
    ours = boot.interval("m", 0.9, kind="bca")
    theirs = stats.bootstrap(
        (x,), np.mean, confidence_level=0.9, n_resamples=20_000, rng=np.random.default_rng(0), method="BCa"
    )
    assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=0.02)
    assert ours[1] > boot.interval("m", 0.9)[1]
    with pytest.raises(ValueError, match="jackknife"):
        fit.bootstrap(f, 10, 0).interval("m", kind="bca")
    with pytest.raises(ValueError, match="interval kind must be"):
        boot.interval("m", kind="t")
    with pytest.raises(ValueError, match="scheme"):
        fit.bootstrap(f, 10, 0, scheme="mine")


def test_percentile_intervals_of_the_mean_cover():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        low, high = fit.bootstrap(mean_fit(rng.standard_normal(60)), 300, rng).interval("m", 0.8)
        hits += low <= 0 <= high
    # 400 binomial(.8): standard error .02; small-sample percentile intervals are a little short
    assert 0.72 <= hits / 400 <= 0.86


def test_intervals_of_approach_3_cover_and_subsamples_do_not():
    sizes = np.geomspace(5e7, 1.6e10, 50)
    table = coverage.coverage_study(
        HOFFMANN_TEX,
        sizes,
        studies=60,
        resamples=100,
        sigma=0.005,
        schemes={"resample": ("surface",), "subsample": ("surface",)},
        seed=11,
    )
    share = table.groupby("scheme")["covers"].mean()
    assert 0.64 <= share["resample"] <= 0.94  # .8 ± 2.7 standard errors at 60 studies
    assert share["subsample"] < share["resample"] - 0.15


def test_bootstrap_of_an_allocation_has_the_estimate_inside(noisy):
    found = fit.fit_surface(*noisy)
    boot = fit.bootstrap(found, 300, 0)
    at = found.law.optimum(1e23)
    ends = boot.optimum_interval(1e23, 0.95)
    assert ends["N"][0] < at.N < ends["N"][1]
    assert ends["D"][0] < at.D < ends["D"][1]
    assert boot.failed == 0
    again = fit.bootstrap(found, 300, 0)
    assert (again.samples["a"] == boot.samples["a"]).all()


def test_envelope_bootstrap_resamples_whole_curves(surface_law):
    from scalinglaws.fit import simulate

    curves = simulate.curve_runs(surface_law, np.geomspace(5e7, 2e10, 30), (4.0, 16.0, 64.0))
    loss = simulate.with_noise(curves, 0.003, np.random.default_rng(0), per_group=True)
    found = fit.fit_envelope(curves.N, curves.D, loss, run=curves.group, grid=200)
    boot = fit.bootstrap(found, 100, 0, jackknife=True)
    assert len(boot.jackknife["a"]) == 90
    low, high = boot.interval("a", 0.95)
    assert low < found.params["a"] < high
    # leaving out a curve changes the fit exactly if the curve wins somewhere
    winners = {
        (n, round(np.log(d), 6))
        for n, d in zip(found.N_opt[found.used], found.D_opt[found.used], strict=True)
    }
    assert winners
    changed = ~np.isclose(boot.jackknife["a"], found.params["a"], rtol=0, atol=1e-12)
    never_size = ~np.isin(curves.N[::24], found.N_opt)
    assert never_size.any()
    assert not changed[never_size].any()
    assert changed[~never_size].any()


@pytest.mark.parametrize(("rows", "noise"), [(12, 0.03), (20, 0.01)])
def test_refits_of_small_tables_are_as_good_as_fresh_fits(noiseless, rows, noise):
    rng = np.random.default_rng(3)
    pick = rng.choice(len(noiseless.N), rows, replace=False)
    N, D = noiseless.N[pick], noiseless.D[pick]
    loss = noiseless.loss[pick] * np.exp(noise * rng.standard_normal(rows))
    found = fit.fit_surface(N, D, loss)
    W = fit.resample_weights(rows, 60, rng)
    again = found.refit(W)
    objective = HuberObjective.of(N, D, loss)
    worse = 0
    for k in range(60):
        if np.isnan(again["a"][k]):
            continue
        theta = [np.log(again[n][k]) for n in ("A", "B", "E")] + [again["alpha"][k], again["beta"][k]]
        value = objective.value(objective.from_theta(theta)[None], W[k])[0]
        worse += value > fit.fit_surface(N, D, loss, weights=W[k]).objective * (1 + 1e-6)
    assert worse <= 3  # of 60: some valleys are flat to a part in a million
    assert np.isnan(again["a"]).mean() < 0.2  # left out and counted, not averaged in


def test_small_deltas_do_not_fake_narrow_intervals(noisy):
    wide = fit.bootstrap(fit.fit_surface(*noisy), 150, 0).interval("a", 0.95)
    tiny = fit.bootstrap(fit.fit_surface(*noisy, delta=1e-7), 150, 0)
    low, high = tiny.interval("a", 0.95)
    assert (high - low) / (wide[1] - wide[0]) == pytest.approx(1, abs=0.35)
    assert tiny.failed < 0.1


def test_refits_match_fresh_fits(noisy):
    N, D, loss = noisy
    found = fit.fit_surface(N, D, loss)
    W = fit.resample_weights(len(N), 20, np.random.default_rng(2))
    again = found.refit(W)
    for k in range(20):
        fresh = fit.fit_surface(N, D, loss, weights=W[k])
        assert again["a"][k] == pytest.approx(fresh.params["a"], abs=2e-3)


def test_log_likelihood_is_a_density():
    # the density integrates to one at the τ it chooses, and a Laplace sample is recognised
    rng = np.random.default_rng(0)
    delta, n = 1e-6, 20_000
    r = rng.laplace(scale=0.02, size=n)
    f = np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2)).sum()
    ours = likelihood.log_likelihood(f, n, delta)
    assert ours == pytest.approx(stats.laplace(scale=np.abs(r).mean()).logpdf(r).sum(), rel=1e-4)


def test_likelihood_ratio_is_twice_n_log_for_absolute_errors(noisy):
    N, D, loss = noisy
    found = fit.fit_surface(N, D, loss, delta=1e-7)
    test = fit.likelihood_ratio(N, D, loss, HOFFMANN_TEX, found.law, delta=1e-7)
    absolute = [np.abs(np.log(law.predict(N, D) / loss)).sum() for law in (HOFFMANN_TEX, found.law)]
    assert test.statistic == pytest.approx(2 * len(N) * np.log(absolute[0] / absolute[1]), rel=1e-3)
    assert test.p == pytest.approx(stats.chi2.sf(test.statistic, 5), rel=1e-6)


def test_wald_is_a_chi_square():
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    test = fit.wald([1.0, -1.0], covariance)
    assert test.statistic == pytest.approx(np.array([1, -1]) @ np.linalg.inv(covariance) @ np.array([1, -1]))
    assert test.p == pytest.approx(stats.chi2.sf(test.statistic, 2))


def test_profile_interval_holds_the_estimate_and_refits_the_rest(noisy):
    N, D, loss = noisy
    found = fit.fit_surface(N, D, loss, delta=0.05)
    values = np.linspace(found.params["alpha"] - 0.1, found.params["alpha"] + 0.1, 41)
    p = fit.profile(N, D, loss, found.law, "alpha", values, delta=0.05)
    assert p.interval[0] < found.params["alpha"] < p.interval[1]
    assert p.deviance.min() > -1e-6
    objective = HuberObjective.of(N, D, loss, 0.05)
    # without refitting, the same α would cost more
    for value, deviance in zip(values[::10], p.deviance[::10], strict=True):
        t = objective.from_theta(found.law.theta).copy()
        t[3] = value
        stuck = 2 * (likelihood.log_likelihood(found.objective, len(N), 0.05)
                     - likelihood.log_likelihood(objective.value(t[None], np.ones(len(N)))[0], len(N), 0.05))  # fmt: skip
        assert deviance <= stuck + 1e-6
    narrow = fit.profile(N, D, loss, found.law, "alpha", [found.params["alpha"] * 1.001], delta=0.05)
    assert narrow.interval == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="not 'A'"):
        fit.profile(N, D, loss, found.law, "A", [1.0])
