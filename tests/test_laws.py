"""Closed forms against brute force, limits and invariances."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from scalinglaws import laws
from scalinglaws.datasets import paper_table
from scalinglaws.laws.overtrained import lifetime_optimum

exponent = st.floats(0.1, 1.0)
laws_strategy = st.builds(
    laws.Chinchilla,
    E=st.floats(0.5, 3),
    A=st.floats(10, 1e4),
    B=st.floats(10, 1e4),
    alpha=exponent,
    beta=exponent,
)
budget = st.floats(1e15, 1e27)


@given(laws_strategy, budget)
def test_the_allocation_minimises_the_loss_at_fixed_compute(law, C):
    best = law.optimum(C)
    assert 6 * best.N * best.D == pytest.approx(C, rel=1e-9)
    for factor in (0.97, 1.03):
        assert law.predict(best.N * factor, best.D / factor) > best.loss - 1e-12


@given(laws_strategy, budget)
def test_the_closed_form_agrees_with_a_numerical_minimum(law, C):
    best = law.optimum(C)
    x = np.log(best.N)
    found = minimize_scalar(
        lambda t: law.predict(np.exp(t), C / 6 / np.exp(t)) - law.E,
        bounds=(x - 3, x + 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found.x == pytest.approx(x, abs=2e-3)


@given(laws_strategy, budget, st.floats(0.01, 100))
def test_the_unit_of_tokens_does_not_matter(law, C, unit):
    # D in units of `unit` tokens: B scales with unit^-beta, k with unit, and N_opt stays.
    rescaled = dataclasses.replace(law, B=law.B * unit**-law.beta)
    a, b = law.optimum(C), rescaled.optimum(C, k=6 * unit)
    assert b.N == pytest.approx(a.N, rel=1e-9)
    assert b.D * unit == pytest.approx(a.D, rel=1e-9)


@given(laws_strategy, st.floats(1e6, 1e12))
def test_optimum_at_inverts_optimum(law, N):
    at = law.optimum_at(N)
    assert law.optimum(at.C).N == pytest.approx(N, rel=1e-8)


@given(laws_strategy)
def test_theta_round_trip_and_exponents_sum_to_one(law):
    again = laws.Chinchilla.from_theta(law.theta)
    assert dataclasses.astuple(again) == pytest.approx(dataclasses.astuple(law), rel=1e-12)
    assert law.a + law.b == pytest.approx(1)


@given(laws_strategy, st.floats(1e7, 1e11), st.floats(1e8, 1e13))
def test_log_gradient_against_finite_differences(law, N, D):
    gradient = law.log_gradient(N, D)
    h = 1e-6
    for j in range(5):
        step = np.zeros(5)
        step[j] = h
        up, down = (np.log(laws.Chinchilla.from_theta(law.theta + s).predict(N, D)) for s in (step, -step))
        assert gradient[j] == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize(
    ("field", "value"), [("A", 0), ("B", -1), ("alpha", 0), ("E", -0.1), ("beta", float("nan"))]
)
def test_impossible_constants_are_refused(field, value):
    with pytest.raises(ValueError, match=f"Chinchilla.{field} must"):
        dataclasses.replace(laws.BESIROGLU, **{field: value})


def test_published_constants_stand_as_in_the_table():
    table = paper_table("published_chinchilla_fits").set_index("fit")
    for name, law in (
        ("hoffmann_rounded", laws.HOFFMANN_ROUNDED),
        ("hoffmann_tex", laws.HOFFMANN_TEX),
        ("besiroglu_published", laws.BESIROGLU),
    ):
        row = table.loc[name]
        for field in ("E", "A", "B", "alpha", "beta", "a"):
            assert getattr(law, field) == pytest.approx(row[field], rel=1e-9)


def test_kaplan_constants_stand_as_in_the_table():
    c = paper_table("kaplan_constants").set_index("name")["value"].astype(float)
    pairs = {
        "alpha_N": laws.L_OF_N.alpha, "N_c": laws.L_OF_N.scale, "alpha_D": laws.L_OF_D.alpha, "D_c": laws.L_OF_D.scale,
        "alpha_C": laws.L_OF_C.alpha, "C_c": laws.L_OF_C.scale, "alpha_C_min": laws.L_OF_C_MIN.alpha, "C_c_min": laws.L_OF_C_MIN.scale,
        "alpha_B": laws.B_CRIT.alpha_B, "B_star": laws.B_CRIT.B_star, "T2_alpha_N": laws.L_OF_N_D.alpha_N, "T2_alpha_D": laws.L_OF_N_D.alpha_D,
        "T2_N_c": laws.L_OF_N_D.N_c, "T2_D_c": laws.L_OF_N_D.D_c, "T3_alpha_N": laws.L_OF_N_S.alpha_N, "T3_alpha_S": laws.L_OF_N_S.alpha_S,
        "T3_N_c": laws.L_OF_N_S.N_c, "T3_S_c": laws.L_OF_N_S.S_c, "p_N": laws.KAPLAN_FRONTIER.a, "N_e": laws.KAPLAN_FRONTIER.N0,
        "p_D": laws.KAPLAN_FRONTIER.b, "D_e": laws.KAPLAN_FRONTIER.D0, "PF_day": laws.PF_DAY,
    }  # fmt: skip
    for name, value in pairs.items():
        assert value == pytest.approx(c[name], rel=1e-12), name


def test_kaplan_nd_reduces_to_its_limits():
    law = laws.L_OF_N_D
    assert law.predict(1e8, 1e30) == pytest.approx((law.N_c / 1e8) ** law.alpha_N, rel=1e-6)
    assert law.predict(1e30, 1e8) == pytest.approx((law.D_c / 1e8) ** law.alpha_D, rel=1e-6)
    D = law.tokens_without_overfitting(1e8, 0.02)
    assert law.overfitting(1e8, D) == pytest.approx(0.02, rel=1e-9)
    # Eq. 4.4: D ≳ 5e3·N^.74
    assert law.tokens_without_overfitting(1e9) / (5e3 * 1e9**0.74) == pytest.approx(1, rel=0.25)


def test_power_law_inverts():
    assert laws.L_OF_N.invert(laws.L_OF_N.predict(3e8)) == pytest.approx(3e8)


def test_kaplan_ns_optimum_is_a_minimum_over_sizes():
    law, batch, C = laws.L_OF_N_S, laws.B_CRIT, 1.0
    best = law.optimum(C, batch)

    def loss_at(N):
        # solve C = 6·N·S·B_crit(L) for the loss at this size
        def gap(L):
            S = law.S_c * (L - (law.N_c / N) ** law.alpha_N) ** (-1 / law.alpha_S)
            return np.log(6 * N * S * batch.predict(L) / (C * laws.PF_DAY))

        from scipy.optimize import brentq

        floor = (law.N_c / N) ** law.alpha_N
        return brentq(gap, floor + 1e-9, floor + 50)

    found = minimize_scalar(
        lambda x: loss_at(np.exp(x)), bounds=(np.log(best.N) - 2, np.log(best.N) + 2), method="bounded"
    )
    assert np.exp(found.x) == pytest.approx(best.N, rel=1e-2)
    assert loss_at(best.N) == pytest.approx(best.loss, rel=1e-9)
    assert 0.052 <= law.compute_exponent(batch) <= 0.0526
    # C is 6·N·D at the critical batch, and the loss falls with the exponent of Eq. 6.4
    assert 6 * best.N * best.D == pytest.approx(C * laws.PF_DAY, rel=1e-9)
    slope = np.log(law.optimum(10.0, batch).loss / best.loss) / np.log(10)
    assert slope == pytest.approx(-law.compute_exponent(batch), rel=1e-9)


def test_critical_batch_identities():
    batch, L = laws.B_CRIT, 2.5
    B = batch.predict(L)
    assert batch.minimum_compute(1.0, B, L) == pytest.approx(0.5)  # C = 2·C_min at B = B_crit
    assert batch.minimum_steps(1000, B, L) == pytest.approx(500)


def test_kaplan_frontier_is_in_pf_days():
    at = laws.KAPLAN_FRONTIER.optimum(laws.PF_DAY)
    assert (at.N, at.D) == pytest.approx((1.3e9, 2e10))
    assert laws.KAPLAN_FRONTIER.optimum_at(at.N).C == pytest.approx(laws.PF_DAY)
    assert np.isnan(at.loss)


@given(laws_strategy, st.floats(10, 1e12))
def test_the_non_embedding_frontier_is_an_optimum_where_its_exponent_is_positive(surface, N):
    view = laws.NonEmbeddingFrontier(surface)
    slope = view.local_exponent(N)
    assume(np.isfinite(slope) and 0.02 < abs(slope) < 20)
    D = view.tokens(N)

    def loss(n):
        return surface.predict(view.share.total(n), N * D / n) - surface.E

    here, sides = loss(N), (loss(N * 1.01), loss(N / 1.01))
    if slope > 0:
        assert here <= min(sides) * (1 + 1e-9)
    else:  # the fold: stationary, but not least
        assert here >= max(sides) * (1 - 1e-6)


@pytest.mark.parametrize("surface", [laws.BESIROGLU, laws.HOFFMANN_TEX, laws.HOFFMANN_ROUNDED])
def test_published_frontiers_do_not_fold(surface):
    assert (laws.NonEmbeddingFrontier(surface).local_exponent(np.geomspace(1, 1e15, 500)) > 0).all()


@pytest.mark.parametrize("surface", [laws.BESIROGLU, laws.HOFFMANN_TEX])
def test_local_exponent_against_finite_differences(surface):
    view = laws.NonEmbeddingFrontier(surface)
    N = np.geomspace(1e2, 1e13, 60)
    h = 1e-5
    numeric = 2 * h / (np.log(view.compute(N * np.exp(h))) - np.log(view.compute(N * np.exp(-h))))
    assert view.local_exponent(N) == pytest.approx(numeric, rel=1e-6)
    small, large = view.limits
    assert view.local_exponent(1e-6) == pytest.approx(small, abs=1e-4)
    assert view.local_exponent(1e20) == pytest.approx(large, abs=1e-4)


@given(st.floats(1, 1e13))
def test_embedding_share_inverts(N):
    share = laws.EmbeddingShare()
    assert share.invert(share.total(N)) == pytest.approx(N, rel=1e-6)


def test_embedding_share_from_a_shape_counts_the_vocabulary():
    share = laws.EmbeddingShare.from_shape(32_000, 40.0)
    n_layer, d = 10, 400
    assert share.total(12 * n_layer * d**2) == pytest.approx(12 * n_layer * d**2 + 32_000 * d)


def test_lifetime_optimum_against_brute_force():
    law, loss, served = laws.BESIROGLU, 2.0, 5e12
    best = lifetime_optimum(law, loss, served)
    assert law.predict(best.N, best.D) == pytest.approx(loss, rel=1e-9)
    N = best.N * np.geomspace(0.5, 2, 4001)
    D = (law.B / (loss - law.E - law.A * N**-law.alpha)) ** (1 / law.beta)
    cost = np.where(D > 0, 6 * N * D + 2 * N * served, np.inf)
    assert best.C == pytest.approx(np.nanmin(cost), rel=1e-5)
    nothing_served = lifetime_optimum(law, law.optimum(1e23).loss, 0.0)
    assert nothing_served.N == pytest.approx(law.optimum(1e23).N, rel=1e-5)
    with pytest.raises(ValueError, match="irreducible"):
        lifetime_optimum(law, 1.0, served)


def test_the_measured_exponent_is_between_the_local_ones_and_reads_a_grid():
    view = laws.NonEmbeddingFrontier(laws.BESIROGLU)
    sizes, budgets = np.logspace(2.9, 9.2, 20), np.logspace(12.95, 20.7, 100)
    exact, loss_slope = view.measured_exponent(sizes, budgets)
    local = view.local_exponent(sizes)
    assert local.min() < exact < local.max()
    assert loss_slope == pytest.approx(-0.069, abs=5e-4)
    fine, _ = view.measured_exponent(sizes, budgets, token_grid=np.logspace(6, 25, 40_000))
    coarse, _ = view.measured_exponent(sizes, budgets, token_grid=np.logspace(6, 25, 1000))
    assert fine == pytest.approx(exact, abs=1e-3)
    assert coarse == pytest.approx(0.781, abs=1e-3)  # Pearce & Song's own script
    total, _ = view.measured_exponent(np.logspace(6, 10, 400), np.logspace(17, 21, 60), total=True)
    assert total == pytest.approx(laws.BESIROGLU.a, abs=0.01)


def test_training_short_of_convergence_follows_appendix_b():
    """2.7 times the parameters, 7.7 times fewer steps (7.5 from the rounded exponents), about 65 % less compute."""
    law, loss = laws.L_OF_N_S, 2.5
    best = law.alpha_N / law.alpha_S

    def model(f):  # size and steps that reach `loss` at f above the converged loss
        N = law.N_c * (loss / (1 + f)) ** (-1 / law.alpha_N)
        S = law.S_c * (loss * f / (1 + f)) ** (-1 / law.alpha_S)
        assert law.predict(N, S) == pytest.approx(loss)
        return np.array([N, S, N * S])

    ratio = law.stopped_at(best, 0.02)
    assert model(best) / model(0.02) == pytest.approx([ratio["N"], ratio["S"], ratio["C"]])
    assert model(best)[2] < min(model(0.9 * best)[2], model(1.1 * best)[2])  # and there is no cheaper way
    assert ratio["N"] == pytest.approx(2.7, abs=0.1)
    assert 1 / ratio["S"] == pytest.approx(7.7, abs=0.4)
    assert ratio["C"] == pytest.approx(0.35, abs=0.02)


def test_the_contradiction_is_where_the_two_laws_cross():
    at = laws.contradiction(laws.L_OF_C_MIN, laws.L_OF_D, 2e10, 0.27)
    assert laws.L_OF_C_MIN.predict(at["C"]) == pytest.approx(laws.L_OF_D.predict(at["D"]), rel=1e-12)
    assert at["D"] == pytest.approx(2e10 * at["C"] ** 0.27)
    assert 4e3 < at["C"] < 1.2e4
    for factor, sign in ((0.1, 1), (10, -1)):  # before it the data suffice, beyond it they do not
        C = at["C"] * factor
        assert np.sign(laws.L_OF_C_MIN.predict(C) - laws.L_OF_D.predict(2e10 * C**0.27)) == sign
