"""People's tables: every format and header they come in gives the same law, or one line that names the flag."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from scalinglaws import __main__ as cli
from scalinglaws import fit
from scalinglaws.fit import simulate
from scalinglaws.fit.columns import to_numbers
from scalinglaws.laws import Chinchilla

LAW = Chinchilla(1.8, 480, 2100, 0.35, 0.37)


@pytest.fixture(scope="module")
def runs():
    sizes = np.geomspace(3e7, 2e10, 25).round()
    found = simulate.isoflop_runs(LAW, sizes, [1e19, 1e20, 1e21, 1e22], factor=6.0)
    loss = simulate.with_noise(found, 0.002, np.random.default_rng(1))
    return pd.DataFrame({"N": found.N, "D": found.D.round(), "loss": loss, "C": np.repeat([1e19, 1e20, 1e21, 1e22], np.bincount(found.group))})  # fmt: skip


@pytest.fixture(scope="module")
def exponent(runs):
    return fit.fit(runs).params["a"]


def written(tmp_path, content, name="runs.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def call(capsys, *arguments):
    code = cli.main(["fit", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def comma(v):
    return f"{v:.10g}".replace(".", ",")


THREE = ["N", "D", "loss"]
SHAPES = {
    "csv": lambda t: t.to_csv(index=False),
    "tabs": lambda t: t.to_csv(index=False, sep="\t"),
    "bars": lambda t: t.to_csv(index=False, sep="|"),
    "spaces": lambda t: t.to_csv(index=False, sep=" "),
    "utf-16": lambda t: t.to_csv(index=False).encode("utf-16"),
    "byte order mark": lambda t: t.to_csv(index=False).encode("utf-8-sig"),
    "windows lines": lambda t: t.to_csv(index=False).replace("\n", "\r\n"),
    "blank lines": lambda t: "\n\n" + t.to_csv(index=False) + "\n\n",
    "semicolons, decimal commas": lambda t: t.map(comma).to_csv(index=False, sep=";"),
    "european thousands": lambda t: t.assign(
        N=t["N"].map(lambda v: f"{v:,.0f}".replace(",", ".") + ",0"), loss=t["loss"].map(comma)
    ).to_csv(index=False, sep=";"),
    "thousands": lambda t: t.assign(N=t["N"].map("{:,.0f}".format), D=t["D"].map("{:,.0f}".format)).to_csv(index=False),
    "suffixes": lambda t: t.assign(N=t["N"].map(lambda v: f"{v / 1e6:.6f}M"), D=t["D"].map(lambda v: f"{v / 1e9:.9f} B")).to_csv(index=False),
    "records": lambda t: t.to_json(orient="records", double_precision=15),
    "lines": lambda t: t.to_json(orient="records", lines=True, double_precision=15),
    "columns": lambda t: json.dumps({c: t[c].tolist() for c in t}),
    "under a key": lambda t: json.dumps({"about": "x", "runs": t.to_dict("records")}),
    "nested": lambda t: json.dumps([{"config": {"n_params": r.N, "tokens": r.D}, "summary": {"eval/loss": r.loss, "_step": 9}} for r in t.itertuples()]),
    "wandb": lambda t: t.rename(columns={"N": "config.n_params", "D": "train_tokens", "loss": "eval/loss", "C": "total_flops"}).assign(State="finished").to_csv(),
    "tokens from flops": lambda t: t.assign(C=6 * t["N"] * t["D"]).drop(columns="D").to_csv(index=False),
    "sizes from flops": lambda t: t.assign(C=6 * t["N"] * t["D"]).drop(columns="N").to_csv(index=False),
    "units in headers": lambda t: t.assign(N=t["N"] / 1e6, D=t["D"] / 1e9).rename(columns={"N": "params (M)", "D": "tokens_billions"}).to_csv(index=False),
    "perplexity by header": lambda t: t.assign(ppl=np.exp(t["loss"])).drop(columns="loss").to_csv(index=False),
    "capitals": lambda t: t.rename(columns={"N": "Params", "D": "trainTokens", "loss": "Final Loss"}).to_csv(index=False),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_the_same_table(tmp_path, runs, exponent, shape):
    path = written(tmp_path, SHAPES[shape](runs))
    found = fit.read_runs(path)
    for name in THREE:
        assert found[name].to_numpy() == pytest.approx(runs[name].to_numpy(), rel=1e-6)
    assert fit.fit(found).params["a"] == pytest.approx(exponent, abs=2e-4)


def test_parquet_and_excel(tmp_path, runs):
    runs.to_parquet(tmp_path / "r.pq")
    assert fit.read_runs(tmp_path / "r.pq")["loss"].tolist() == runs["loss"].tolist()
    pytest.importorskip("openpyxl")
    runs.to_excel(tmp_path / "r.xlsx", index=False)
    assert fit.read_runs(tmp_path / "r.xlsx")["N"].tolist() == runs["N"].tolist()


def test_excel_without_its_reader_names_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    code, _, err = call(capsys, written(tmp_path, b"PK\x03\x04", "r.xlsx"))
    assert (code, "pip install openpyxl" in err) == (2, True)


def test_standard_input_and_a_pipe(tmp_path, runs):
    command = [sys.executable, "-m", "scalinglaws", "fit", "--bootstrap", "0", "--json"]
    text = runs.to_csv(index=False).encode()
    found = subprocess.run([*command, "-"], input=text, capture_output=True)
    assert found.returncode == 0, found.stderr
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(text))
    writer.start()
    piped = subprocess.run([*command, str(tmp_path / "pipe")], capture_output=True)
    writer.join()
    assert json.loads(piped.stdout)["params"] == json.loads(found.stdout)["params"]


def test_the_reading_is_said(tmp_path, runs, capsys):
    table = runs.rename(columns={"N": "n_params", "D": "tokens", "loss": "val_loss", "C": "flops"})
    table.insert(0, "train_loss", 9.0)
    code, out, _ = call(capsys, written(tmp_path, table.to_csv(index=False, sep="\t")), "--bootstrap", 0)
    assert code == 0
    first = out.splitlines()[0]
    for part in (
        "separated by tabs",
        "N from column 'n_params'",
        "loss from column 'val_loss' (not train_loss)",
        "C from column 'flops'",
    ):
        assert part in first


def test_columns_override(tmp_path, runs, exponent, capsys):
    table = runs.drop(columns="C").set_axis(["x", "y", "z"], axis=1).assign(loss=7.0, N=1.0)
    path = written(tmp_path, table.to_csv(index=False))
    code, out, _ = call(capsys, path, "--columns", "N=x,D=y,loss=z", "--bootstrap", 0, "--json")
    assert code == 0
    assert json.loads(out)["params"]["a"] == pytest.approx(exponent, abs=1e-5)


ASKED = {
    "billions": (lambda t: t.assign(N=t["N"] / 1e9, D=t["D"] / 1e9), "--scale N=1e9,D=1e9", ["--scale", "N=1e9,D=1e9"]),
    "billions above one": (lambda t: t.assign(N=t["N"] / 1e7, D=t["D"] / 1e7), "--scale N=1e9,D=1e9", ["--scale", "N=1e7,D=1e7"]),
    "tokens in billions": (lambda t: t.assign(D=t["D"] / 1e9), "--scale D=1e9", ["--scale", "D=1e9"]),
    "PF-days": (lambda t: t.assign(C=t["C"] / 8.64e19), "--scale C=8.64e19", ["--scale", "C=8.64e19"]),
    "perplexity": (lambda t: t.assign(loss=np.exp(t["loss"])), "--loss-unit perplexity", ["--loss-unit", "perplexity"]),
    "diverged": (lambda t: t.assign(loss=t["loss"].where(t.index != 3)), "line 5: column loss is empty", ["--drop-diverged"]),
    "other names": (lambda t: t.rename(columns={"N": "width"}).drop(columns="C"), "--columns N=HEADER", ["--columns", "N=width"]),
    "exchanged": (lambda t: t.assign(N=t["N"] * 1000, D=t["D"] / 1000), "--keep-columns", ["--keep-columns"]),
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
def test_what_cannot_be_meant_is_asked_about_with_the_flag_that_settles_it(
    tmp_path, runs, exponent, capsys, case
):
    change, message, flags = ASKED[case]
    path = written(
        tmp_path,
        change(runs if case == "PF-days" else runs[THREE + ["C"] * (case == "other names")]).to_csv(
            index=False
        ),
    )
    code, out, err = call(capsys, path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    code, out, _ = call(capsys, path, *flags, "--bootstrap", 0, "--json")
    assert code == 0
    if case != "exchanged":
        assert json.loads(out)["params"]["a"] == pytest.approx(
            exponent, abs=0.02 if case == "diverged" else 1e-4
        )


@pytest.mark.parametrize(
    ("unit", "back"),
    [("bits", lambda v: v / np.log(2)), ("bits-per-byte", lambda v: v / np.log(2)), ("perplexity", np.exp)],
)
def test_loss_units(tmp_path, runs, unit, back):
    path = written(tmp_path, runs.assign(loss=back(runs["loss"])).to_csv(index=False))
    assert fit.read_runs(path, loss_unit=unit)["loss"].to_numpy() == pytest.approx(runs["loss"].to_numpy())


@pytest.mark.parametrize(("unit", "factor", "word"), [("nats", 8.0, "is --loss-unit right"), ("bits", 12.0, "is --loss-unit right"), ("perplexity", 1.0, "unusually low"), ("bits-per-byte", 5.0, "guessing bytes"), ("bits-per-byte", 0.3, "per byte")])  # fmt: skip
def test_units_that_cannot_be_are_warned_of(tmp_path, runs, capsys, unit, factor, word):
    path = written(tmp_path, runs.assign(loss=factor * runs["loss"]).to_csv(index=False))
    code, out, _ = call(capsys, path, "--loss-unit", unit, "--bootstrap", 0)
    assert code == 0
    assert word in "".join(line for line in out.splitlines() if line.startswith("warning"))
    assert out.index("warning") < out.index("L = E")


def test_diverged_runs_are_dropped_by_name(tmp_path, runs, capsys):
    table = runs.astype(object)
    table.loc[3, "loss"], table.loc[7, "loss"], table.loc[9, "loss"] = "nan", "inf", ""
    path = written(tmp_path, table.to_csv(index=False))
    code, out, _ = call(capsys, path, "--drop-diverged", "--bootstrap", 0)
    assert code == 0
    assert "dropped 3 rows without a finite loss: line 5, 9, 11" in out
    table.loc[3, "loss"] = "2.9 or so"
    code, _, err = call(capsys, written(tmp_path, table.to_csv(index=False)), "--drop-diverged")
    assert (code, "line 5: column loss is '2.9 or so', not a number" in err) == (2, True)


def test_places_are_right_after_rows_were_dropped(tmp_path, runs, capsys):
    table = runs.copy()
    table.loc[2, "loss"] = np.nan
    table.loc[10, "loss"] *= 1.5
    code, out, _ = call(
        capsys, written(tmp_path, table.to_csv(index=False)), "--drop-diverged", "--bootstrap", 0
    )
    assert (code, "warning: line 12 misses the law" in out) == (0, True)


def test_runs_that_did_not_finish_are_warned_of(tmp_path, runs, capsys):
    table = runs.assign(State=["crashed", "finished"] * (len(runs) // 2) + ["running"] * (len(runs) % 2))
    _, out, _ = call(capsys, written(tmp_path, table.to_csv(index=False)), "--bootstrap", 0)
    assert "runs are marked as not finished in column State" in out


@pytest.mark.parametrize(
    ("cell", "value"),
    [("300M", 3e8), ("1.2B", 1.2e9), ("1.2 bn", 1.2e9), ("1.4T", 1.4e12), ("10k", 1e4), ("26,832,816", 26832816.0), ("1_000_000", 1e6),
     ("26 832 816", 26832816.0), ("1e9", 1e9), ("2.5e3M", 2.5e9), ("12,34", np.nan), ("B", np.nan), ("1.2.3", np.nan), ("70B?", np.nan)],
)  # fmt: skip
def test_numbers_as_people_write_them(cell, value):
    assert to_numbers(pd.Series([cell]))[0] == pytest.approx(value, nan_ok=True)


def test_repeated_data(tmp_path, capsys):
    """Muennighoff's law is true here: --repeated effective finds the law of fresh tokens, keeping the rows does not."""
    from scalinglaws.laws.repeats import MUENNIGHOFF
    from scalinglaws.laws.repeats import worth as worth_of

    N, U = (v.ravel() for v in np.meshgrid(np.geomspace(1e8, 4e9, 6), np.geomspace(1e9, 1e11, 4)))
    D = U * np.random.default_rng(0).permutation(np.tile([1, 16, 64], 8))
    worth = U * worth_of(D / U, MUENNIGHOFF.R_D)
    path = tmp_path / "r.csv"
    pd.DataFrame({"N": N, "D": D, "loss": LAW.predict(N, worth), "unique_tokens": U}).to_csv(
        path, index=False
    )
    flags = (path, "--bootstrap", 0, "--json", "--keep-columns")
    report = json.loads(call(capsys, *flags)[1])
    assert any("16 of 24 runs repeat their data" in w for w in report["warnings"])
    assert abs(report["params"]["beta"] - LAW.beta) > 0.01
    for how, rows in (("effective", 24), ("drop", 8)):
        report = json.loads(call(capsys, *flags, "--repeated", how)[1])
        assert report["n"] == rows
        assert report["params"]["beta"] == pytest.approx(LAW.beta, abs=1e-4)
        assert not any("repeat" in w for w in report["warnings"])


def test_a_users_parquet_is_never_called_ours(tmp_path, runs, capsys):
    runs[THREE].to_parquet(tmp_path / "r.parquet")
    code, out, err = call(capsys, tmp_path / "r.parquet", "--bootstrap", 0)
    assert (code, err) == (0, "")
    runs.rename(columns={"loss": "q"}).to_parquet(tmp_path / "r.parquet")
    code, out, err = call(capsys, tmp_path / "r.parquet")
    assert (code, out) == (2, "")
    assert "delete it" not in err
    assert "git" not in err


def test_folders_and_gaps(tmp_path, capsys):
    assert "a folder; name the table in it" in call(capsys, tmp_path)[2]
    assert "no such file" in call(capsys, tmp_path / "none.csv")[2]


def test_separators_inside_strings_do_not_cut_lines(tmp_path, runs):
    rows = runs.assign(note="a\u2028b").to_dict("records")
    text = "\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
    assert len(fit.read_runs(written(tmp_path, text))) == len(runs)


def test_seeds_that_agree_are_no_repeated_rows(tmp_path, runs, capsys):
    twice = pd.concat([runs.assign(seed=0), runs.assign(seed=1)])
    code, out, _ = call(capsys, written(tmp_path, twice.to_csv(index=False)), "--bootstrap", 0)
    assert (code, "seeds of one run" in out) == (0, True)
    code, _, err = call(capsys, written(tmp_path, twice.drop(columns="seed").to_csv(index=False)))
    assert (code, "are the same run" in err) == (2, True)


def test_compressed_bytes_are_no_table(tmp_path, runs, capsys):
    code, _, err = call(capsys, written(tmp_path, gzip.compress(runs.to_csv(index=False).encode())))
    assert (code, err.count("\n")) == (2, 1)


def test_long_tables_are_refused_before_they_are_parsed(tmp_path, monkeypatch):
    rows = io.StringIO()
    rows.write("N,D,loss\n")
    rows.writelines("1e9,2e10,3\n" for _ in range(2000))
    path = written(tmp_path, rows.getvalue())
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: pytest.fail("parsed"))
    with pytest.raises(fit.TableError, match="2,000 rows, the limit is 1,000"):
        fit.read_runs(path, max_rows=1000)
    monkeypatch.setattr(json, "loads", lambda *a, **k: pytest.fail("parsed"))
    with pytest.raises(fit.TableError, match="the limit is 1,000"):
        fit.read_runs(written(tmp_path, '{"N":1}\n' * 6000), max_rows=1000)
