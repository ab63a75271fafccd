"""The command line: good runs, bad input in one line, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from scalinglaws import __main__ as cli
from scalinglaws.fit import simulate
from scalinglaws.laws import Chinchilla

LAW = Chinchilla(1.7, 300, 900, 0.31, 0.36)


def good_runs():
    runs = simulate.isoflop_runs(LAW, np.geomspace(2e7, 4e10, 40), [1e19, 1e20, 1e21, 3e21, 1e22])
    loss = simulate.with_noise(runs, 0.001, np.random.default_rng(0))
    return pd.DataFrame({"N": runs.N, "D": runs.D, "loss": loss, "C": runs.C})


@pytest.fixture
def runs_csv(tmp_path):
    good_runs().to_csv(tmp_path / "runs.csv", index=False)
    return str(tmp_path / "runs.csv")


def call(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize("method", ["surface", "varpro", "isoflop", "envelope"])
def test_every_method_reports_json(capsys, runs_csv, tmp_path, method):
    path = runs_csv
    if method == "envelope":
        curves = simulate.curve_runs(LAW, np.geomspace(2e7, 4e10, 40), (4.0, 50.0, 400.0), points=60)
        path = tmp_path / "curves.csv"
        pd.DataFrame({"N": curves.N, "D": curves.D, "loss": curves.loss}).to_csv(path, index=False)
    code, out, err = call(
        capsys,
        "fit",
        path,
        "--method",
        method,
        "--bootstrap",
        60,
        "--budget",
        "1e25",
        "--json",
        "--plot",
        tmp_path / "o.svg",
    )
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert {
        "params",
        "interval",
        "objective",
        "status",
        "n",
        "allocation",
        "warnings",
        "seconds",
    } <= report.keys()
    assert report["status"] == "converged"
    assert report["params"]["a"] == pytest.approx(LAW.a, abs=0.03)
    low, high = report["interval"]["a"]
    assert low <= report["params"]["a"] <= high
    assert set(report["seconds"]) == {"fit", "bootstrap"}
    assert report["allocation"]["N"] == pytest.approx(LAW.optimum(1e25).N, rel=0.6)
    assert any("decades beyond" in w for w in report["warnings"])
    assert (tmp_path / "o.svg").read_text().startswith("<?xml")


def test_text_report(capsys, runs_csv):
    code, out, _ = call(capsys, "fit", runs_csv, "--bootstrap", 50, "--budget", "1e21")
    assert code == 0
    for part in (
        "L = E + A/N^α + B/D^β",
        "converged",
        "α  =",
        "95 %:",
        "nats/token",
        "optimal at 1e+21 FLOPs",
        "tokens a parameter",
        "CPU time",
    ):
        assert part in out
    assert "extrapolation" not in out


def test_no_bootstrap_no_interval(capsys, runs_csv):
    _, out, _ = call(capsys, "fit", runs_csv, "--bootstrap", 0, "--json")
    report = json.loads(out)
    assert report["interval"] == {}
    assert report["allocation"] is None


def test_fractions_of_a_budget_below_the_runs_are_flagged(capsys, runs_csv):
    _, out, _ = call(capsys, "fit", runs_csv, "--bootstrap", 0, "--budget", "1e16", "--json")
    assert any("below the smallest run" in w for w in json.loads(out)["warnings"])


def test_a_bound_and_few_budgets_are_warned_of(capsys, tmp_path):
    frame = good_runs().query("C < 2e20")
    frame["loss"] -= 1.9
    frame.to_csv(tmp_path / "r.csv", index=False)
    _, out, _ = call(capsys, "fit", tmp_path / "r.csv", "--bootstrap", 20, "--json")
    report = json.loads(out)
    assert report["status"].startswith("bound: E")
    assert any("at its bound (E" in w for w in report["warnings"])
    assert any("too few budgets" in w for w in report["warnings"])


def table(**changes):
    frame = good_runs().astype(object)
    for (row, column), value in changes.get("cells", {}).items():
        frame.loc[row, column] = value
    return frame


BAD = {
    "implausible": (lambda: table(cells={(5, "N"): 1e300}), "line 7: column N is 1e+300, not between"),
    "missing column": (
        lambda: good_runs().drop(columns=["D", "C"]),
        "line 1: column D missing; name it with --columns D=HEADER",
    ),
    "nan": (lambda: table(cells={(3, "loss"): "NaN"}), "line 5: column loss is NaN"),
    "empty cell": (lambda: table(cells={(0, "N"): ""}), "line 2: column N is empty"),
    "zero": (lambda: table(cells={(7, "D"): 0}), "line 9: column D is 0, not positive"),
    "negative": (lambda: table(cells={(7, "loss"): -2.5}), "line 9: column loss is -2.5, not positive"),
    "infinite": (lambda: table(cells={(2, "C"): "inf"}), "line 4: column C is inf"),
    "text": (lambda: table(cells={(1, "N"): "70 B?"}), "line 3: column N is '70 B?', not a number"),
    "one budget": (lambda: good_runs().query("C > 5e21"), "all runs have one budget, C = 1e+22 FLOPs"),
    "three rows": (lambda: good_runs().query("D > 5 * N").iloc[[0, 15, 30]], "3 rows"),
    "duplicate": (lambda: pd.concat([good_runs(), good_runs().iloc[[4]]]), "lines 6 and"),
    "exchanged": (lambda: good_runs().rename(columns={"N": "D", "D": "N"}), "columns N and D look exchanged"),
    "wrong unit": (lambda: good_runs().assign(C=good_runs()["C"] / 8.64e19), "add --scale C=8.64e19"),
    "wrong count": (
        lambda: good_runs().assign(C=good_runs()["C"] / 1e3),
        "line 2: column C is 0.001 times 6·N·D",
    ),
    "one size": (
        lambda: good_runs().assign(N=1e9, C=lambda t: 6e9 * t["D"]),
        "column N has 1 different value(s)",
    ),
    "header only": (lambda: good_runs().iloc[:0], "there is a header but no run"),
    "twice": (lambda: good_runs().set_axis(["N", "D", "loss", "loss"], axis=1), "column loss appears twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_get_one_line_and_exit_2(capsys, tmp_path, case):
    make, message = BAD[case]
    path = tmp_path / "runs.csv"
    make().to_csv(path, index=False)
    code, out, err = call(capsys, "fit", path)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert str(path) in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"N,D,loss\n1,2,3\n1,2,3,4,5\n", "not a table separated by commas"),
        (b"N,D,loss\n1,2,\xe9\n", "not a text table in UTF-8 (byte 13)"),
        (b"\x01\x02\x00\x01", "not a text table"),
        (b"PAR1 and then nothing", "a damaged Parquet file"),
        (b"PK\x03\x04 and then nothing", "Excel"),
        (b'[{"N": 1, "D": 2', "line 1: not JSON"),
        (b'{"N": 1}\n{"N": \n', "line 2: not JSON"),
        (b'["a", "b"]', "JSON, but no list of runs"),
    ],
)
def test_files_that_are_no_tables(capsys, tmp_path, content, message):
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    code, _, err = call(capsys, "fit", path)
    assert code == 2
    assert err.count("\n") == 1
    assert message in err


def test_a_million_rows_are_refused_quickly_and_can_be_allowed(capsys, tmp_path):
    path = tmp_path / "runs.csv"
    rng = np.random.default_rng(0)
    n = 1_000_000
    N, D = np.exp(rng.uniform(16, 24, n)), np.exp(rng.uniform(21, 28, n))
    frame = pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D)})
    frame.to_csv(path, index=False, float_format="%.9g")
    code, _, err = call(capsys, "fit", path)
    assert code == 2
    assert "1,000,000 rows, the limit is 100,000" in err
    frame.iloc[:120_000].to_csv(path, index=False, float_format="%.9g")
    code, out, _ = call(capsys, "fit", path, "--max-rows", 200_000, "--bootstrap", 0, "--json")
    assert code == 0
    assert json.loads(out)["params"]["a"] == pytest.approx(LAW.a, abs=1e-4)


def test_isoflop_and_envelope_say_what_they_need(capsys, tmp_path):
    rng = np.random.default_rng(0)
    N, D = np.exp(rng.uniform(17, 22, 30)), np.exp(rng.uniform(22, 27, 30))
    pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, D)}).to_csv(tmp_path / "r.csv", index=False)
    code, _, err = call(capsys, "fit", tmp_path / "r.csv", "--method", "isoflop")
    assert (code, "use --method surface for scattered runs" in err) == (2, True)
    code, _, err = call(capsys, "fit", tmp_path / "r.csv", "--method", "envelope")
    assert (code, "envelope takes several rows per N" in err) == (2, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--delta", "0"), "--delta must be a positive"), (("--delta", "nan"), "--delta must be a positive"),
        (("--seed", "-1"), "--seed must not be negative"),
        (("--level", "1.5"), "--level must be"), (("--bootstrap", "-1"), "--bootstrap must be"),
     (("--budget", "-3"), "--budget must be"), (("--plot", "/nowhere/x.svg"), "--plot /nowhere/x.svg: no such folder"), (("--plot", "x.docx"), "--plot x.docx"), (("--plot", "p"), "name a file that ends in .svg"),
     (("--budget", "many"), "--budget must be"), (("--asymmetric", ".5"), "--asymmetric must be"),
     (("--delta", ".1", "--method", "isoflop"), "--delta is for --method surface"),
     (("--predict", "N=1e9"), "give both"), (("--predict", "N=1e9,D=x"), "--predict D must be a positive number of tokens"),
     (("--columns", "N"), "write NAME=VALUE"), (("--columns", "Q=N"), "is none of"), (("--columns", "N=size"), "column 'size' is not there"),
     (("--scale", "N=big"), "--scale N must be"), (("--next", "0"), "--next must be"), (("--method", "isoflop", "--next", "2"), "needs a law"),
     (("--method", "all", "--predict", "N=1e9,D=1e10"), "leave --method all out"), (("--by", "kind"), "column 'kind' is not there"),
     (("--count", "total"), "--count is for the tables of"), (("--weights", "w"), "column 'w' is not there"),
     (("--repeated", "drop"), "needs a column unique_tokens"),
     (("--holdout", "C>1e99"), "leaves out 0 of"), (("--holdout", "__import__('os')"), "not understood"), (("--holdout", "Q>1"), "no column Q")],
)  # fmt: skip
def test_bad_options(capsys, runs_csv, option, message):
    code, _, err = call(capsys, "fit", runs_csv, *option)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_keep_columns_allows_data_limited_runs(capsys, tmp_path):
    good_runs().rename(columns={"N": "D", "D": "N"}).to_csv(tmp_path / "r.csv", index=False)
    code, out, _ = call(capsys, "fit", tmp_path / "r.csv", "--keep-columns", "--bootstrap", 0, "--json")
    assert code == 0
    assert json.loads(out)["params"]["a"] == pytest.approx(1 - LAW.a, abs=0.03)


def test_missing_file_unknown_dataset_and_hardware(capsys, tmp_path, monkeypatch):
    assert call(capsys, "fit", tmp_path / "no.csv")[0] == 2
    code, _, err = call(capsys, "data", "pile")
    assert (code, "there are: epoch" in err) == (2, True)
    code, out, _ = call(capsys, "hardware")
    assert (code, "processor:" in out) == (0, True)
    monkeypatch.setattr("scalinglaws.provenance.gpu", lambda: None)
    code, _, err = call(capsys, "hardware", "--require-gpu")
    assert (code, "nvidia-smi reports none" in err) == (2, True)


def test_help_gives_units_and_runs_as_a_module(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "scalinglaws", "fit", "--help"], capture_output=True, text=True, cwd=tmp_path
    )
    assert found.returncode == 0
    for part in ("nats per token", "FLOPs", "parameters", "several rows per N", "--scale", "--next"):
        assert part in found.stdout
    bad = subprocess.run(
        [sys.executable, "-m", "scalinglaws", "fit", "none.csv"], capture_output=True, text=True, cwd=tmp_path
    )
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr


def test_a_table_s_own_flop_count_decides_what_a_budget_buys(capsys, tmp_path):
    frame = good_runs()
    frame.assign(C=2 * frame["C"]).to_csv(tmp_path / "r.csv", index=False)
    _, out, _ = call(capsys, "fit", tmp_path / "r.csv", "--bootstrap", 0, "--budget", "2e23", "--json")
    twice = json.loads(out)["allocation"]
    frame.to_csv(tmp_path / "r.csv", index=False)
    _, out, _ = call(capsys, "fit", tmp_path / "r.csv", "--bootstrap", 0, "--budget", "1e23", "--json")
    assert twice["N"] == pytest.approx(json.loads(out)["allocation"]["N"], rel=1e-6)


def test_one_exchanged_row_is_pointed_at(capsys, tmp_path):
    frame = good_runs()
    row = int(np.argmax(frame["D"] / frame["N"]))
    frame.loc[row, ["N", "D"]] = frame.loc[row, ["D", "N"]].to_numpy()
    frame.to_csv(tmp_path / "r.csv", index=False)
    _, out, _ = call(capsys, "fit", tmp_path / "r.csv", "--bootstrap", 0, "--json")
    assert any(w.startswith(f"line {row + 2} misses the law") for w in json.loads(out)["warnings"])


def test_constant_losses_give_an_answer_or_one_line(capsys, tmp_path):
    good_runs().assign(loss=3.0).drop(columns="C").to_csv(tmp_path / "r.csv", index=False)
    for method in ("surface", "varpro"):
        code, out, err = call(
            capsys,
            "fit",
            tmp_path / "r.csv",
            "--method",
            method,
            "--budget",
            "1e22",
            "--bootstrap",
            20,
            "--json",
        )
        assert (code, err.count("\n")) in ((0, 0), (2, 1))
        if code == 0:
            json.loads(out, parse_constant=lambda c: pytest.fail(c))


def test_training_curves_must_be_named_alike(capsys, tmp_path):
    curves = simulate.curve_runs(LAW, [1e8, 1e9, 1e10], (20.0,), points=4)
    frame = pd.DataFrame({"N": curves.N, "D": curves.D, "loss": curves.loss, "run": "same"})
    frame.to_csv(tmp_path / "r.csv", index=False)
    code, _, err = call(capsys, "fit", tmp_path / "r.csv", "--method", "envelope")
    assert (code, "line 6: column run: 'same' has N = 1e+08 above" in err) == (2, True)
    frame["run"] = ["a"] * 4 + [""] * 8
    frame.to_csv(tmp_path / "r.csv", index=False)
    code, _, err = call(capsys, "fit", tmp_path / "r.csv", "--method", "envelope")
    assert (code, "line 6: column run is empty" in err) == (2, True)


def test_a_terminal_without_greek_does_not_crash(runs_csv):
    import os

    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "scalinglaws", "fit", runs_csv, "--bootstrap", "0"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "L = E + A/N^? + B/D^?" in found.stdout


@pytest.mark.parametrize(
    "arguments", [["fut"], ["sweep", "--dry"], ["book", "--profil", "x"], ["testtime", "--nothing"]]
)
def test_bad_usage_of_any_command_is_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--unknown"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_option_is_told_with_the_one_that_is_meant(capsys):
    with pytest.raises(SystemExit):
        cli.main(["sweep", "isoflop", "--worker-s", "2"])
    error = capsys.readouterr().err
    assert (
        error
        == "scalinglaws sweep: error: no such option: --worker-s; did you mean --workers? (see scalinglaws sweep --help)\n"
    )
