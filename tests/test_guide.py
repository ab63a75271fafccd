"""The field guide: exact theory against simulation, breaks on known truths, constants by hand, released tables to the digit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalinglaws import laws
from scalinglaws.laws.curves import Broken, Power
from scalinglaws.laws.explained import Spectrum, interpolated
from scalinglaws.laws.transfer import LossToLoss
from scalinglaws.pretraining import breaks, density, losses, pictures, printed, recovery
from scalinglaws.studies import study

# ---- why a power -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [(40, None), (40, 120), (120, 40), (60, 400)])
def test_students_err_as_the_formula_says(case):
    world = Spectrum(0.8, 400)
    found = world.simulated(*case, repeats=60, seed=1)
    assert abs(found.mean() - world.error(case[0], case[1] or np.inf)) < 4 * found.std(ddof=1) / 60**0.5


def test_samples_and_features_may_be_exchanged_and_infinitely_many_are_a_limit():
    world = Spectrum(0.6, 5000)
    for D, P in ((50, 200), (300, 90), (100, 101)):
        assert world.error(D, P) == pytest.approx(world.error(P, D), rel=1e-9)
    assert world.error(100, 1e9) == pytest.approx(world.error(100), rel=1e-6)
    assert world.error(1e9, 100) == pytest.approx(world.error(np.inf, 100), rel=1e-6)
    assert world.error(np.inf, 100) == pytest.approx(world.error(100), rel=1e-9)


def test_the_resolution_counts_directions():
    world = Spectrum(1.0, 1000)
    kappa = world.resolution(37.0)
    assert np.sum(world.values / (world.values + kappa)) == pytest.approx(37.0)
    with pytest.raises(ValueError, match="between 0 and the 1000"):
        world.resolution(1000)


def test_interpolation_falls_as_two_and_four_over_the_dimension():
    slope = lambda d, linear: -np.polyfit(
        np.log([500, 1000, 2000, 4000]),
        np.log([np.mean([interpolated(n, d, 16, linear, seed=k) for k in range(2)]) for n in (500, 1000, 2000, 4000)]),
        1,
    )[0]
    for d in (1, 2, 3):
        assert slope(d, False) * d == pytest.approx(2, abs=0.3)
        assert slope(d, True) * d == pytest.approx(4, abs=0.5)


# ---- breaks ------------------------------------------------------------------------------------------------


def test_a_broken_law_is_found_once_the_break_is_seen_and_not_before():
    truth = Broken(0.3, 2.5, 0.05, (1000.0,), (1.0,), (0.05,))
    x = np.geomspace(20, 2500, 40)
    y = truth.predict(x)
    whole, before = (breaks.missed("bnsl-1", x, y, k) for k in (36, 24))
    assert x[23] < 700
    assert whole[0] < 1e-3
    assert whole[1] < 1e-4
    assert before[0] > 0.2
    assert before[1] < 1e-3
    table = breaks.extrapolated(x, y, (24, 36), ("m2", "bnsl-1"))
    assert table["form"].tolist() == ["M2", "BNSL", "M2", "BNSL"]
    assert table["ahead"].tolist()[-1] == pytest.approx(whole[0])


def test_the_study_of_breaks_makes_what_it_says(tmp_path):
    store = study.work("breaks", "smoke", tmp_path, say=lambda text: None)
    table = store.whole("foreseen")
    assert set(table["form"]) == {"M2", "BNSL"}
    sizes = study.load("breaks", "smoke").sizes
    assert len(table) == 2 * sizes["studies"] * len(sizes["ends"]) * len(sizes["widths"])
    assert (table["ahead"] >= 0).all()


# ---- pictures ----------------------------------------------------------------------------------------------


def test_a_frontier_keeps_the_lowest_error_of_each_part_at_its_middle():
    own = pd.DataFrame({"C": [1e1, 1.2e1, 1e2, 1e3], "error": [0.5, 0.4, 0.3, 0.2]})
    edges = np.linspace(1, 3.1, 4)
    found = pictures.frontier(own, 3)
    assert found["error"].tolist() == [0.4, 0.3, 0.2]
    assert np.log10(found["C"]).tolist() == pytest.approx(((edges[1:] + edges[:-1]) / 2).tolist())


def test_exponents_of_exact_powers_and_their_difference():
    C = np.geomspace(1e18, 1e22, 12)
    table = pd.concat(
        [
            pd.DataFrame({"task": "t", "trained_on": name, "C": C, "error": Power(10.0, alpha).predict(C)})
            for name, alpha in (("WIT", 0.16), ("LAION-2B", 0.11))
        ]
    )
    assert pictures.as_published(table, "t", False).alpha == pytest.approx(0.16)
    difference, (low, high) = pictures.apart(table, "t")
    assert difference == pytest.approx(0.05, abs=0.01)
    assert low < difference < high


def test_released_clip_models_give_all_eight_exponents(loaded):
    table = loaded("clip")
    assert table["model"].nunique() == 32 - 2  # OpenAI's three share a name
    assert table.groupby("task").size().eq(32).all()
    printed_ = {"imagenet1k": (0.11, 0.16), "imagenet_robustness": (0.13, 0.24), "mscoco_captions": (0.08, 0.05), "flickr30k": (0.19, 0.10)}
    for task, (ours, theirs) in printed_.items():
        assert round(pictures.as_published(table, task, True).alpha, 2) == ours
        assert round(pictures.as_published(table, task, False).alpha, 2) == theirs


def test_pairs_are_of_one_architecture_and_as_many_samples(loaded):
    table = loaded("clip")
    found = pictures.matched(table, "imagenet1k")
    own = table[table["task"] == "imagenet1k"].set_index("model")["error"]
    large = own["Model-L-14_Data-2B_Samples-13B_lr-1e-3_bs-86k.pt"]
    assert len(found) == 6
    assert np.log(large / (1 - 0.7549)) == pytest.approx(found.iloc[(found - 0.093).abs().argmin()], abs=1e-3)


# ---- density -----------------------------------------------------------------------------------------------


def test_equivalent_parameters_undo_the_curve():
    curve = density.Ability(gamma=5.0, middle=2.2, top=0.95)
    N = np.array([1e8, 1e9, 3e10])
    assert curve.equivalent(curve.predict(N, density.AT)) == pytest.approx(N, rel=1e-9)
    assert np.isnan(curve.equivalent(0.96))
    assert np.isnan(curve.equivalent(curve.predict(1e30, 1e30)))


def test_growth_of_the_densest_is_recovered():
    days = np.arange(0, 600, 30)
    table = pd.DataFrame({"days": days, "density": np.exp(0.007 * days - 1), "family": [f"f{i}" for i in days], "date": days, "model": days})
    worse = table.assign(density=table["density"] / 3, model=-1 - table["days"], days=table["days"] + 1, date=table["date"] + 1)
    both = pd.concat([table, worse]).sort_values("days")
    assert len(density.best_so_far(both)) == len(table)
    law = density.trend(both)
    assert (law.A, law.B) == pytest.approx((0.007, -1.0))
    assert law.doubling == pytest.approx(np.log(2) / 0.007)
    assert np.nanquantile(density.resampled(both, 50, 0), [0.0, 1.0]) == pytest.approx([0.007, 0.007], abs=1e-3)


def test_open_models_are_read_with_their_dates(loaded):
    table = loaded("families")
    llama = table.set_index("model").loc["llama-2-7b"]
    assert (llama["N"], llama["D"], llama["C"]) == (7e9, 2e12, 8.4e22)
    assert llama["MMLU"] == pytest.approx(0.437961, abs=1e-6)
    assert table["date"].notna().sum() == 112
    found = density.densities(table)
    assert (found["seen"] == (found["density"] * found["N"] <= density.MOST)).all()


# ---- constants ---------------------------------------------------------------------------------------------


def test_a_frontier_says_what_the_surface_does():
    for law in (laws.HOFFMANN_ROUNDED, laws.BESIROGLU):
        line = printed.frontier(law)
        for C in (1e18, 1e24):
            at = law.optimum(C)
            assert line.N * C**line.a == pytest.approx(at.N)
            assert line.D * C**line.b == pytest.approx(at.D)
            assert line.L * C**-line.l + line.E == pytest.approx(at.loss)


def test_printed_tables_are_read_as_they_stand():
    assert printed.as_number("1/4") == 0.25
    assert printed.as_number("6.7") == 6.7
    domains = printed.henighan()
    assert len(domains) == 10
    language = domains.iloc[0]
    assert language["at_one"] == pytest.approx((1 / 3.3e-13) ** 0.73)
    assert language["prefactor"] * 8.64e19 ** language["beta"] == pytest.approx(language["at_one"])
    assert printed.gpt3()["counted"].between(0.995, 1.005).all()
    routers = printed.routed()
    assert ((routers["low"] < routers["computed"]) & (routers["computed"] < routers["high"])).all()
    table = printed.encyclopaedia_table()
    assert table["derived"].iloc[3] == 1
    assert printed.spread([2.0, 8.0, 4.0]) == 4.0


def test_rounding_enters_where_the_formula_is_used():
    exact = laws.HOFFMANN_TEX.optimum(1e24).N
    assert printed.rounding_error(1e24) == pytest.approx(0.6 * 1e24**0.45 / exact)


# ---- one text and another ----------------------------------------------------------------------------------


def test_an_exact_law_between_losses_extrapolates():
    truth = LossToLoss(1.1, 0.9, 1.0, 1.4)
    rows = [
        (N, D, 1.5 + 80 * N**-0.4 + 300 * D**-0.4) for N in (1e4, 3e4, 1e5, 1e6) for D in np.geomspace(1e6, 1e8, 8)
    ]
    points = pd.DataFrame(rows, columns=["N", "D", "loss"])
    points["transfer"] = truth.predict(points["loss"])
    found = losses.extrapolated(points, 20, 20, 0)
    C = 6 * points["N"] * points["D"]
    assert found.known.tolist() == (C <= C.max() / 20).tolist()
    assert found.error < 1e-3
    assert found.ends[0] <= found.error + 1e-6
    again = losses.extrapolated(points.assign(transfer=points["transfer"].where(found.known, 99.0)), 20, 20, 0)
    assert again.law == found.law  # what is held out is not seen


# ---- what is known is found again --------------------------------------------------------------------------


def test_coverage_counts_what_lies_within():
    table = pd.DataFrame(
        {
            "law": "m1", "parameter": "A", "truth": 1.0, "value": [1.0, 1.1, 0.5, 1.2], "low": [0.9, 0.9, 0.4, 1.1],
            "high": [1.1, 1.2, 0.6, 1.3], "status": ["converged", "bound: A", "converged", "converged"],
        }
    )  # fmt: skip
    (row,) = recovery.coverage(table).itertuples()
    assert (row.coverage, row.at_bound, row.studies) == (0.5, 0.25, 4)
    assert row.low < 0.5 < row.high
    assert row.miss == pytest.approx(0.15)


def test_every_job_of_the_recovery_has_tables_of_its_own(tmp_path):
    store = study.work("recovery", "smoke", tmp_path, say=lambda text: None)
    table = store.whole("recovered")
    assert table.groupby(["law", "parameter"]).size().eq(2).all()
    assert (table["low"] <= table["high"]).all()
    assert table.drop_duplicates(["law", "study"])["value"].is_unique
