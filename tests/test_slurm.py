"""Sweeps as Slurm job arrays, on a real one-node Slurm started for the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from scalinglaws.lm.store import PROVENANCE, Store

pytestmark = pytest.mark.long

STUDY = """
question: does a cluster give the same?
defaults: {corpus: known_entropy, context: 16, batch: 8, evaluation_tokens: 3200, precision: fp32}
profiles:
  cpu:
    - {shape: [1x8x1, 1x12x1], tokens: 20000, seed: [0, 1, 2], learning_rate: 0.01}
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """SLURM_CONF of a running node."""
    missing = [p for p in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(p)]
    if missing or os.geteuid() != 0:
        reason = (
            f"Slurm is not here ({', '.join(missing) or 'not root'}); Debian: apt-get install slurm-wlm munge"
        )
        if os.environ.get("SCALINGLAWS_REQUIRE_SLURM"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path("/tmp") / f"slurm-{os.getpid()}"  # munge refuses sockets below folders others may write
    script = Path(__file__).with_name("slurm.sh")
    started = subprocess.run([script, folder], capture_output=True, text=True, timeout=120)
    if started.returncode:
        pytest.fail(f"Slurm did not start: {started.stderr}")
    yield started.stdout.strip()
    subprocess.run([script, folder, "stop"], check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "cluster.yaml"
    path.write_text(STUDY)
    return path


def command(study, store, *more):
    return [sys.executable, "-m", "scalinglaws", "sweep", str(study), "--store", str(store), *more]


def environment(conf):
    return {k: v for k, v in os.environ.items() if not k.startswith("COV")} | {"SLURM_CONF": conf}


def table(store):
    return Store("cluster", "cpu", store).table().drop(columns=["seconds", *PROVENANCE])


def test_an_array_gives_the_same_table_as_a_local_sweep(slurm, study, tmp_path):
    local = subprocess.run(command(study, tmp_path / "local"), capture_output=True, text=True, timeout=300)
    assert local.returncode == 0, local.stderr
    done = subprocess.run(
        command(study, tmp_path / "array", "--on", "slurm", "--tasks", "3", "--minutes", "5"),
        capture_output=True, text=True, env=environment(slurm), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with 3 tasks" in done.stdout
    assert "stored: 6 runs" in done.stdout
    pd.testing.assert_frame_equal(table(tmp_path / "array"), table(tmp_path / "local"))
    again = subprocess.run(
        command(study, tmp_path / "array", "--on", "slurm"),
        capture_output=True,
        text=True,
        env=environment(slurm),
        timeout=60,
    )
    assert "0 to train" in again.stdout  # nothing is submitted twice


def test_a_run_that_fails_on_a_node_is_reported(slurm, study, tmp_path):
    store = Store("cluster", "cpu", tmp_path)
    from scalinglaws.lm import study as studies

    first = studies.load("cluster", "cpu", study).runs[0]
    obstacle = store.loose / f"{first.hash}-1.ckpt"
    obstacle.mkdir(parents=True)
    done = subprocess.run(
        command(study, tmp_path, "--on", "slurm", "--tasks", "2", "--minutes", "5"),
        capture_output=True, text=True, env=environment(slurm), timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"failed twice: {first.hash}" in done.stderr
    assert len(store.done()) == 5


def test_ctrl_c_leaves_the_jobs_running(slurm, study, tmp_path):
    process = subprocess.Popen(
        command(study, tmp_path, "--on", "slurm", "--tasks", "2", "--minutes", "5"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(slurm),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )  # fmt: skip
    for line in process.stdout:
        if "submitted job array" in line:
            break
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(Store("cluster", "cpu", tmp_path).done()) < 6:
        time.sleep(0.5)
    assert len(Store("cluster", "cpu", tmp_path).done()) == 6


def test_a_study_of_artefacts_is_made_by_an_array_as_it_is_locally(slurm, tmp_path):
    """The tiny resampling study by three tasks: the same tables, models published, nothing left to make."""
    from scalinglaws.store import read_table
    from test_kills import STUDIES, packed_tables, study_house

    room, plan, _ = STUDIES["resample"]
    command = [sys.executable, "-m", "scalinglaws", "study", room, "--profile", "smoke"]
    tables = {}
    for where in ("local", "slurm"):
        base = study_house(tmp_path / where, room, plan)
        done = subprocess.run(
            [*command, "--on", where, "--tasks", "3", "--minutes", "5"], capture_output=True, text=True, cwd=base,
            env=environment(slurm) | {"SCALINGLAWS_ROOT": str(base), "OMP_NUM_THREADS": "1"}, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("with 3 tasks" in done.stdout) == (where == "slurm")
        tables[where] = packed_tables(base, room)
        assert (base / "data" / room / "models-smoke.safetensors").is_file()
        assert len(read_table(base / "data" / room / "provenance-smoke.parquet")) > 8
    assert tables["local"].keys() == tables["slurm"].keys()
    for name, table in tables["local"].items():
        pd.testing.assert_frame_equal(tables["slurm"][name], table)


def test_every_study_is_made_at_smoke_size(slurm, tmp_path):
    """Whatever stands in data/studies: submitted, made by two tasks, packed.

    One of a single job is no array. Without its package or questions the real model makes nothing; its bare samples
    have no toy, and programs of a toy may be none (`tests/test_resampling_codemodels.py` makes those).
    """
    from scalinglaws.datasets.registry import present
    from scalinglaws.paths import root
    from scalinglaws.real.evidence import possible
    from scalinglaws.studies import study as studies

    (tmp_path / "data").mkdir()
    shutil.copytree(root() / "data" / "studies", tmp_path / "data" / "studies")
    for name in ("registry.toml", "corpora.toml", "gadre_files.csv", "olmoladder_files.csv"):
        shutil.copy(root() / "data" / name, tmp_path / "data")
    env = environment(slurm) | {"SCALINGLAWS_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1"}
    real = ("smollm2", "smollm2_training", "smollm2_verifiers", "smollm2_thinking")
    names = [name for name in studies.names() if not name.startswith("smollm2")]
    if "SCALINGLAWS_REQUIRE_DATA" not in os.environ and not (present("gadre") and present("monkeys")):
        names.remove("foretold")  # forecasts of other people's models need their tables
    assert {"kaplan", "repeats", "bits", "quantised", "transfer", "testtime", "resampling"} <= set(names)
    required = {"SCALINGLAWS_REQUIRE_MODEL", "SCALINGLAWS_REQUIRE_DATA"} <= set(os.environ)
    if required or possible("smoke", "smollm2") == "smoke":
        names += real
    for name in names:
        command = [sys.executable, "-m", "scalinglaws", "study", name, "--profile", "smoke", "--on", "slurm"]
        done = subprocess.run(
            [*command, "--tasks", "2", "--minutes", "10"], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=400
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "submitted job array" in done.stdout
        of_runs = studies.of_runs(studies.read(name)[1])
        kinds = () if of_runs else studies.load(name, "smoke").tables
        for table in (
            [f"runs/{name}-smoke.parquet"] if of_runs else [f"{name}/{k}-smoke.parquet" for k in kinds]
        ):
            assert len(pd.read_parquet(tmp_path / "data" / table)) > 1, table


def test_options_of_sbatch_are_handed_on(slurm, study, tmp_path):
    """An account that does not exist is Slurm's to refuse, in one line; a partition that does not exist as well."""
    done = subprocess.run(
        command(study, tmp_path, "--on", "slurm", "--partition", "nowhere"),
        capture_output=True, text=True, env=environment(slurm), timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Slurm took no job" in done.stderr
    assert "nowhere" in done.stderr or "partition" in done.stderr
    assert "Traceback" not in done.stderr
