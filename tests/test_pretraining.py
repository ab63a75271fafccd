"""What is read out of stored runs, on runs made up so that the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalinglaws import fit, laws
from scalinglaws.pretraining import frontier, kaplan


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
