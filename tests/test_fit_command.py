"""What `scalinglaws fit` answers: side by side, predicted, held out, planned, withheld; and never NaN or a lost fit."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalinglaws import __main__ as cli
from scalinglaws.fit import simulate
from scalinglaws.laws import Chinchilla

LAW = Chinchilla(1.8, 480, 2100, 0.35, 0.37)
OTHER = Chinchilla(1.8, 480, 2100, 0.35, 0.26)


def profiles(law=LAW, noise=0.001):
    found = simulate.isoflop_runs(law, np.geomspace(2e7, 4e10, 40), [1e19, 1e20, 1e21, 3e21, 1e22])
    loss = simulate.with_noise(found, noise, np.random.default_rng(0))
    return pd.DataFrame({"N": found.N, "D": found.D, "loss": loss, "C": found.C})


def call(capsys, *arguments):
    code = cli.main(["fit", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def report(capsys, path, *arguments):
    code, out, err = call(capsys, path, "--json", "--bootstrap", 60, *arguments)
    assert (code, err) == (0, "")
    return json.loads(out, parse_constant=lambda c: pytest.fail(c))


@pytest.fixture
def table(tmp_path):
    profiles().to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_methods_side_by_side_and_whether_they_agree(capsys, table):
    code, out, _ = call(capsys, table, "--method", "all", "--bootstrap", 60, "--budget", "1e23")
    assert code == 0
    for part in (
        "1. envelope",
        "2. IsoFLOP",
        "3. surface",
        "variable projection",
        "a (N_opt ∝ C^a)",
        "the methods agree",
    ):
        assert part in out
    found = report(capsys, table, "--method", "all")
    for method in ("isoflop", "surface", "varpro"):
        assert found["methods"][method]["params"]["a"] == pytest.approx(LAW.a, abs=0.02)


def test_a_method_that_cannot_says_why_beside_the_others(capsys, tmp_path):
    rng = np.random.default_rng(0)
    N, D = np.exp(rng.uniform(17, 22, 40)), np.exp(rng.uniform(22, 27, 40))
    pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D)}).to_csv(tmp_path / "r.csv", index=False)
    found = report(capsys, tmp_path / "r.csv", "--method", "all")
    assert "budgets" in found["methods"]["isoflop"]["refused"]
    assert found["methods"]["surface"]["params"]["a"] == pytest.approx(LAW.a, abs=1e-3)


def test_one_fit_a_group(capsys, tmp_path):
    both = pd.concat([profiles().assign(data="web"), profiles(OTHER).assign(data="code")])
    both.to_csv(tmp_path / "r.csv", index=False)
    found = report(capsys, tmp_path / "r.csv", "--by", "data", "--method", "varpro")
    for name, law in (("web", LAW), ("code", OTHER)):
        assert found["groups"][name]["params"]["beta"] == pytest.approx(law.beta, abs=0.02)
    assert "disagree" in found["agreement"]
    _, out, _ = call(capsys, tmp_path / "r.csv", "--by", "data", "--bootstrap", 60)
    assert "the groups disagree beyond their intervals of a: web and code" in out


def test_predictions_next_runs_and_a_hold_out(capsys, table):
    found = report(
        capsys,
        table,
        "--predict",
        "N=1B,D=20B",
        "--predict",
        "N=70e9,D=1.4T",
        "--next",
        3,
        "--budget",
        "1e23 FLOPs",
    )
    near, far = found["predictions"]
    assert (
        near["interval"][0] < near["mean"][0] < LAW.predict(1e9, 2e10) < near["mean"][1] < near["interval"][1]
    )
    assert (far["N"], far["D"]) == (7e10, 1.4e12)
    assert any("prediction at N = 7e+10" in w and "outside the runs" in w for w in found["warnings"])
    assert [r["narrows_to"] < 1 for r in found["next"]] == [True] * 3
    low, high = found["allocation"]["interval"]["loss"]
    assert low < LAW.optimum(1e23).loss < high
    held = report(capsys, table, "--holdout")
    assert held["holdout"]["n"] == (profiles()["C"] == 1e22).sum()
    assert held["n"] + held["holdout"]["n"] == len(profiles())
    assert held["holdout"]["rms"] < 3 * held["holdout"]["noise"]
    assert held["holdout"]["inside"] > 0.8
    _, out, _ = call(capsys, table, "--holdout", "C>2e21", "--bootstrap", 60)
    assert "times the noise of the fitted runs" in out


def test_weights_leave_rows_out(capsys, tmp_path):
    spoilt = profiles()
    spoilt["w"] = 1.0
    spoilt.loc[::5, "w"] = 0.0
    spoilt.loc[::5, "loss"] *= 1.3
    spoilt.to_csv(tmp_path / "r.csv", index=False)
    found = report(capsys, tmp_path / "r.csv", "--weights", "w", "--method", "varpro")
    assert found["params"]["a"] == pytest.approx(LAW.a, abs=0.02)
    code, _, err = call(capsys, tmp_path / "r.csv", "--weights", "w", "--method", "envelope")
    assert (code, "leave --weights out" in err) == (2, True)


def test_a_ladder_at_one_ratio_gets_its_loss_and_no_allocation(capsys, tmp_path):
    N = np.geomspace(1e7, 1e10, 16)
    loss = LAW.predict(N, 20 * N) * np.exp(0.001 * np.random.default_rng(0).standard_normal(16))
    pd.DataFrame({"N": N, "D": 20 * N, "loss": loss}).to_csv(tmp_path / "r.csv", index=False)
    for method in ("surface", "varpro"):
        found = report(capsys, tmp_path / "r.csv", "--budget", "1e22", "--method", method, "--next", 2)
        assert (found["allocation"], found["interval"], found["next"]) == (None, {}, [])
        assert "D/N = 20" in found["undetermined"][0]
    _, out, _ = call(capsys, tmp_path / "r.csv", "--budget", "1e22", "--bootstrap", 60)
    assert "not determined: every run has D/N = 20" in out
    assert "determined: the loss where they lie, along D/N = 20" in out
    assert "optimal at" not in out


@pytest.mark.parametrize("loss", ["constant", "of D", "of N"])
@pytest.mark.parametrize("method", ["surface", "varpro"])
def test_a_parameter_at_its_bound_gives_no_allocation(capsys, tmp_path, loss, method):
    runs = profiles()
    value = {"constant": 3.0, "of D": 1.8 + 800 / runs["D"] ** 0.3, "of N": 1.8 + 400 / runs["N"] ** 0.34}[
        loss
    ]
    runs.assign(loss=value).to_csv(tmp_path / "r.csv", index=False)
    found = report(capsys, tmp_path / "r.csv", "--budget", "1e22", "--method", method)
    assert found["allocation"] is None
    assert found["undetermined"]


def test_minima_in_n_but_not_in_d_end_in_one_line(capsys, tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(30):  # noise decides which budgets have a minimum
        runs = profiles()
        runs = runs.assign(loss=3 + 0.01 * rng.standard_normal(len(runs)))
        runs.to_csv(tmp_path / "r.csv", index=False)
        code, out, err = call(
            capsys, tmp_path / "r.csv", "--method", "isoflop", "--budget", "1e22", "--bootstrap", 20
        )
        assert (code, err.count("\n")) in ((0, 0), (2, 1))
        assert "nan" not in out.replace("determinant", "")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(8, 12), st.floats(9, 13), st.floats(-4, 2.5)),
        min_size=6,
        max_size=12,
        unique=True,
    ),
    st.sampled_from(["surface", "varpro", "isoflop", "envelope"]),
)
def test_no_infinity_and_no_nan_with_exit_code_0(capsys, tmp_path, rows, method):
    x = 10.0 ** np.array(rows)
    pd.DataFrame(x, columns=["N", "D", "loss"]).to_csv(tmp_path / "r.csv", index=False)
    flags = [
        "--budget",
        "1e24",
        "--bootstrap",
        8,
        "--keep-columns",
        "--loss-unit",
        "nats",
        "--method",
        method,
    ]
    with np.errstate(all="ignore"):
        code, out, err = call(capsys, tmp_path / "r.csv", *flags)
    assert (code, err.count("\n")) in ((0, 0), (2, 1))
    assert not set(out.replace(",", " ").replace(")", " ").split()) & {"nan", "inf", "-inf"}


def test_isoflop_without_nominal_budgets_names_the_column_to_add(capsys, tmp_path):
    runs = profiles()
    k = np.exp(0.15 * np.random.default_rng(1).standard_normal(len(runs)))  # FLOPs that are not 6·N·D
    drifting = runs.assign(D=runs["D"] * k)
    drifting.drop(columns="C").to_csv(tmp_path / "r.csv", index=False)
    code, _, err = call(capsys, tmp_path / "r.csv", "--method", "isoflop")
    assert (code, "add a column C with the nominal budget" in err) == (2, True)
    drifting.to_csv(tmp_path / "r.csv", index=False)
    assert report(capsys, tmp_path / "r.csv", "--method", "isoflop")["params"]["a"] == pytest.approx(
        LAW.a, abs=0.1
    )


def test_what_was_fitted_is_printed_even_if_it_cannot_be_drawn(capsys, table, tmp_path, monkeypatch):
    from scalinglaws.plots import fitted

    monkeypatch.setattr(fitted, "surface", lambda *a: 1 / 0)
    code, out, err = call(capsys, table, "--bootstrap", 0, "--plot", tmp_path / "o.svg")
    assert code == 2
    assert "L = E + A/N^α + B/D^β" in out
    assert "--plot" in err
    assert err.count("\n") == 1


def test_a_picture_that_cannot_be_written_is_told_before_the_table_is_read(capsys, tmp_path):
    for name in ("no/where.svg", "p", "p.docx"):
        code, out, err = call(capsys, tmp_path / "absent.csv", "--plot", tmp_path / name)
        assert (code, out, "--plot" in err) == (2, "", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--budget", "1e22", "--budget", "1e23"],
        ["--bootstrap", "x"],
        ["--method", "magic"],
        ["--budgte", "1e22"],
        [],
    ],
)
def test_bad_usage_is_one_line(capsys, table, arguments):
    with pytest.raises(SystemExit) as ended:
        call(capsys, *([table] if arguments else []), *arguments)
    err = capsys.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)


def test_too_many_resamples_are_refused_before_the_fit(capsys, tmp_path, monkeypatch):
    from scalinglaws import fit
    from scalinglaws.fit import result

    profiles().to_csv(tmp_path / "r.csv", index=False)
    monkeypatch.setattr(result, "MOST_WEIGHTS", 1000)
    monkeypatch.setattr(fit, "fit", lambda *a, **k: pytest.fail("fitted"))
    code, _, err = call(capsys, tmp_path / "r.csv", "--bootstrap", 500)
    assert (code, "ask for at most" in err) == (2, True)


def test_two_hundred_thousand_rows_stay_small(tmp_path):
    """Variable projection once held every start and every row of a long table at the same time."""
    rng = np.random.default_rng(0)
    n = 200_000
    N, D = np.exp(rng.uniform(16, 24, n)), np.exp(rng.uniform(21, 28, n))
    pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D)}).to_csv(
        tmp_path / "r.csv", index=False, float_format="%.9g"
    )
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (800 << 20,) * 2);"
        "from scalinglaws.__main__ import main; sys.exit(main())"
    )
    flags = ["--method", "varpro", "--bootstrap", "20", "--max-rows", "300000", "--json"]
    found = subprocess.run(
        [sys.executable, "-c", limited, "fit", tmp_path / "r.csv", *flags], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["params"]["a"] == pytest.approx(LAW.a, abs=1e-4)
