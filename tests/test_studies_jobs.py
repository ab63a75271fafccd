"""Processes of a study: none outlives the one that started it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from scalinglaws import __main__ as cli
from scalinglaws.paths import root
from scalinglaws.store import StoreError
from scalinglaws.studies import jobs
from scalinglaws.studies.artefacts import ArtefactStore

PROGRAM = """\
import time
from scalinglaws.studies import jobs
if __name__ == "__main__":
    jobs.in_processes(time.sleep, (300,), 2)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=60.0) -> bool:
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(met)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(PROGRAM)
    parent = subprocess.Popen([sys.executable, script], env=os.environ | {"OMP_NUM_THREADS": "1"})
    children = lambda: [
        int(p) for p in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    ]
    try:
        assert until(lambda: len(children()) >= 3)  # two workers and Python's resource tracker
        started = children()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert until(lambda: not any(map(alive, started)))


@pytest.fixture
def store(tmp_path):
    return ArtefactStore("cpu", tmp_path, "toy", ())


def test_a_job_that_fails_is_tried_once_more_after_the_others(store):
    done = []

    def flaky():
        done.append("flaky")
        if done.count("flaky") == 1:
            raise ValueError("bad luck")

    todo = [jobs.Job("flaky", flaky), jobs.Job("other", lambda: done.append("other"))]
    said = []
    jobs.work_off(todo, store, said.append)
    assert done == ["flaky", "other", "flaky"]
    assert said == ["flaky failed and is tried once more: ValueError: bad luck"]


def test_a_job_that_fails_twice_is_named_and_the_others_are_made(store):
    done = []
    todo = [
        jobs.Job("broken", lambda: 1 / 0),
        *(jobs.Job(f"{k}", lambda k=k: done.append(k)) for k in range(3)),
    ]
    with pytest.raises(RuntimeError, match="broken failed twice: ZeroDivisionError"):
        jobs.work_off(todo, store, lambda text: None)
    assert done == [0, 1, 2]


def test_every_share_makes_everything_and_begins_at_its_own_place(store):
    for i in range(3):
        order = []
        todo = [jobs.Job(f"{k}", lambda k=k, order=order: order.append(k)) for k in range(7)]
        jobs.work_off(todo, store, share=(i, 3))
        start = i * 7 // 3
        assert order == [*range(start, 7), *range(start)]


def test_nothing_is_tried_again_where_nothing_can_be_stored(store):
    tried = []

    def full():
        tried.append(1)
        raise StoreError("cannot write here")

    with pytest.raises(StoreError, match="cannot write"):
        jobs.work_off([jobs.Job("full", full)], store)
    assert tried == [1]


def written_in_contributing(folder):
    """The study that CONTRIBUTING.md shows, as files."""
    text = (root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for language, name in (("yaml", "darts.yaml"), ("python", "darts.py")):
        (block,) = re.findall(rf"```{language}\n# {name}\n(.*?)```", text, re.S)
        (folder / name).write_text(block)


def test_the_study_shown_to_contributors_is_made_priced_and_gone_on_with(tmp_path, monkeypatch, capsys):
    """One YAML file and one function; a change of the function makes everything anew."""
    written_in_contributing(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.toml").touch()
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ["study", str(tmp_path / "darts.yaml"), "--profile", "smoke"]
    assert cli.main([*command, "--dry-run"]) == 0
    assert "smoke: 2 jobs, never measured here; 0 artefacts" in capsys.readouterr().out
    assert not (tmp_path / "_build").exists()
    assert cli.main([*command, "--workers", "1"]) == 0
    table = pd.read_parquet(tmp_path / "data" / "darts" / "estimates-smoke.parquet")
    assert table["n"].tolist() == [100, 1000] or table["n"].tolist() == [1000, 100]
    assert table["pi"].between(2.5, 3.8).all()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "_build").rglob("*.parquet")}
    assert len(made) == 2
    assert cli.main([*command, "--workers", "1"]) == 0
    assert {p: p.stat().st_mtime_ns for p in made} == made
    (tmp_path / "darts.py").write_text((tmp_path / "darts.py").read_text() + "# another line")
    assert cli.main([*command, "--workers", "1"]) == 0
    assert len([*(tmp_path / "_build").rglob("*.parquet")]) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("made_by: darts ", "made_by: nosuch "), "darts.yaml: made_by: nosuch: No module named 'nosuch'"),
        (("tables: [estimates]", "tables: estimates"), "darts.yaml: tables must be a list of names"),
        (("tables:", "table:"), "darts.yaml: unknown key 'table'; did you mean 'tables'?"),
        (("smoke:", "smok:"), "darts.yaml: no profile 'smoke'; it has: smok, cpu"),
        (
            ("made_by: darts ", "made_by: math "),
            "darts.yaml: made_by: math has no function jobs(sizes, store)",
        ),
        (("made_by: darts ", "made_by: 3 "), "darts.yaml: made_by must name the module"),
        (("profiles:", "profiles: [}"), "darts.yaml, line"),
    ],
)
def test_a_study_file_that_says_too_little_is_one_line(tmp_path, capsys, change, message):
    written_in_contributing(tmp_path)
    path = tmp_path / "darts.yaml"
    path.write_text(path.read_text().replace(*change))
    assert cli.main(["study", str(path), "--profile", "smoke"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_all_studies_are_listed_and_priced_by_one_command(capsys):
    assert cli.main(["study"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    written = {path.stem for path in (root() / "data" / "studies").glob("*.yaml")}
    assert {"kaplan", "isoflop", "repeats", "transfer", "testtime", "smollm2"} <= written
    assert written == set(listed)
    for name in ("testtime", "resampling"):
        assert cli.main(["study", name, "--dry-run"]) == 0
        assert "hours of one core" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "no study 'nosuch'"),
        (["testtime", "--store", "x"], "--store goes with studies of runs"),
        (["testtime", "--workers", "0"], "--workers must be at least 1"),
        (["resampling", "--tasks", "0"], "--tasks must be at least 1"),
    ],
)
def test_bad_input_to_a_study_is_one_line(capsys, arguments, message):
    assert cli.main(["study", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
