"""Rows of one run are resampled together, what the runs do not determine is withheld: on known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalinglaws import fit
from scalinglaws.fit import diagnose
from scalinglaws.fit.design import optimum_gradient
from scalinglaws.laws import Chinchilla

LAW = Chinchilla(1.8, 480, 2100, 0.35, 0.37)


def scattered(seed, n=30, ratio=40.0, noise=0.01):
    rng = np.random.default_rng(seed)
    N = np.exp(rng.uniform(np.log(3e7), np.log(3e9), n))
    D = 30 * N * ratio ** rng.uniform(-0.5, 0.5, n)
    return pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D) * np.exp(noise * rng.standard_normal(n))})


def curves(seed, sizes=10, points=30, noise=0.01):
    rng = np.random.default_rng(seed)
    run = np.repeat(np.arange(sizes), points)
    N, D = np.geomspace(3e7, 5e9, sizes)[run], np.tile(np.linspace(2e9, 6e10, points), sizes)
    luck = noise * rng.standard_normal(sizes)[run] + noise / 3 * rng.standard_normal(len(run))
    return pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D) * np.exp(luck)})


def test_points_of_a_curve_and_seeds_are_one_run():
    runs = curves(0)
    labels, said = fit.clusters(runs)
    assert len(np.unique(labels)) == 10
    assert all(runs["N"][labels == k].nunique() == 1 for k in range(10))
    assert "10 training curves" in said
    shuffled = runs.sample(frac=1, random_state=0).assign(run=lambda t: t["N"])
    assert len(np.unique(fit.clusters(shuffled)[0])) == 10
    single = scattered(0)
    assert fit.clusters(single) == (None, "")
    seeds = pd.concat([single, single.assign(loss=single["loss"] * 1.001)], ignore_index=True)
    labels, said = fit.clusters(seeds)
    assert (labels[:30] == labels[30:]).all()
    assert "seeds" in said


def test_isoflop_profiles_of_shared_sizes_are_not_curves():
    N = np.repeat(np.geomspace(1e8, 1e10, 7), 9)
    C = np.tile(np.geomspace(1e19, 1e22, 9), 7)
    runs = pd.DataFrame({"N": N, "D": C / (6 * N), "loss": 3.0})
    assert fit.clusters(runs)[0] is None


@pytest.mark.parametrize("method", ["surface", "varpro", "isoflop", "envelope"])
def test_every_method_resamples_runs(method):
    """Copying every row with a label of its run changes nothing: not the fit, not one refit."""
    C = np.repeat([6e18, 2e19, 6e19, 2e20, 6e20, 2e21], 7)
    N = LAW.optimum(C).N * np.tile(np.geomspace(0.2, 5, 7), 6)
    runs = pd.DataFrame({"N": N, "D": C / (6 * N)})
    if method == "envelope":
        N = np.repeat(np.geomspace(2e7, 2e10, 24), 20)
        runs = pd.DataFrame({"N": N, "D": N * np.tile(np.geomspace(1, 400, 20), 24)})
    number = np.arange(len(runs)) if method != "envelope" else np.arange(len(runs)) // 20
    runs["run"] = [f"{k:03d}" for k in number]  # labels in the order of the rows: then the draws are the same
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(runs))
    runs["loss"] = LAW.predict(runs["N"], runs["D"]) * np.exp(noise)
    once = fit.fit(runs, method)
    # 1e-12 apart: the same run to a resampler, a new row to everything else
    twice = fit.fit(
        pd.concat([runs, runs.assign(loss=runs["loss"] * (1 + 1e-12))], ignore_index=True), method
    )
    assert twice.units == once.units
    assert twice.params["a"] == pytest.approx(once.params["a"], abs=1e-5)
    spread = [fit.bootstrap(f, 60, 3).standard_error("a") for f in (once, twice)]
    assert spread[1] == pytest.approx(spread[0], rel=0.02)


def test_intervals_of_curves_cover_where_resampled_rows_do_not():
    hits = {"runs": [], "rows": []}
    for study in range(40):
        found = fit.fit(curves(study), "varpro")
        low, high = fit.bootstrap(found, 120, study).interval("a", 0.95, "expanded")
        hits["runs"].append(low <= LAW.a <= high)
        rows = fit.resample_weights(found.n, 120, np.random.default_rng(study))
        low, high = fit.bootstrap(found, weights=rows).interval("a")
        hits["rows"].append(low <= LAW.a <= high)
    assert np.mean(hits["runs"]) >= 0.85
    assert np.mean(hits["rows"]) < 0.75


def test_expanded_levels_follow_student():
    # two units: t with one degree of freedom is 12.7 at 97.5 %; many: the level itself
    assert fit.expanded_level(0.95, 2) > 1 - 1e-9
    assert fit.expanded_level(0.95, 10) == pytest.approx(0.98289, abs=1e-4)
    assert fit.expanded_level(0.95, 10**6) == pytest.approx(0.95, abs=1e-5)


@pytest.mark.parametrize(("n", "p"), [(25, 4), (40, 4), (60, 7)])
def test_the_level_needs_no_count_of_parameters(n, p):
    """Least squares of n rows on p parameters: resampling rows pays for p by itself, as each draw has its own design."""
    rng = np.random.default_rng(0)
    X, draws = rng.standard_normal((n, p)), fit.resample_weights(n, 300, rng)
    solve = np.linalg.inv(np.einsum("kn,ni,nj->kij", draws, X, X))
    y = rng.standard_normal((1000, n))  # the truth is zero
    refits = np.einsum("kij,kn,nj,sn->ski", solve, draws, X, y, optimize=True)
    tail = (1 - fit.expanded_level(0.9, n)) / 2
    low, high = np.quantile(refits, [tail, 1 - tail], axis=1)
    assert np.mean((low <= 0) & (0 <= high)) == pytest.approx(0.9, abs=0.02)


def test_resampling_in_pieces_draws_the_same(monkeypatch):
    from scalinglaws.fit import result

    found = fit.fit(scattered(1), "varpro")
    whole = fit.bootstrap(found, 25, 0).samples["a"]
    monkeypatch.setattr(result, "WEIGHTS_AT_ONCE", 30 * 4)
    assert np.allclose(fit.bootstrap(found, 25, 0).samples["a"], whole)


def test_few_runs_are_refitted_once_a_resample():
    """Six runs have few different resamples; what is shared must be what each alone would give."""
    found = fit.fit(curves(0, sizes=6, points=20))
    W = fit.resample_weights(found.n, 12, np.random.default_rng(0), groups=found.groups)
    twice = found.refit(np.concatenate([W, W[::-1]]))["a"]
    assert np.array_equal(twice[:12], twice[:11:-1], equal_nan=True)
    each = np.array([found.refit(w[None])["a"][0] for w in W])
    assert np.nanmax(np.abs(twice[:12] - each)) < 1e-5


def test_an_envelope_of_noisy_curves_is_not_bent_by_its_ends():
    a = {"trim": [], "whole": []}
    for study in range(12):
        rng = np.random.default_rng(study)
        run = np.repeat(np.arange(24), 30)
        N = np.geomspace(2e7, 2e10, 24)[run]
        D = N * np.tile(np.geomspace(1, 400, 30), 24)
        loss = LAW.predict(N, D) * np.exp(0.01 * rng.standard_normal(24)[run])
        for key, trim in (("trim", True), ("whole", False)):
            a[key].append(fit.fit_envelope(N, D, loss, run=run, trim=trim).params["a"])
    off = {k: np.mean(v) - LAW.a for k, v in a.items()}
    assert off["whole"] < -0.03
    assert abs(off["trim"]) < 0.03


@pytest.mark.parametrize("method", ["surface", "varpro"])
def test_one_ratio_of_tokens_to_parameters_determines_no_split(method):
    N = np.geomspace(1e7, 1e10, 16)
    rng = np.random.default_rng(0)
    runs = pd.DataFrame(
        {"N": N, "D": 20 * N, "loss": LAW.predict(N, 20 * N) * np.exp(0.002 * rng.standard_normal(16))}
    )
    found = fit.fit(runs, method)
    boot = fit.bootstrap(found, 100)
    verdict = diagnose.after(found, runs, boot)
    assert not verdict.split
    assert "D/N = 20" in verdict.reasons[0]
    assert "the loss" in verdict.determined
    low, high = fit.predict(found, 1e9, 2e10, boot=boot).mean
    assert low <= LAW.predict(1e9, 2e10) <= high


def test_a_bent_ladder_is_found_too():
    N = np.geomspace(1e7, 1e10, 16)
    D = 3e3 * N**0.75
    runs = pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D)})
    assert "D ∝ N^0.75" in diagnose.after(fit.fit(runs), runs).reasons[0]


def test_losses_without_an_N_term_or_of_one_value_give_no_split():
    runs = scattered(0)
    flat = runs.assign(loss=3.0)
    assert "same loss" in diagnose.after(fit.fit(flat), flat).reasons[0]
    only = runs.assign(loss=1.8 + 800 / runs["D"] ** 0.3)
    assert "depends on N" in diagnose.after(fit.fit(only), only).reasons[0]


def test_from_full_to_degenerate_designs():
    """Full designs answer and cover; degenerate ones never answer."""
    withheld, hits = {}, []
    for ratio in (40.0, 1.1):
        withheld[ratio] = 0
        for study in range(25):
            runs = scattered(study, ratio=ratio)
            found = fit.fit(runs, "varpro")
            boot = fit.bootstrap(found, 100, study)
            if not diagnose.after(found, runs, boot).split:
                withheld[ratio] += 1
            else:
                C = float(np.exp(np.log(6 * runs["N"] * runs["D"]).mean()))
                low, high = boot.optimum_interval(C, 0.95, "expanded")["N"]
                hits.append(low <= LAW.optimum(C).N <= high)
    assert withheld == {40.0: 0, 1.1: 25}
    assert np.mean(hits) >= 0.8


def test_two_laws_that_fit_alike_are_noticed():
    """A narrow wedge about one ratio with much noise: exchanging the terms costs nothing the runs would notice."""
    runs = scattered(3, n=12, ratio=1.6, noise=0.02)
    found = fit.fit(runs)
    assert not diagnose.after(found, runs, fit.bootstrap(found, 100)).split


def test_warnings_of_a_thin_design():
    runs = scattered(0)
    assert diagnose.before(runs, 30) == []
    assert "five unknowns" in diagnose.before(runs[:8], 8)[0]
    narrow = runs.assign(N=1e9 * (1 + np.linspace(0, 1, 30)))
    assert any("N varies 2-fold" in w for w in diagnose.before(narrow, 30))
    again = runs.assign(unique_tokens=runs["D"] / np.r_[np.ones(20), np.full(10, 4.0)])
    for method in ("surface", "isoflop"):
        assert "10 of 30 runs repeat their data, up to 4.0 epochs" in diagnose.before(again, 30, method)[0]


def test_dense_budgets_are_not_called_few():
    rng = np.random.default_rng(0)
    N = np.exp(rng.uniform(17, 22, 400))
    D = np.exp(rng.uniform(22, 26, 400))
    runs = pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D)})
    assert not any("budgets" in w for w in diagnose.before(runs, 400))


def test_predictions_cover_runs_not_made():
    inside, level = [], 0.9
    for study in range(30):
        found = fit.fit(scattered(study), "varpro")
        boot = fit.bootstrap(found, 100, study)
        rng = np.random.default_rng((5, study))
        N = np.exp(rng.uniform(np.log(1e8), np.log(1e9), 5))
        for n in N:
            at = fit.predict(found, n, 30 * n, boot=boot, level=level)
            new = LAW.predict(n, 30 * n) * np.exp(0.01 * rng.standard_normal())
            assert at.interval[0] < at.mean[0] < at.mean[1] < at.interval[1]
            inside.append(at.interval[0] <= new <= at.interval[1])
    assert np.mean(inside) >= 0.84


def test_holding_out_the_largest_budget():
    runs = scattered(0)
    C = 6 * runs["N"] * runs["D"]
    assert fit.held_out(runs).tolist() == (C > C.max() / 1.2).tolist()
    assert fit.held_out(runs, "C>1e20 and N < 1B").tolist() == ((C > 1e20) & (runs["N"] < 1e9)).tolist()
    left = fit.held_out(runs, "C > 2e20")
    found = fit.fit(runs[~left])
    score = fit.score(found, runs[left], boot=fit.bootstrap(found, 100))
    miss = np.log(runs["loss"][left] / found.law.predict(runs["N"][left], runs["D"][left]))
    assert (score.n, score.bias) == (left.sum(), pytest.approx(miss.mean()))
    assert score.noise == pytest.approx(0.01, rel=0.5)
    worse = runs.assign(loss=np.where(left, 1.2 * runs["loss"], runs["loss"]))
    shifted = fit.score(found, worse[left], boot=fit.bootstrap(found, 100))
    assert shifted.bias == pytest.approx(score.bias + np.log(1.2))
    assert shifted.inside == 0


@pytest.mark.parametrize(
    "text", ["__import__('os').system('true')", "C", "C>", "C>1e20 or N<1", "Q>1", "C>1e99", "C>1"]
)
def test_hold_outs_evaluate_nothing(text):
    with pytest.raises(fit.TableError, match="--holdout"):
        fit.held_out(scattered(0), text)


def test_gradient_of_the_optimum_by_finite_differences():
    C, k, h = 1e22, 7.0, 1e-6
    numeric = [
        (np.log(Chinchilla.from_theta(LAW.theta + h * e).optimum(C, k).N) - np.log(Chinchilla.from_theta(LAW.theta - h * e).optimum(C, k).N)) / (2 * h)
        for e in np.eye(5)
    ]  # fmt: skip
    assert optimum_gradient(LAW, C, k) == pytest.approx(numeric, rel=1e-6, abs=1e-8)


def test_next_runs_are_the_best_of_all_and_do_narrow_the_interval():
    runs = scattered(0, n=16, ratio=4.0)
    found = fit.fit_varpro(*(runs[c].to_numpy() for c in ("N", "D", "loss")))
    budget = 1e22
    plan = fit.next_runs(found, runs, 3, budget)
    assert [p.narrows_to for p in plan] == sorted((p.narrows_to for p in plan), reverse=True)
    largest = (6 * runs["N"] * runs["D"]).max()
    assert all(p.C <= 1.001 * largest for p in plan)

    def variance(N, D):  # by brute force: the whole information, the delta method
        G = found.law.log_gradient(N, D)
        c = optimum_gradient(found.law, budget)
        return c @ np.linalg.solve(G.T @ G, c)

    N, D = runs["N"].to_numpy(), runs["D"].to_numpy()
    first = variance(np.append(N, plan[0].N), np.append(D, plan[0].D))
    assert plan[0].narrows_to == pytest.approx(np.sqrt(first / variance(N, D)), rel=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = np.exp(rng.uniform(np.log(N.min() / 3), np.log(N.max() * 3)))
        d = np.exp(rng.uniform(np.log(D.min() / 3), np.log(D.max() * 3)))
        if (6 * N * D).min() <= 6 * n * d <= largest:
            assert variance(np.append(N, n), np.append(D, d)) >= first * 0.98


def test_forgiven_runs_pull_less():
    """Some runs badly tuned, 10 % above the law: forgiving them brings the fit back."""
    runs = scattered(0, n=60, noise=0.002)
    bad = np.arange(60) % 5 == 0
    spoilt = runs.assign(loss=np.where(bad, 1.1 * runs["loss"], runs["loss"]))
    plain, forgiving = (fit.fit(spoilt, delta=1.0, asymmetric=r).law for r in (1.0, 20.0))
    N, D = runs["N"], runs["D"]
    off = [np.abs(np.log(law.predict(N, D) / LAW.predict(N, D))).mean() for law in (plain, forgiving)]
    assert off[1] < off[0] / 3


def test_weights_count_rows():
    """A weight of two is the row twice, in the fit and in every resample."""
    runs = scattered(2, n=20)
    w = np.arange(20) % 3 + 1.0
    for method in ("surface", "varpro"):
        weighted = fit.fit(runs.assign(weight=w), method)
        rows = np.repeat(np.arange(20), w.astype(int))
        repeated = fit.fit(runs.iloc[rows].assign(run=[f"{k:02d}" for k in rows]), method)
        assert weighted.params["a"] == pytest.approx(repeated.params["a"], abs=1e-5)
        a, b = (fit.bootstrap(f, 40, 1).samples["alpha"] for f in (weighted, repeated))
        assert np.nanmedian(np.abs(a - b)) < 1e-3


def test_agreement_is_said_by_the_intervals():
    assert "agree" in fit.agreement({"x": (0.4, 0.6), "y": (0.5, 0.7)})
    assert "x and y" in fit.agreement({"x": (0.4, 0.5), "y": (0.51, 0.7)})


def test_an_interval_over_units_covers_where_rows_share_their_luck():
    """Twelve models of ten correlated rows each: whole models are drawn, and the slope of log y is known."""
    rng, hits, by_rows = np.random.default_rng(4), 0, 0
    slope = lambda t: fit.slope_within(t["x"], t["y"], t["goal"])
    for i in range(80):
        model = np.repeat(np.arange(12), 10)
        x, goal = np.linspace(0, 5, 12)[model], np.tile(np.arange(10), 12)
        y = -0.6 * x + goal + rng.normal(0, 0.3, 12)[model] + rng.normal(0, 0.05, 120)
        table = pd.DataFrame({"x": x, "y": y, "goal": goal})
        low, high = fit.interval_over(model, slope, table, resamples=150, seed=i)
        hits += low <= -0.6 <= high
        low, high = fit.interval_over(np.arange(120), slope, table, resamples=150, seed=i)
        by_rows += low <= -0.6 <= high
    assert hits / 80 > 0.8
    assert by_rows / 80 < 0.6
    with pytest.raises(ValueError, match="at least two units"):
        fit.interval_over(np.zeros(120), slope, table)


def test_a_slope_within_groups_is_least_squares_with_intercepts():
    rng = np.random.default_rng(5)
    group, x = rng.integers(4, size=50), rng.normal(size=50)
    y = 1.7 * x + group**2 + rng.normal(size=50)
    design = np.column_stack([x, *(group == g for g in range(4))]).astype(float)
    assert fit.slope_within(x, y, group) == pytest.approx(np.linalg.lstsq(design, y, rcond=None)[0][0])
    assert np.isnan(fit.slope_within([1.0, 2.0], [3.0, 4.0], [0, 1]))


def test_drawn_exponents_are_those_of_the_interval():
    C, N = np.geomspace(1e10, 1e14, 9), np.geomspace(1e4, 1e6, 9) * np.exp(0.1 * np.sin(np.arange(9)))
    value, drawn = fit.frontier_draws(C, N, resamples=300, seed=1)
    again, interval = fit.frontier_exponent(C, N, resamples=300, seed=1)
    assert value == again == pytest.approx(np.polyfit(np.log(C), np.log(N), 1)[0])
    assert interval == pytest.approx(tuple(np.nanpercentile(drawn, [2.5, 97.5])))


def lucky_study(sd, rng, exponent=0.6):
    """Runs made for their budgets on valleys in log N with minima along a power law; their luck, log normal."""
    rows = [
        (
            C,
            N,
            np.exp(1 + 0.05 * np.log(N / (C / 1e10) ** exponent / 1e4) ** 2 + rng.normal(0, sd)),
            f"{i}-{k}",
        )
        for i, C in enumerate(np.geomspace(1e10, 1e13, 6))
        for k, N in enumerate(1e4 * (C / 1e10) ** exponent * np.geomspace(0.1, 10, 7))
    ]
    return pd.DataFrame(rows, columns=["C", "N", "loss", "run"])


def test_luck_of_the_runs_is_in_the_interval_of_a_frontier():
    """The interval covers the exponent as often as it says; without luck it shrinks to the exponent itself."""
    rng, hits, sd = np.random.default_rng(3), 0, 0.01
    for i in range(60):
        runs = lucky_study(sd, rng)
        luck = {r: rng.normal(0, sd, 200) for r in runs["run"]}
        low, high = np.nanpercentile(fit.luck_draws(runs, luck, seed=i), [2.5, 97.5])
        hits += low <= 0.6 <= high
    assert hits >= 54
    clean = lucky_study(0, rng)
    none = fit.luck_draws(clean, {r: np.zeros(50) for r in clean["run"]})
    assert np.nanmax(np.abs(none - 0.6)) < 0.01


def test_a_run_has_the_same_luck_at_every_budget_read_off_it():
    """Luck moves the minima of all budgets together where they are read off the same runs: the slope stays."""
    rng, sizes, budgets = (
        np.random.default_rng(8),
        1e4 * np.geomspace(0.1, 10, 7),
        np.geomspace(1e10, 1e12, 4),
    )
    rows = [(C, N, np.exp(1 + 0.05 * np.log(N / 1e4) ** 2), N) for C in budgets for N in sizes]
    runs = pd.DataFrame(rows, columns=["C", "N", "loss", "run"])
    luck = {r: rng.normal(0, 0.01, 100) for r in runs["run"]}
    assert np.nanmax(np.abs(fit.luck_draws(runs, luck))) < 1e-9
    apart = runs.assign(run=range(len(runs)))
    luck = {r: rng.normal(0, 0.01, 100) for r in apart["run"]}
    assert np.nanstd(fit.luck_draws(apart, luck)) > 0.01
    assert np.isnan(fit.luck_draws(runs[runs["C"] < 2e10], dict.fromkeys(sizes, np.zeros(5)))).all()
    assert np.isnan(fit.luck_draws(runs, dict.fromkeys(sizes, np.full(5, np.nan)))).all()
