"""What is read out of stored runs, on runs made up so that the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from scalinglaws import datasets, fit, laws
from scalinglaws.fit import simulate
from scalinglaws.pretraining import frontier, hoffmann, kaplan, own, reconcile


def test_a_power_law_is_straight_and_an_offset_bends_it():
    N = np.geomspace(1e3, 1e6, 12)
    wobble = 1 + 1e-4 * np.tile([1, -1], 6)
    straight = kaplan.bend(N, 5 * N**-0.07 * wobble)
    assert straight.interval[0] < 0 < straight.interval[1]
    assert straight.slope_low == pytest.approx(0.07, abs=2e-3)
    bent = kaplan.bend(N, (1 + 5 * N**-0.2) * wobble)
    assert bent.interval[0] > 0
    share = 5 * N**-0.2 / (1 + 5 * N**-0.2)  # local slope: α times the reducible share
    assert bent.slope_low == pytest.approx(0.2 * share[0], rel=0.1)
    assert bent.slope_high == pytest.approx(0.2 * share[-1], rel=0.2)


def test_the_envelope_is_the_lowest_loss_near_each_budget():
    D = np.geomspace(1e4, 1e7, 200)
    curves = pd.concat(
        [
            pd.DataFrame({"run": str(n), "compute": 6 * n * D, "loss": (1e4 / n) ** 0.3 + (1e5 / D) ** 0.5})
            for n in (1e3, 1e4, 1e5)
        ]
    )
    found = kaplan.lower_envelope(curves, budgets=9)
    for C, loss in found.itertuples(index=False):
        near = curves[(curves["compute"] <= C) & (curves["compute"] >= C / 1.5)]
        assert loss == near["loss"].min()
    assert (np.diff(found["loss"]) < 0).all()


def test_extra_compute_is_least_at_the_best_size_and_agrees_with_a_search():
    law = laws.L_OF_N_S
    assert kaplan.extra_compute(law, 1.0) == pytest.approx(1)
    loss = 3.0  # at equal loss and B_crit, C ∝ N·S(N)
    N = np.geomspace(1e5, 1e9, 4001)
    rest = loss - (law.N_c / N) ** law.alpha_N
    C = np.where(rest > 0, N * law.S_c * np.where(rest > 0, rest, 1) ** (-1 / law.alpha_S), np.inf)
    best = C.argmin()
    for k in (0.6, 2.2):
        at = np.interp(np.log(k * N[best]), np.log(N), C)
        assert kaplan.extra_compute(law, k) == pytest.approx(at / C[best], rel=1e-3)


def test_noise_scales_compared_at_equal_loss():
    law = laws.CriticalBatch(1e3, 0.2)
    loss = np.tile(np.linspace(1.5, 3, 30), 2)
    noise = pd.DataFrame({"N": np.repeat([1e4, 1e6], 30), "loss": loss, "scale": 2 * law.predict(loss)})
    assert kaplan.over_critical(noise, law) == pytest.approx(2)
    noise.loc[noise["N"] > 1e5, "scale"] *= 3
    edges = np.linspace(1.5, 3, 8)
    assert kaplan.larger_over_smaller(noise, edges, 1e5) == pytest.approx(3)
    assert np.isnan(kaplan.larger_over_smaller(noise[noise["N"] > 1e5], edges, 1e5))


def test_shapes_are_compared_within_their_group():
    rows = [(layers, width, 1, 4 * width, 2.0) for layers, width in ((1, 64), (2, 45), (4, 32))]
    rows += [(2, 45, 4, 180, 1.9), (2, 45, 1, 45, 2.2)]
    tried = pd.DataFrame(rows, columns=["n_layer", "d_model", "n_head", "d_ffw", "loss"])
    tried["hash"] = [str(k) for k in tried.index]
    found = kaplan.shape_excess(tried)
    assert found["width / depth"]["excess"].tolist() == [0, 0, 0]
    assert found["width / depth"]["value"].tolist() == [8, 22.5, 64]
    assert found["heads"]["excess"].tolist() == pytest.approx([100 * (2 / 1.9 - 1), 0])
    assert found["feed-forward / width"]["value"].tolist() == [1, 4]
    assert found["feed-forward / width"]["excess"].tolist() == pytest.approx([10, 0])


def test_late_gain_and_transfer():
    losses = np.r_[np.full(16, 3.0), np.full(16, 2.0), np.full(16, 1.8), np.full(16, 1.5)]
    assert kaplan.late_gain(losses) == pytest.approx(0.5)
    line = pd.DataFrame({"N": np.repeat([1, 2, 3], 5), "loss": np.linspace(2, 3, 15)})
    line["transfer"] = 0.4 + 0.9 * line["loss"]
    found = kaplan.transfer_line(line, 50, 0)
    assert (found.slope, found.intercept) == pytest.approx((0.9, 0.4))
    assert found.interval == pytest.approx((0.9, 0.9))
    assert found.scatter == pytest.approx(0, abs=1e-12)


def known_runs(a, budgets):
    """Valleys in log N with their minimum at N ∝ C^a, as the table of a study `staircase` whose runs are single."""
    rows = []
    for C in budgets:
        for step in range(-3, 4):
            N = 1e4 * (C / 1e10) ** a * 2**step
            rows.append(
                {
                    "N": N,
                    "N_total": N,
                    "D": C / (6 * N),
                    "C": C,
                    "loss": 2 + 0.01 * step**2,
                    "hash": f"{C:.3g} {step}",
                }
            )
    table = pd.DataFrame(rows)
    table["evaluate_at"] = [()] * len(table)
    return table


def test_a_stage_and_the_staircase_recover_a_known_exponent():
    table = known_runs(0.6, np.geomspace(1e9, 1e12, 6))
    losses = frontier.Stage("matched", table, "non-embedding").losses()
    front = fit.interpolated_frontier(losses)
    a = fit.frontier_draws(front["C"], front["N_opt"])[0]
    assert a == pytest.approx(0.6, abs=1e-3)  # the spline is searched on a grid
    draws = np.array([np.full(100, 0.8), np.full(100, a)])
    stairs = frontier.Staircase(pd.DataFrame({"a": [0.8, a]}), draws, front)
    assert stairs.change(0, 1)[0] == pytest.approx(a - 0.8)
    assert stairs.change(0, 1)[1] == pytest.approx((a - 0.8, a - 0.8))
    assert stairs.upper() == pytest.approx(0.6, abs=1e-3)
    assert np.isnan(frontier.interval(np.full(5, np.nan))).all()


@pytest.mark.parametrize("profile", ["cpu"])
def test_the_parts_of_the_stored_study_share_no_run_and_answer_one_question_each(profile):
    from scalinglaws.lm.sweep import obtain

    table = obtain("kaplan", profile)
    parts = kaplan.parts(table)
    assert (parts.limited["patience"] > 0).all()
    assert np.isfinite(parts.limited["distinct"]).any()
    assert parts.main["N"].is_monotonic_increasing
    assert set(parts.long_context["architecture"]) == {"transformer", "lstm"}
    assert not set(parts.main["hash"]) & set(parts.shapes["hash"])
    assert parts.shapes["N"].std() / parts.shapes["N"].mean() < 0.1  # one size, many shapes


# ---- points, releases and runs of the Chinchilla pages ---------------------------------------------------------


@pytest.fixture(scope="module")
def simulated():
    """Runs under Besiroglu's law with little noise, as the digitised points; five of them to be left out."""
    rng = np.random.default_rng(0)
    runs = simulate.isoflop_runs(laws.BESIROGLU, np.geomspace(1e8, 2e10, 14))
    table = pd.DataFrame({"N": runs.N, "D": runs.D, "C": 6 * runs.N * runs.D, "loss": runs.loss})
    table["loss"] *= np.exp(rng.normal(0, 1e-3, len(table)))
    outliers = table.head(5).assign(loss=lambda t: t["loss"] * 1.3)
    return pd.concat([table.assign(kept240=True), outliers.assign(kept240=False)], ignore_index=True)


@pytest.fixture(scope="module")
def digitised(simulated):
    return hoffmann.digitised(simulated, 40)


def test_approaches_2_and_3_recover_the_law_of_simulated_points(simulated, digitised):
    assert len(digitised.kept) == len(simulated) - 5
    assert digitised.surface.params["a"] == pytest.approx(laws.BESIROGLU.a, abs=0.01)
    valleys, near = digitised.valleys()
    assert valleys.params["a"] == pytest.approx(laws.BESIROGLU.a, abs=0.02)
    assert hoffmann.budget_scatter(near) < 1e-9  # simulated at the budgets exactly
    assert min(digitised.seconds) >= 0


def test_the_wrong_constants_are_rejected_and_the_right_ones_are_not(digitised):
    found = hoffmann.rejection(digitised)
    assert found.ratio.p < 1e-6
    assert found.wald.p < 1e-6
    assert found.scored.statistic != pytest.approx(found.ratio.statistic)
    N, D, _, loss = digitised.columns
    own = fit.fit_surface(N, D, loss, delta=1e-8)
    assert fit.likelihood_ratio(N, D, loss, laws.BESIROGLU, own.law, delta=1e-8).p > 1e-4


def test_an_averaged_loss_stops_where_it_starts(digitised):
    N, D, _, loss = digitised.columns
    found = hoffmann.stopped(N, D, loss, seed=0)
    assert abs(found.a - laws.HOFFMANN_TEX.a) < abs(found.a - digitised.surface.params["a"])
    assert found.interval[1] - found.interval[0] < 0.01
    assert len(found.elsewhere) > 50
    assert np.nanstd(found.elsewhere) > 0.01


def test_tables_of_the_paper_continue(digitised):
    t3 = datasets.paper_table("chinchilla_table3_A3")
    miss = hoffmann.table_a3(t3)
    assert miss["rounded"] > miss["tex"] > 0
    exact = t3.assign(approach3_C=laws.HOFFMANN_TEX.optimum_at(t3["N"]).C)
    assert hoffmann.table_a3(exact)["tex"] == pytest.approx(0, abs=1e-12)
    table = hoffmann.continued(t3, digitised, digitised.valleys()[0])
    assert len(table) == len(t3)
    kinds = hoffmann.three_intervals(digitised, 40)
    assert kinds["parameter"].tolist() == ["E", "A", "B", "alpha", "beta", "a"]
    assert (kinds["profile likelihood"] == "—").sum() == 3


def test_a_released_staircase_is_refitted_both_ways():
    C = np.geomspace(1e16, 1e19, 8)
    rows = pd.DataFrame(
        {"dataset": "rw", "stage": reconcile.STAGES[0], "C": C, "N_opt": 3 * C**0.7, "log_N_std": 0.1}
    )
    rows.loc[3, "N_opt"] = np.nan
    slope, predict = reconcile.weighted_frontier(rows)
    assert slope == pytest.approx(0.7)
    assert predict(1e18) == pytest.approx(3 * 1e18**0.7)
    sizes = [
        pd.DataFrame(
            {"C": c, "N": 3 * c**0.7 * 2.0 ** np.arange(-3, 4), "loss": 2 + 0.01 * np.arange(-3, 4) ** 2}
        )
        for c in C
    ]
    points = pd.concat(sizes).assign(dataset="rw", stage=reconcile.STAGES[0])
    stored = pd.DataFrame({"dataset": ["rw"], "stage": [reconcile.STAGES[0]], "a_published": [0.71]})
    found = reconcile.released(rows, stored, points, seed=0)
    stairs = found.stairs({"rw": "RefinedWeb"})
    assert stairs["refitted"].tolist() == pytest.approx([0.7])
    assert stairs["a"].tolist() == pytest.approx([0.7], abs=1e-3)
    assert stairs["low"].iloc[0] <= stairs["a"].iloc[0] <= stairs["high"].iloc[0]
    assert stairs["dataset"].tolist() == ["RefinedWeb"]


def test_pearce_and_song_s_experiment_comes_back():
    found = reconcile.replay(laws.NonEmbeddingFrontier(laws.BESIROGLU))
    assert found.measured[0] == pytest.approx(0.78, abs=0.005)  # their Table 1
    assert found.total == pytest.approx(0.5, abs=0.03)
    assert abs(found.on_grid - found.measured[0]) < 0.03


def test_floors_are_found_on_losses_of_a_known_law():
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e4, 1e7, 6), np.geomspace(1e6, 1e9, 6)))
    law = laws.Chinchilla(1.5, 50, 200, 0.35, 0.4)
    points = pd.DataFrame({"N_total": N, "D": D, "loss": law.predict(N, D)})
    groups = own.halves(points)
    assert {k: len(v) for k, v in groups.items()} == {
        "all runs": 36,
        "longer half": 18,
        "larger half": 18,
        "both halves": 9,
    }
    surfaces, table = own.floors(groups | {"too few": points.head(5)}, 1.4, 20, seed=0)
    assert "too few" not in surfaces
    assert table["E − H"].iloc[0] == pytest.approx(0.1, abs=1e-3)


def test_schedules_are_compared_within_a_seed():
    rows = []
    for seed in (0, 1):
        for cycle, extra in ((1.0, 0.0), (1.5, 0.02), (5.0, 0.1)):
            rows.append(
                {
                    "schedule": "cosine",
                    "cycle": cycle,
                    "tokens": 100,
                    "D": 100,
                    "seed": seed,
                    "loss": 2 + seed + extra,
                }
            )
        rows.append(
            {"schedule": "constant", "cycle": 1.0, "tokens": 100, "D": 100, "seed": seed, "loss": np.nan}
        )
    table = pd.DataFrame(rows)
    constant = table["schedule"] == "constant"
    table["branch_tokens"] = [[100] if c else [] for c in constant]
    table["branch_loss"] = [[2 + s - 0.01] if c else [] for c, s in zip(constant, table["seed"], strict=True)]
    table["evaluation_tokens_seen"] = [[50, 100] if c else [] for c in constant]
    table["evaluation_loss"] = [
        [3.0 + s, 2.1 + s] if c else [] for c, s in zip(constant, table["seed"], strict=True)
    ]
    excess = own.cycle_excess(table)
    assert excess.loc[5.0].tolist() == pytest.approx([0.1, 0.1])
    lengths = own.by_length(table).pivot_table(index=["D", "seed"], columns="kind", values="loss")
    cooled = (lengths["constant, then cooled down"] - lengths["cosine of that length"]).dropna()
    assert cooled.tolist() == pytest.approx([-0.01, -0.01])
    assert own.mean_by_seed(pd.Series([1.0, 3.0])) == pytest.approx(
        (2.0, 12.706), abs=1e-3
    )  # t of one degree, times 1


def test_bookkeeping_alone_moves_the_exponent():
    """Noiseless runs of a known surface: counting without embeddings raises a, as the relation predicts."""
    law, rows = laws.Chinchilla(1.0, 40, 200, 0.4, 0.4), []
    for C in np.geomspace(1e12, 1e15, 6):
        for step in np.linspace(-1.5, 1.5, 7):
            total = law.optimum(C).N * np.exp(step)
            N = brentq(lambda n, total=total: n + 300 * np.cbrt(n) - total, 1e-9, total)
            D = C / (6 * total)
            rows.append({"N": N, "N_total": total, "D": D, "C": C, "loss": law.predict(total, D)})
    best = pd.DataFrame(rows)
    total, bare = own.parabolas(best, "total"), own.parabolas(best, "non-embedding")
    surface = fit.fit_surface(*own.columns(best, "N_total", "D", "loss"))
    boots = [fit.bootstrap(f, 20, 0) for f in (surface, total, bare)]
    found = own.bookkeeping(best, *boots)
    assert found.shift > 0.01
    assert found.predicted == pytest.approx(bare.params["a"], abs=0.02)
    wide = own.widen({"all": best}, 20, {"all": 0})
    assert wide.shift("all")[0] == pytest.approx(found.shift)
    assert len(wide.table()) == 2
