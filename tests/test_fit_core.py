"""The objective's derivatives, the minimiser, and the three approaches on known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from scalinglaws import fit
from scalinglaws.fit import coverage, sensitivity, simulate
from scalinglaws.fit.huber import HuberObjective
from scalinglaws.fit.newton import minimise
from scalinglaws.fit.surface import HIGH, LOW
from scalinglaws.laws import HOFFMANN_ROUNDED, HOFFMANN_TEX, Chinchilla

thetas = st.tuples(
    st.floats(4, 8), st.floats(4, 8), st.floats(-0.5, 1), st.floats(0.2, 0.6), st.floats(0.2, 0.6)
)


@settings(deadline=None, max_examples=40)
@given(thetas, st.sampled_from([1e-3, 1e-1, 10.0]))
def test_gradient_and_hessian_against_finite_differences(noisy, theta, delta):
    objective = HuberObjective.of(*noisy, delta)
    w = np.arange(1, len(noisy[0]) + 1)[None] % 3 * 1.0
    t = objective.from_theta(theta)[None]
    f, g, H = objective.derivatives(t, w)
    assert f[0] == pytest.approx(objective.value(t, w)[0], rel=1e-12)
    h = 1e-6
    for j in range(5):
        step = h * np.eye(5)[j]
        up, down = objective.derivatives(t + step, w), objective.derivatives(t - step, w)
        assert g[0, j] == pytest.approx((up[0] - down[0])[0] / (2 * h), rel=1e-4, abs=1e-7)
        # the Huber gradient has kinks: compare where no residual crosses δ within the step
        numeric = (up[1] - down[1])[0] / (2 * h)
        r = np.log(sum(objective.residual_terms(t)))
        if np.abs(np.abs(r) - delta).min() > 10 * h * 20:
            assert H[0, j] == pytest.approx(numeric, rel=1e-3, abs=1e-4 * np.abs(H).max())


@given(thetas)
def test_centred_coordinates_round_trip(noisy, theta):
    objective = HuberObjective.of(*noisy)
    assert objective.to_theta(objective.from_theta(theta)) == pytest.approx(theta, rel=1e-9, abs=1e-9)


def test_value_is_the_textbook_huber_loss(noisy):
    N, D, loss = noisy
    delta = 0.005
    objective = HuberObjective.of(N, D, loss, delta)
    law = Chinchilla(1.6, 350, 800, 0.33, 0.34)
    r = np.log(law.predict(N, D)) - np.log(loss)
    by_hand = np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2)).sum()
    assert objective.value(objective.from_theta(law.theta)[None], np.ones(len(N)))[0] == pytest.approx(
        by_hand, rel=1e-10
    )


def test_approach_3_recovers_the_law_from_noiseless_runs(noiseless, surface_law):
    found = fit.fit_surface(noiseless.N, noiseless.D, noiseless.loss)
    assert found.status == "converged"
    assert not found.bound_hit
    for name in ("E", "A", "B", "alpha", "beta", "a"):
        assert found.params[name] == pytest.approx(getattr(surface_law, name), rel=1e-5)


def test_approach_3_is_no_worse_than_the_papers_grid_of_starts(noisy):
    ours = fit.fit_surface(*noisy)
    grid = fit.fit_surface(*noisy, starts=fit.hoffmann_grid())
    assert len(fit.hoffmann_grid()) == 4500
    assert ours.objective <= grid.objective * (1 + 1e-9)


def test_newton_agrees_with_scipy(noisy):
    objective = HuberObjective.of(*noisy, delta=0.05)
    w = np.ones((1, len(noisy[0])))
    start = objective.from_theta(HOFFMANN_TEX.theta)[None]
    ours = minimise(objective, start, w, LOW, HIGH)
    theirs = minimize(
        lambda t: 1e4 * objective.value(t[None], w)[0], start[0], jac=lambda t: 1e4 * objective.derivatives(t[None], w)[1][0],
        method="L-BFGS-B", bounds=list(zip(LOW, HIGH, strict=True)), options={"maxiter": 20_000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    assert ours.converged.all()
    assert ours.f[0] <= theirs.fun / 1e4 * (1 + 1e-8)
    assert np.abs(objective.derivatives(ours.t, w)[1]).max() < 1e-8


def test_fixed_coordinates_stay(noisy):
    objective = HuberObjective.of(*noisy)
    start = objective.from_theta(HOFFMANN_TEX.theta)[None]
    fixed = np.array([False, False, True, False, False])
    found = minimise(objective, start, np.ones(len(noisy[0])), LOW, HIGH, fixed=fixed)
    assert found.t[0, 2] == start[0, 2]
    free = minimise(objective, start, np.ones(len(noisy[0])), LOW, HIGH)
    assert free.f[0] <= found.f[0]


def test_a_bound_is_reported(noiseless):
    # a world without irreducible loss: E runs to its lower bound
    law = Chinchilla(E=0.0, A=30.0, B=60.0, alpha=0.15, beta=0.15)
    loss = law.predict(noiseless.N, noiseless.D)
    found = fit.fit_surface(noiseless.N, noiseless.D, loss - 0.2)
    projected = fit.fit_varpro(noiseless.N, noiseless.D, loss - 0.2)
    assert found.bound_hit
    assert found.converged
    assert found.status == "bound: E"
    assert projected.status == "bound: E"
    assert projected.params["E"] == 0


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(30)), st.floats(0.1, 10))
def test_order_of_runs_and_unit_of_tokens_do_not_matter(noisy, order, unit):
    rows = np.arange(0, len(noisy[0]), len(noisy[0]) // 30)[:30]
    N, D, loss = (v[rows] for v in noisy)
    first = fit.fit_surface(N, D, loss)
    shuffled = fit.fit_surface(N[order], D[order] * unit, loss[order])
    assert shuffled.objective == pytest.approx(first.objective, rel=1e-7)
    # two minima can be level to a part in 1e7; where the objective is that equal, so must the optimum be
    if first.status == shuffled.status == "converged":
        assert shuffled.params["beta"] == pytest.approx(first.params["beta"], rel=1e-2)
        assert shuffled.params["E"] == pytest.approx(first.params["E"], rel=1e-2)


def test_a_weight_of_two_is_a_repeated_run(noisy):
    N, D, loss = noisy
    w = np.ones(len(N))
    w[::5] = 2
    twice = np.r_[np.arange(len(N)), np.arange(0, len(N), 5)]
    for method in (fit.fit_surface, fit.fit_varpro):
        weighted, repeated = method(N, D, loss, weights=w), method(N[twice], D[twice], loss[twice])
        assert weighted.objective == pytest.approx(repeated.objective, rel=1e-8)
        assert weighted.params["a"] == pytest.approx(repeated.params["a"], abs=1e-5)
    weighted = fit.fit_isoflop(N, D, loss, weights=w)
    assert weighted.params["a"] == pytest.approx(
        fit.fit_isoflop(N[twice], D[twice], loss[twice]).params["a"], abs=1e-12
    )


def test_varpro_recovers_and_beats_random_search(noiseless, noisy, surface_law):
    found = fit.fit_varpro(noiseless.N, noiseless.D, noiseless.loss)
    for name in ("E", "A", "B", "alpha", "beta"):
        assert found.params[name] == pytest.approx(getattr(surface_law, name), rel=1e-6)
    N, D, loss = noisy
    best = fit.fit_varpro(N, D, loss)
    rng = np.random.default_rng(0)
    for _ in range(300):
        p = {
            k: best.params[k] * np.exp(0.05 * rng.standard_normal()) for k in ("E", "A", "B", "alpha", "beta")
        }
        assert np.sum((loss - Chinchilla(**p).predict(N, D)) ** 2) >= best.objective * (1 - 1e-12)


def test_varpro_refits_find_what_a_fresh_fit_finds(noisy):
    N, D, loss = noisy
    found = fit.fit_varpro(N, D, loss)
    W = fit.resample_weights(len(N), 12, np.random.default_rng(0))
    again = found.refit(W)
    for k in range(len(W)):
        fresh = fit.fit_varpro(N, D, loss, weights=W[k])
        assert again["a"][k] == pytest.approx(fresh.params["a"], abs=1e-4)


def test_isoflop_is_exact_for_equal_exponents():
    law = Chinchilla(1.69, 400, 400, 0.31, 0.31)
    runs = simulate.isoflop_grid(law, sensitivity.CZECH_BUDGETS, 8, 15)
    found = fit.fit_isoflop(runs.N, runs.D, runs.loss, runs.C)
    assert found.params["a"] == pytest.approx(0.5, abs=1e-10)
    at, truth = found.law.optimum(1e24), law.optimum(1e24)
    assert at.N == pytest.approx(truth.N, rel=1e-9)
    assert at.D == pytest.approx(truth.D, rel=1e-9)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("law", "printed"),
    [
        (HOFFMANN_ROUNDED, (-0.33, -1.3, -2.9, -5.1)),
        (Chinchilla(1.69, 406.4, 410.7, 0.465, 0.155), (-1.7, -6.5, -13.9, -23.0)),
    ],
)
def test_the_bias_table_to_its_printed_digits(law, printed):
    table = sensitivity.isoflop_bias({"s": law})
    ours = table[table["method"] == "approach 2"]["error"].to_numpy()
    half_digit = [
        0.005 if law is HOFFMANN_ROUNDED else 0.05,
        0.05,
        0.05,
        0.05 if law is HOFFMANN_ROUNDED else 0.5,
    ]
    assert (np.abs(ours - printed) <= half_digit).all()
    assert table[table["method"] == "variable projection"]["error"].abs().max() < 1e-6


def test_isoflop_warnings_name_the_trouble(surface_law):
    law = surface_law
    runs = simulate.isoflop_grid(law, [1e18, 1e19, 1e20], 4, 9, drift=30.0)
    found = fit.fit_isoflop(runs.N, runs.D, runs.loss, runs.C)
    text = " | ".join(found.warnings)
    assert "only 3 budgets" in text
    assert "outside the sizes sampled" in text or "off-centre" in text
    flat = runs.loss.copy()
    flat[runs.group == 2] = 3 - 0.01 * (np.log(runs.N[runs.group == 2]) - 20) ** 2
    assert "no minimum" in " ".join(fit.fit_isoflop(runs.N, runs.D, flat, runs.C).warnings)
    with pytest.raises(ValueError, match="needs two"):
        fit.fit_isoflop(runs.N[:9], runs.D[:9], runs.loss[:9], runs.C[:9])


def test_valley_is_the_vertex_of_numpys_parabola(noisy):
    N, D, loss = noisy
    found = fit.fit_isoflop(N, D, loss)
    budget = fit.group_budgets(6 * N * D)
    rows = budget == 3
    c2, c1, c0 = np.polyfit(np.log(N[rows]), loss[rows], 2)
    v = found.valleys[3]
    assert np.log(v.N) == pytest.approx(-c1 / (2 * c2), rel=1e-6)
    assert v.loss == pytest.approx(c0 - c1**2 / (4 * c2), rel=1e-6)
    assert v.curvature == pytest.approx(c2, rel=1e-6)


def test_budgets_are_grouped_and_assigned():
    C = np.array([1e20, 1.05e18, 1e18, 3e19, 0.97e18])
    assert fit.group_budgets(C).tolist() == [2, 0, 0, 1, 0]
    assert fit.assign_budgets([1.1e18, 2e18], [1e18, 1e19]).tolist() == [0, -1]


def test_envelope_follows_the_frontier_without_noise(surface_law):
    sizes = np.geomspace(5e7, 2e10, 80)
    curves = simulate.curve_runs(surface_law, sizes, (2.0, 8.0, 32.0, 128.0))
    found = fit.fit_envelope(curves.N, curves.D, curves.loss, run=curves.group)
    assert found.params["a"] == pytest.approx(surface_law.a, abs=0.01)
    assert found.params["b"] == pytest.approx(surface_law.b, abs=0.01)
    assert found.law.optimum(1e21).N == pytest.approx(surface_law.optimum(1e21).N, rel=0.1)
    interior = (found.N_opt[found.used] > sizes.min()) & (found.N_opt[found.used] < sizes.max())
    assert interior.all()


def test_envelope_winner_is_the_lowest_interpolated_curve(surface_law):
    curves = simulate.curve_runs(surface_law, [1e8, 3e8, 1e9, 3e9], (20.0,), points=10)
    found = fit.fit_envelope(curves.N, curves.D, curves.loss, grid=50)
    for C, winner in zip(found.C[found.used], found.N_opt[found.used], strict=True):
        losses = {}
        for size in np.unique(curves.N):
            rows = curves.N == size
            if curves.C[rows].min() <= C <= curves.C[rows].max():
                losses[size] = np.interp(np.log(C), np.log(curves.C[rows]), np.log(curves.loss[rows]))
        assert winner == min(losses, key=losses.get)


def test_envelope_refuses_what_it_cannot_use(surface_law):
    with pytest.raises(ValueError, match="one row"):
        fit.fit_envelope([1e8, 1e8, 1e9], [1e9, 2e9, 1e10], [3.0, 2.9, 2.5])
    short = simulate.curve_runs(surface_law, [1e8, 1e9, 1e10], (20.0,))
    with pytest.raises(ValueError, match="fewer than two sizes"):
        fit.fit_envelope(short.N, short.D, short.loss)


def test_the_averaged_loss_stops_early_and_the_summed_one_does_not(noiseless, surface_law):
    start = Chinchilla(1.69, 406.4, 410.7, 0.339, 0.285)
    stopped = fit.fit_averaged(noiseless.N, noiseless.D, noiseless.loss, start)["a"][0]
    patient = fit.fit_averaged(noiseless.N, noiseless.D, noiseless.loss, start, gtol=1e-10)["a"][0]
    assert abs(stopped - surface_law.a) > 0.01
    assert patient == pytest.approx(surface_law.a, abs=2e-3)


def test_simulated_runs_lie_on_their_law(surface_law):
    runs = simulate.isoflop_runs(surface_law, np.geomspace(5e7, 2e10, 40))
    assert runs.loss == pytest.approx(surface_law.predict(runs.N, runs.D))
    assert {f"{c:.3g}" for c in runs.C} == {f"{c:.3g}" for c in simulate.HOFFMANN_BUDGETS}
    for k, C in enumerate(simulate.HOFFMANN_BUDGETS):
        assert np.abs(np.log(runs.N[runs.group == k] / surface_law.optimum(C).N)).max() <= np.log(8) + 1e-9
    curves = simulate.curve_runs(surface_law, [1e8], (10.0, 20.0), points=5)
    shifted = simulate.with_noise(curves, 0.1, np.random.default_rng(0), per_group=True) / curves.loss
    assert np.ptp(shifted[:5]) < 1e-12
    assert shifted[0] != shifted[5]


def test_holdout_predicts_exactly_without_noise(noiseless):
    import pandas as pd

    runs = pd.DataFrame({"N": noiseless.N, "D": noiseless.D, "C": noiseless.C, "loss": noiseless.loss})
    out = sensitivity.holdout(runs, [1e20, 6e20])
    assert (out["C"] > out["cut"]).all()
    assert out["error"].abs().max() < 1e-3


def test_an_extrapolation_carries_the_uncertainty_of_its_fit(noiseless):
    """Without noise there is no error; with noise, the interval is wider than resampling the far runs alone makes it."""
    import pandas as pd

    runs = pd.DataFrame({"N": noiseless.N, "D": noiseless.D, "C": noiseless.C, "loss": noiseless.loss})
    error, (low, high) = sensitivity.extrapolation_error(runs, 1e20, 3e20, resamples=50)
    assert error < 1e-3
    assert high < 1e-2
    noisy = runs.assign(loss=runs["loss"] * np.exp(np.random.default_rng(1).normal(0, 0.01, len(runs))))
    error, (low, high) = sensitivity.extrapolation_error(noisy, 3e19, 3e20, resamples=200)
    assert low <= error <= high
    fit_alone = sensitivity.holdout(noisy, [3e19])
    far = fit_alone.loc[fit_alone["C"] > 3e20, "error"].abs().to_numpy()
    assert error == pytest.approx(np.median(far))
    others = np.median(np.random.default_rng(0).choice(far, (200, len(far))), axis=1)
    assert high - low > np.ptp(np.percentile(others, [2.5, 97.5]))


def test_condition_numbers_fall_with_each_step():
    law = Chinchilla(1.69, 406.4, 410.7, 0.465, 0.155)
    runs = simulate.isoflop_grid(law, sensitivity.CZECH_BUDGETS, 8, 15)
    kappa = sensitivity.condition_numbers(law, runs.N, runs.D)
    assert kappa["raw"] > kappa["log"] > kappa["centred"] > kappa["projected"] > 1
    # the Schur complement against the curvature of the projected objective itself
    from scalinglaws.fit.varpro import _Runs

    inner = _Runs.of(runs.N, runs.D, runs.loss)
    h = 1e-3
    phi = lambda i, j: inner.project(np.array([[law.alpha + i * h, law.beta + j * h]]), 1.0).rss[0]
    H = np.array(
        [
            [phi(1, 0) + phi(-1, 0), (phi(1, 1) - phi(1, -1) - phi(-1, 1) + phi(-1, -1)) / 4],
            [0, phi(0, 1) + phi(0, -1)],
        ]
    )
    H[1, 0] = H[0, 1]
    assert np.linalg.cond(H) == pytest.approx(kappa["projected"], rel=0.02)


def test_coverage_study_counts_what_it_says():
    law = HOFFMANN_TEX
    sizes = np.geomspace(5e7, 1.6e10, 50)
    table = coverage.coverage_study(
        law,
        sizes,
        studies=3,
        resamples=40,
        sigma=0.005,
        schemes={"resample": ("surface",), "subsample": ("isoflop",)},
        seed=3,
    )
    assert len(table) == 6
    assert (table["covers"] == ((table["low"] <= law.a) & (law.a <= table["high"]))).all()
    again = coverage.coverage_study(
        law, sizes, studies=3, resamples=40, sigma=0.005, schemes={"resample": ("surface",)}, seed=3
    )
    assert again["a"].tolist() == table.query("method == 'surface'")["a"].tolist()
    summary = coverage.summarise(table, law.a, 0.8).set_index("method")
    assert summary.loc["surface", "bias"] == pytest.approx(
        table.query("method == 'surface'")["a"].mean() - law.a
    )


def test_interpolated_frontier_follows_the_law(surface_law):
    import pandas as pd

    runs = simulate.isoflop_grid(surface_law, [1e18, 1e19, 1e20, 1e21, 1e22], 16, 40)
    table = fit.interpolated_frontier(pd.DataFrame({"C": runs.C, "N": runs.N, "loss": runs.loss}))
    assert table["N_opt"].to_numpy() == pytest.approx(surface_law.optimum(table["C"]).N, rel=0.02)
    slope, (low, high) = fit.frontier_exponent(table["C"], table["N_opt"])
    assert slope == pytest.approx(surface_law.a, abs=2e-3)
    assert low - 1e-9 <= slope <= high + 1e-9
    # a minimum at the edge of the sizes is no minimum, and two sizes are too few
    below = runs.N < surface_law.optimum(1e20).N * 0.8
    assert np.isnan(
        fit.interpolated_minimum(runs.N[below & (runs.group == 2)], runs.loss[below & (runs.group == 2)])
    )
    assert np.isnan(fit.interpolated_minimum([1e8, 1e9], [3.0, 2.0]))
    # weights: a budget of weight zero does not matter
    w = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    spoiled = table["N_opt"].to_numpy().copy()
    spoiled[-1] *= 100
    assert fit.frontier_exponent(table["C"], spoiled, w)[0] == pytest.approx(
        fit.frontier_exponent(table["C"][:4], table["N_opt"][:4])[0], abs=1e-12
    )


@pytest.mark.parametrize("fitted", [fit.fit_surface, fit.fit_varpro, fit.fit_isoflop])
def test_columns_of_a_table_are_as_good_as_arrays(noisy, fitted):
    frame = pd.DataFrame(dict(zip(("N", "D", "loss"), noisy, strict=True))).iloc[::-1]
    from_frame, from_arrays = fitted(frame.N, frame.D, frame.loss), fitted(*(v[::-1] for v in noisy))
    assert from_frame.params == from_arrays.params
