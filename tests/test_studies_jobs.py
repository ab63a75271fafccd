"""Processes of a study: none outlives the one that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalinglaws import __main__ as cli
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
    return ArtefactStore("cpu", tmp_path)


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


def test_all_studies_are_listed_and_priced_by_one_command(capsys):
    assert cli.main(["study"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"isoflop", "kaplan", "known_entropy", "schedules", "staircase", "testtime", "resampling"} == set(
        listed
    )
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
