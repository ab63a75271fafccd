"""Any law to a table of one's own: known truths are found, weights are rows, and bad input gets one line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from scalinglaws import __main__ as cli
from scalinglaws.fit import bootstrap
from scalinglaws.fit.forms import FORMS, rebuilt
from scalinglaws.fit.general import fit_form
from scalinglaws.laws import annealing, curves, repeats
from scalinglaws.pretraining import recovery

TRUTHS = recovery.truths()


def test_every_form_has_a_truth():
    assert {recovery.form_of(name).name for name in TRUTHS} == set(FORMS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if "bnsl-2" in n else n for n in TRUTHS])
def test_a_law_is_found_in_what_it_says(name):
    (law, at), form = TRUTHS[name], recovery.form_of(name)
    found = fit_form(form, at, law.predict(**at), delta=1e-3)
    assert found.status == "converged"
    assert found.params == pytest.approx(form.parameters(law), rel=1e-3)
    assert np.abs(found.residuals).max() < 1e-5


@pytest.mark.parametrize("study", [2, 4])
def test_no_valley_deeper_than_the_one_found(study):
    """Two breaks have many valleys: the fit must lie below the truth, which is a point of the same law."""
    (law, at), rng = TRUTHS["bnsl-2"], np.random.default_rng((study, *b"bnsl-2"))
    noise = 0.005 * rng.standard_normal(len(at["x"]))
    found = fit_form(FORMS["bnsl-2"], at, law.predict(**at) * np.exp(noise))
    assert found.objective < (noise**2).sum() / 2


def test_parameters_and_law_are_two_ways_to_say_the_same():
    for name, (law, at) in TRUTHS.items():
        again = rebuilt(law, recovery.form_of(name).parameters(law))
        assert again == law, name
        assert again.predict(**at) == pytest.approx(law.predict(**at)), name


def noisy(n=40, seed=1, noise=0.02):
    rng = np.random.default_rng(seed)
    x = np.geomspace(1, 1e4, n)
    return x, curves.Offset(1.0, 2.0, 0.3).predict(x) * np.exp(noise * rng.normal(size=n))


def test_a_weight_of_two_is_a_row_twice_and_of_nought_no_row():
    x, y = noisy()
    form, w = FORMS["m2"], np.where(np.arange(40) < 10, 2.0, 1.0)
    w[-1] = 0.0
    rows = np.repeat(np.arange(40), w.astype(int))
    for delta in (1e-3, 0.05, np.inf):
        weighted = fit_form(form, {"x": x}, y, delta=delta, weights=w)
        repeated = fit_form(form, {"x": x[rows]}, y[rows], delta=delta)
        assert weighted.objective == pytest.approx(repeated.objective, rel=1e-5)
        assert weighted.params == pytest.approx(repeated.params, rel=2e-2)


def test_a_wild_row_moves_least_squares_and_hardly_the_huber_fit():
    x, y = noisy()
    y[20] *= 3
    off = lambda delta: abs(fit_form(FORMS["m2"], {"x": x}, y, delta=delta).params["alpha"] - 0.3)
    assert off(1e-3) < 0.05 < off(np.inf)


def test_units_change_only_the_factor():
    x, y = noisy()
    one, other = (fit_form(FORMS["m2"], {"x": s * x}, y).params for s in (1.0, 1e6))
    assert other["alpha"] == pytest.approx(one["alpha"], rel=1e-4)
    assert other["E"] == pytest.approx(one["E"], rel=1e-4)
    assert other["A"] == pytest.approx(one["A"] * 1e6 ** one["alpha"], rel=1e-3)


@pytest.mark.long
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    inside = []
    for seed in range(30):
        x, y = noisy(seed=seed)
        boot = bootstrap(fit_form(FORMS["m2"], {"x": x}, y), 100, seed)
        low, high = boot.interval("alpha", 0.9, "expanded")
        inside.append(low <= 0.3 <= high)
    assert 0.75 <= np.mean(inside) <= 1.0


def test_a_schedule_is_fitted_from_its_first_step_where_nothing_is_annealed_yet():
    rates = np.concatenate([np.ones(150), np.linspace(1, 0.05, 50)])
    S1, S2 = annealing.areas(rates, 0.9)
    law, at = annealing.Annealing(2.0, 0.8, 0.4, 0.02), {"S1": S1[::4], "S2": S2[::4]}
    assert (at["S2"] == 0).any()
    found = fit_form(FORMS["annealing"], at, law.predict(**at))
    assert found.params == pytest.approx(FORMS["annealing"].parameters(law), rel=1e-3)


def test_only_what_is_fitted_is_reported_and_an_edge_has_the_parameters_name():
    law, at = TRUTHS["routed"]
    assert set(fit_form(FORMS["routed"], at, law.predict(**at)).params) == {"a", "b", "c", "d"}
    assert rebuilt(law, {"a": -0.1, "b": 0.0, "c": 0.0, "d": 1.0}).most == law.most
    x = np.geomspace(1, 100, 20)
    flat = fit_form(FORMS["m2"], {"x": x}, np.full(20, 2.0))
    assert flat.status.startswith("bound: ")
    assert set(flat.status.removeprefix("bound: ").split(", ")) <= {"E", "A", "alpha"}


def test_the_largest_rows_are_those_of_the_largest_models():
    size = lambda name, **at: FORMS[name].large({k: np.array(v) for k, v in at.items()})
    assert np.argmax(size("error-of-loss", loss=[4.0, 2.0, 3.0])) == 1
    assert np.argmax(size("encoder-decoder", N_e=[1.0, 3.0], N_d=[9.0, 2.0])) == 0
    assert np.argmax(size("repeats", N=[1.0, 3.0], D=[9.0, 4.0], U=[9.0, 1.0])) == 1
    assert size("m2", x=[1.0, 5.0]).tolist() == [1.0, 5.0]


def test_what_cannot_be_fitted_is_refused():
    x, y = noisy()
    with pytest.raises(ValueError, match="y must be positive in every row; row 3 holds -1"):
        fit_form(FORMS["m2"], {"x": x}, np.where(np.arange(40) == 2, -1.0, y))
    with pytest.raises(ValueError, match="bnsl-1 has 6 parameters: 5 rows"):
        fit_form(FORMS["bnsl-1"], {"x": x[:5]}, y[:5])


# ---- the command ------------------------------------------------------------------------------------------


def call(capsys, *words):
    code = cli.main(["fit", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def table(tmp_path):
    law, at = TRUTHS["repeats"]
    y = law.predict(**at) * np.exp(0.005 * np.random.default_rng(3).normal(size=60))
    path = tmp_path / "runs.csv"
    pd.DataFrame({"params": at["N"], "D": at["D"], "unique": at["U"], "loss": y}).to_csv(path, index=False)
    return path


COLUMNS = "N=params,U=unique"


def test_a_table_is_fitted_held_out_and_asked(table, capsys):
    words = (table, "--law", "repeats", "--columns", COLUMNS, "--bootstrap", 30, "--seed", 1)
    asked = ("--holdout", "D>5e10", "--predict", "N=1B,D=20B,U=5B", "--predict", "N=1e12,D=20B,U=5B")
    code, out, err = call(capsys, *words, *asked, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["n"] + found["holdout"]["n"] == 60
    assert found["holdout"]["rms"] < 0.03
    near, far = found["predictions"]
    assert near["loss"] == pytest.approx(repeats.MUENNIGHOFF.predict(1e9, 20e9, 5e9), rel=0.01)
    assert near["run"][0] < near["law"][0] <= near["law"][1] < near["run"][1]
    assert far["N"] == 1e12
    assert any("N = 1e+12 lies outside" in w for w in found["warnings"])
    code, out, err = call(capsys, *words, "--holdout")
    assert (code, err) == (0, "")
    assert "held out: " in out  # the largest sizes
    code, out, _ = call(capsys, *words)
    assert "U from column 'unique'" in out
    assert "R_D" in out
    assert "95 %:" in out


def test_the_list_names_every_law(capsys):
    code, out, _ = call(capsys, "--law", "list")
    assert code == 0
    assert all(name in out for name in FORMS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--law", "repeat"], "no such law; did you mean repeats?"),
        (["--law", "repeats"], "column N is missing; --law repeats reads N, D, U, loss: name it with --columns N=HEADER"),
        (["--law", "repeats", "--columns", COLUMNS, "--budget", "1e20"], "--budget is for the surface"),
        (["--law", "repeats", "--columns", COLUMNS, "--method", "varpro"], "--repeated and --method are for the surface"),
        (["--law", "repeats", "--columns", COLUMNS, "--predict", "N=1e9,D=1e9"], "needs N, D, U; U is missing"),
        (["--law", "repeats", "--columns", "N=params,V=unique"], "V is none of N, D, U, loss"),
        (["--law", "repeats", "--columns", COLUMNS, "--holdout", "D>1e99"], "leaves out 0 of 60 rows"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(table, capsys, words, said):
    code, out, err = call(capsys, table, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_bad_cell_is_named_by_its_line_and_no_table_is_asked_for(table, capsys):
    table.write_text(table.read_text().replace("loss\n", "loss\n1e9,1e10,1e9,none\n"))
    words = ("--law", "repeats", "--columns", COLUMNS, "--bootstrap", 0)
    _, _, err = call(capsys, table, *words)
    assert "line 2: column loss is 'none'; give a positive number" in err
    code, out, _ = call(capsys, table, *words, "--drop-diverged")
    assert code == 0
    assert "1 rows without a positive loss left out" in out
    with pytest.raises(SystemExit) as ended:
        call(capsys, "--law", "repeats")
    assert ended.value.code == 2
    assert "name a table of runs" in capsys.readouterr().err
