"""The laws beyond the four papers: limits, identities, brute force, and a simulation of the exact one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalinglaws import laws
from scalinglaws.laws.annealing import Annealing, areas
from scalinglaws.laws.curves import ZHAI, Broken, Implicit, Levelled, Offset, Power, Shifted
from scalinglaws.laws.density import Densing
from scalinglaws.laws.overtrained import ErrorOfLoss, Overtrained
from scalinglaws.laws.precision import Quantised, TrainedInBits
from scalinglaws.laws.pruning import Pruned, simulated
from scalinglaws.laws.repeats import C4, MUENNIGHOFF, RIVALS, worth
from scalinglaws.laws.routed import Routed
from scalinglaws.laws.transfer import TEXT_TO_PYTHON, LossToLoss
from scalinglaws.laws.translation import EncoderDecoder, ScoreOfLoss

sizes, tokens = st.floats(1e6, 1e11), st.floats(1e8, 1e13)


# ---- repeated data ----------------------------------------------------------------------------------------


@given(st.floats(1, 1e4), st.floats(0.5, 100))
def test_repeats_are_worth_less_than_fresh_and_never_harm(times, constant):
    value, step = worth(times, constant), 1e-4 * times
    assert 1 <= value <= min(times, 1 + constant) + 1e-9
    slope = (worth(times + step, constant) - value) / step
    assert -1e-9 <= slope <= 1 + 1e-6
    assert slope == pytest.approx(np.exp(-(times - 1) / constant), abs=1e-3)


def test_at_its_constant_a_repeat_is_worth_a_third_and_the_limits_are_none_and_all():
    assert worth(3.0, 0.0) == 1.0
    assert worth(3.0, np.inf) == 3.0
    assert worth(0.4, 5.0) == 1.0
    assert worth(np.array([1.0, 1e9]), 15.39) == pytest.approx([1.0, 16.39])


@given(sizes, tokens)
def test_without_repeats_and_excess_it_is_chinchilla(N, D):
    law = MUENNIGHOFF
    best = C4.G * (D * C4.G) ** (C4.a / C4.b)
    fresh = min(N, best)
    assert law.predict(fresh, D, D) == pytest.approx(C4.predict(fresh, D), rel=1e-12)
    assert law.predict(fresh, D, 10 * D) == pytest.approx(C4.predict(fresh, D), rel=1e-12)
    assert law.only("none").predict(N, D, D / 7) == pytest.approx(C4.predict(N, D), rel=1e-9)


def test_the_size_that_suits_the_unique_tokens_is_compute_optimal_for_them():
    at = C4.optimum(1e22)
    N, D = MUENNIGHOFF.effective(10 * at.N, at.D, at.D)
    assert (at.N * worth(10.0, MUENNIGHOFF.R_N), at.D) == pytest.approx((N, D), rel=1e-9)


def test_more_epochs_help_less_and_less_and_rivals_lie_on_the_right_side():
    N, U, epochs = 1e9, 1e10, np.arange(1, 60)
    loss = MUENNIGHOFF.predict(N, U * epochs, U)
    assert (np.diff(loss) < 0).all()
    assert (np.diff(loss, 2) > 0).all()
    each = {form: MUENNIGHOFF.only(form).predict(1e11, 40 * U, U) for form in RIVALS}
    assert each["none"] < min(each["data only"], each["parameters only"]) < each["decay"]
    with pytest.raises(ValueError, match="must be one of decay"):
        MUENNIGHOFF.only("all")


def test_the_allocation_with_few_unique_tokens_is_the_best_and_smaller_than_without_that_bound():
    C, U = 1e22, 1e10
    best = MUENNIGHOFF.optimum(C, U)
    N = best.N * np.geomspace(0.2, 5, 4001)
    assert best.loss <= MUENNIGHOFF.predict(N, C / (6 * N), U).min() + 1e-9
    assert best.N < C4.optimum(C).N
    plenty = MUENNIGHOFF.optimum(C, 1e15)
    assert (plenty.N, plenty.loss) == pytest.approx((C4.optimum(C).N, C4.optimum(C).loss), rel=2e-3)


# ---- overtraining -----------------------------------------------------------------------------------------


@given(st.floats(1e18, 1e25), st.floats(1, 1000), st.floats(0.05, 0.3))
def test_overtraining_is_the_surface_with_equal_exponents(C, M, eta):
    law = Overtrained(1.8, 90.0, 600.0, eta)
    N, D = (C / (6 * M)) ** 0.5, (C * M / 6) ** 0.5
    assert law.predict(C, M) == pytest.approx(law.surface().predict(N, D), rel=1e-9)
    best = law.surface().optimum(C)
    assert best.D / best.N == pytest.approx(law.best_ratio, rel=1e-6)
    assert law.predict(C, law.best_ratio) <= law.predict(C, M) + 1e-12


def test_an_error_falls_from_guessing_and_a_loss_is_read_off_as_the_papers_say():
    law = ErrorOfLoss(0.85, 2.0, 1.0)
    assert law.predict(100.0) == pytest.approx(0.85)
    assert (np.diff(law.predict(np.linspace(1, 5, 50))) > 0).all()
    assert ScoreOfLoss(100.0, 0.5).predict(2.0) == pytest.approx(100 / np.e)


# ---- precision --------------------------------------------------------------------------------------------


@given(sizes, tokens)
def test_many_bits_are_no_quantisation_and_few_are_a_smaller_model(N, D):
    trained, after = TrainedInBits(laws.BESIROGLU, 2.5), Quantised(0.06, 0.5, 0.4, 0.8)
    base = laws.BESIROGLU
    assert trained.predict(N, D, 1e3) == pytest.approx(base.predict(N, D), rel=1e-12)
    assert trained.predict(N, D, 2.5) == pytest.approx(base.predict(N * (1 - 1 / np.e), D), rel=1e-12)
    assert after.predict(N, D, 1e4) == 0.0
    assert after.predict(N, 2 * D, 4) / after.predict(N, D, 4) == pytest.approx(2**0.5)


def test_beyond_some_tokens_more_training_harms_the_quantised_model():
    after, base = Quantised(0.06, 0.5, 0.4, 0.8), laws.BESIROGLU
    most = after.most_tokens(base, 1e9, 3.0)
    whole = lambda D: base.predict(1e9, D) + after.predict(1e9, D, 3.0)
    assert whole(most) < min(whole(0.9 * most), whole(1.1 * most))
    assert np.isinf(dataclasses.replace(after, gamma_D=-0.1).most_tokens(base, 1e9, 3.0))


# ---- transfer, annealing, routing -------------------------------------------------------------------------


def test_transfer_is_worth_as_much_as_the_data_where_it_says_so():
    D = TEXT_TO_PYTHON.ossified(1e8)
    assert TEXT_TO_PYTHON.predict(D, 1e8) == pytest.approx(D)
    assert TEXT_TO_PYTHON.predict(D / 10, 1e8) > D / 10
    assert np.isnan(LossToLoss(1.0, 0.5, 2.0, 1.0).predict(1.9))
    assert LossToLoss(1.0, 1.0, 1.5, 1.5).predict(3.0) == pytest.approx(3.0)


def test_annealing_areas_against_the_double_sum():
    rates = np.concatenate([np.linspace(0.1, 1, 5), np.ones(20), np.linspace(1, 0, 15)])
    S1, S2 = areas(rates, 0.9)
    drops = np.concatenate([[0.0], rates[:-1] - rates[1:]])
    steps = range(len(rates))
    double = [sum(drops[k] * 0.9 ** (i - k) for i in range(s + 1) for k in range(i + 1)) for s in steps]
    assert S1 == pytest.approx(np.cumsum(rates))
    assert S2 == pytest.approx(double)
    _, still = areas(np.ones(50))
    assert not still.any()
    S1, S2 = areas(rates[5:])
    law = Annealing(2.0, 0.5, 0.5, 0.1)
    assert law.predict(S1[-1], S2[-1]) < law.predict(S1[-1], 0.0)


def test_routing_one_expert_is_the_dense_model_and_a_routed_one_is_worth_a_larger():
    law = Routed(a=-0.08, b=-0.1, c=0.004, d=3.0)
    assert law.experts(1) == pytest.approx(1.0)
    assert law.worth(1e8, 1) == pytest.approx(1e8)
    assert law.predict(law.worth(1e8, 16), 1) == pytest.approx(law.predict(1e8, 16))
    assert law.worth(1e8, 16) > 1e8
    assert law.predict(law.cutoff, 64) == pytest.approx(law.predict(law.cutoff, 1))
    bounded = dataclasses.replace(law, start=1.5, most=32.0)
    assert (bounded.experts(1), bounded.experts(1e12)) == pytest.approx((1.5, 32.0))


def test_the_decoders_share_minimises_the_loss():
    law = EncoderDecoder(1.0, 50.0, 0.18, 0.24)
    share = np.linspace(0.01, 0.99, 9801)
    best = share[np.argmin(law.predict(1e9 * (1 - share), 1e9 * share))]
    assert best == pytest.approx(law.decoder_share, abs=2e-4)


def test_the_density_doubles_when_it_says():
    law = Densing(0.007, -2.0)
    assert law.predict(100 + law.doubling) == pytest.approx(2 * law.predict(100))


# ---- curves -----------------------------------------------------------------------------------------------


@given(st.floats(1, 1e6), st.floats(0.1, 1.5))
def test_curves_meet_in_the_power_law(x, alpha):
    plain = Power(3.0, alpha).predict(x)
    assert Offset(0.0, 3.0, alpha).predict(x) == pytest.approx(plain)
    assert Levelled(3.0, 0.0, alpha).predict(x) == pytest.approx(plain)
    assert Shifted(0.0, 3.0, 0.0, alpha).predict(x) == pytest.approx(plain)
    assert Broken(0.0, 3.0, alpha, (), (), ()).predict(x) == pytest.approx(plain)
    assert Broken(0.0, 3.0, alpha, (10.0,), (0.0,), (0.5,)).predict(x) == pytest.approx(plain)
    far = Implicit(0.0, 1e9, 3.0 * (1e9) ** -0.7, alpha, 0.7).predict(x)
    assert far == pytest.approx(plain, rel=1e-6)


@given(st.floats(1e-3, 1e6), st.floats(0.2, 3.0))
def test_the_implicit_curve_solves_its_equation(x, beta):
    law = Implicit(0.1, 0.9, 2.0, 0.5, beta)
    y = law.predict(x)
    assert 0.1 <= y <= 0.9
    assert (y - 0.1) / (0.9 - y) ** beta == pytest.approx(2.0 * x**-0.5, rel=1e-6)


def test_a_sharp_break_is_two_power_laws():
    law = Broken(0.0, 1.0, 0.1, (100.0,), (0.6,), (0.01,))
    slope = lambda x: -np.log(law.predict(1.01 * x) / law.predict(x)) / np.log(1.01)
    assert [slope(10.0), slope(1e4)] == pytest.approx(law.slopes(), abs=1e-6)
    assert law.slopes().tolist() == pytest.approx([0.1, 0.7])
    assert law.predict(100.0) == pytest.approx(100.0**-0.1, rel=0.01)


def test_zhais_curve_is_bounded_at_both_ends():
    assert ZHAI.predict(0.0) == pytest.approx(0.09 + 0.26 * 0.01**-0.35)
    assert ZHAI.predict(1e12) == pytest.approx(0.09, abs=1e-4)


# ---- pruning: an exact theory against a simulation --------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "kept", "hardest", "angle"),
    [(2.0, 1.0, True, 0.0), (3.0, 0.5, True, 0.0), (2.0, 0.4, False, 0.0), (2.0, 0.5, True, 0.4)],
)
def test_the_theory_of_pruning_is_what_a_simulation_finds(alpha, kept, hardest, angle):
    found = simulated(alpha, kept, hardest, angle, d=120, repeats=10)
    error = 4 * found.std(ddof=1) / np.sqrt(len(found))
    assert Pruned(kept, hardest, angle).error(alpha) == pytest.approx(found.mean(), abs=error)


def test_a_simulation_is_the_same_for_the_same_seed():
    one = simulated(1.0, 1.0, True, 0.0, d=20, repeats=3, seed=5)
    assert one.tolist() == simulated(1.0, 1.0, True, 0.0, d=20, repeats=3, seed=5).tolist()
    assert ((one > 0) & (one < 0.5)).all()


def test_hard_examples_pay_where_there_are_many_and_easy_ones_where_there_are_few():
    gain = lambda total, hardest: Pruned().error(total) - Pruned(0.5, hardest).error(total / 2)
    assert gain(8.0, True) > gain(8.0, False)
    assert gain(0.5, False) > gain(0.5, True)


def test_keeping_everything_is_no_pruning_and_the_error_of_random_examples_is_a_power():
    assert Pruned(1.0, True).error(3.0) == pytest.approx(Pruned(1.0, False).error(3.0), rel=1e-6)
    many = np.array([50.0, 100.0])
    slope = np.diff(np.log([Pruned().error(a) for a in many])) / np.log(2)
    assert slope == pytest.approx([-1.0], abs=0.02)
    assert Pruned(0.999999, True, 0.3).error(2.0) == pytest.approx(Pruned().error(2.0), rel=2e-3)


def test_what_cannot_be_kept_is_refused():
    for wrong in ({"kept": 0.0}, {"kept": 1.1}, {"angle": -0.1}, {"angle": 1.6}):
        with pytest.raises(ValueError, match="must be"):
            Pruned(**wrong)
    with pytest.raises(ValueError, match="alpha must be positive"):
        Pruned().error(0.0)
