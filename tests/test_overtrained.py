"""Over-trained runs: the paper's constants to the digit, predictions that see no target, the cheapest lifetime by brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalinglaws.laws import BESIROGLU, Chinchilla
from scalinglaws.laws.overtrained import Overtrained
from scalinglaws.pretraining import overtrained

TRUTH = Overtrained(1.8, 150.0, 250.0, 0.128)


def made(law=TRUTH, tilt=0.0):
    """Runs of a known law at the paper's sizes; tilt: change of η for a tenfold M."""
    rows = []
    for N in (10.6e6, 78.9e6, 153.7e6, 411.6e6, 1.44e9, 6.89e9):
        for M in (5, 10, 20, 40, 80, 160, 320, 640) if N < 1e9 else (20,):
            C = 6 * N * N * M
            own = Overtrained(law.E, law.a, law.b, law.eta + tilt * np.log10(M / 20))
            rows.append(("X", N, float(N * M), C, float(M), float(own.predict(C, M))))
    return pd.DataFrame(rows, columns=["corpus", "N", "D", "C", "M", "loss"])


def test_five_exact_runs_give_the_law_back_and_predict_the_rest():
    runs = made()
    found = overtrained.fitted(overtrained.chosen(runs))
    assert (found.E, found.a, found.b, found.eta) == pytest.approx((TRUTH.E, TRUTH.a, TRUTH.b, TRUTH.eta), rel=1e-4)
    table = overtrained.predicted(runs)
    assert table["error"].abs().max() < 1e-4
    assert set(table["rule"]) == {"the paper's five runs", "all small runs", "all small runs, two exponents"}


def test_what_is_predicted_is_never_seen():
    runs = made()
    other = runs.assign(loss=runs["loss"].where(runs["N"] < overtrained.SMALL, 9.9))
    pd.testing.assert_series_equal(overtrained.predicted(runs)["predicted"], overtrained.predicted(other)["predicted"])
    pd.testing.assert_frame_equal(
        overtrained.fifth(runs).drop(columns="error"), overtrained.fifth(other).drop(columns="error")
    )


@pytest.mark.parametrize("tilt", [0.0, 0.01])
def test_slopes_see_whether_lines_are_parallel(tilt):
    runs = made(tilt=tilt)
    runs["loss"] += 0.0
    found = overtrained.slopes(runs, 100, 0)
    assert len(found.M) == 8
    if not tilt:
        assert found.eta == pytest.approx(TRUTH.eta, rel=1e-3)
        assert abs(found.change) < 1e-4
    else:
        assert found.change > 0.003
    assert (found.ends[:, 0] <= found.eta + 1e-9).all()
    assert (found.eta <= found.ends[:, 1] + 1e-9).all()


def test_weights_drop_a_size_from_a_slope():
    table = pd.DataFrame({"corpus": "X", "x": [0.0, 1.0, 2.0], "y": [0.0, -1.0, -5.0], "cluster": [0, 1, 2]})
    assert overtrained._slope(table, np.array([1, 1, 0])) == pytest.approx(1.0)
    assert overtrained._slope(table, np.array([2, 0, 2])) == pytest.approx(2.5)
    assert np.isnan(overtrained._slope(table, np.array([3, 0, 0])))


@pytest.mark.parametrize("law", [BESIROGLU, Chinchilla(1.69, 406.4, 410.7, 0.336, 0.283)])
def test_the_cheapest_lifetime_is_found_by_brute_force(law):
    best = overtrained.saved(law, 13e9, 2e12)
    base = law.optimum_at(13e9)
    N = np.geomspace(1e9, 13e9, 20001)
    D = (law.B / (base.loss - law.E - law.A * N**-law.alpha)) ** (1 / law.beta)
    cost = np.where(D > 0, 6 * N * D + 2 * N * 2e12, np.inf)
    k = np.nanargmin(cost)
    assert best.N == pytest.approx(N[k], rel=1e-3)
    assert best.longer == pytest.approx(D[k] / base.D, rel=1e-3)
    assert best.share == pytest.approx(1 - np.nanmin(cost) / (6 * 13e9 * base.D + 2 * 13e9 * 2e12), rel=1e-6)
    assert overtrained.saved(law, 13e9, 1.0).share == pytest.approx(0, abs=1e-9)


def test_resampled_surfaces_without_an_optimum_are_left_out():
    draws = {k: np.array([getattr(BESIROGLU, k), np.nan]) for k in ("E", "A", "B", "alpha", "beta")}
    found = overtrained.saved_by(draws, 13e9, 2e12)
    assert found.shape == (1, 5)
    assert found[0] == pytest.approx(overtrained.saved(BESIROGLU, 13e9, 2e12))


def test_the_released_models_give_table_6(loaded):
    runs = loaded("overtrained")
    assert len(runs) == 104
    assert runs["M"].round().isin([5, 10, 20, 40, 80, 160, 320, 640]).all()
    assert ((runs["loss_low"] < runs["loss"]) & (runs["loss"] < runs["loss_high"])).all()
    one = runs[(runs["corpus"] == "RedPajama") & (runs["N"] > 1e9)].sort_values(["N", "M"])
    assert one["loss"].round(4).tolist() == [2.7688, 2.5021, 2.4250]
    printed = {"C4": (1.51, 141, 190, 0.121), "RedPajama": (1.84, 212, 367, 0.136), "RefinedWeb": (1.73, 157, 246, 0.127)}
    for corpus, (E, a, b, eta) in printed.items():
        law = overtrained.fitted(overtrained.chosen(runs[runs["corpus"] == corpus]))
        assert (round(law.E, 2), round(law.a), round(law.b), round(law.eta, 3)) == (E, a, b, eta)
