"""Sweeps under fire: killed, interrupted, out of disk, damaged files, two at once.

The standard is always the same: afterwards the table equals that of an undisturbed sweep, number
for number, with every run in it once.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from scalinglaws.lm import study as studies
from scalinglaws.lm.store import PROVENANCE, Store

STUDY = """
question: does it survive?
defaults: {corpus: known_entropy, context: 16, batch: 8, evaluation_tokens: 3200, precision: fp32, learning_rate: 0.01}
profiles:
  cpu:
    - {shape: [1x8x1, 1x12x1], tokens: 80000, seed: [0, 1, 2], evaluate_at: [20000, 60000]}
    - {shape: 1x8x1, tokens: 60000, schedule: wsd, branches: [20000, 40000]}
"""
NOT_RESULTS = ["seconds", *PROVENANCE]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "endure.yaml"
    path.write_text(STUDY)
    return path


def command(study, store, workers=2):
    return [
        sys.executable, "-m", "scalinglaws", "sweep", str(study), "--store", str(store), "--workers", str(workers),
    ]  # fmt: skip


def environment(checkpoint="0.3"):
    # Plain environment: coverage's hooks would slow what is killed anyway.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    return kept | {"SCALINGLAWS_CHECKPOINT_SECONDS": checkpoint}


def finish(study, store):
    done = subprocess.run(
        command(study, store), capture_output=True, text=True, env=environment(), timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def table(store):
    return Store("endure", "cpu", store).table().drop(columns=NOT_RESULTS)


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed")
    finish(study, store)
    expected = table(store)
    assert set(expected["hash"]) == {r.hash for r in studies.load("endure", "cpu", study).runs}
    assert len(expected) == 7
    assert expected["loss"].between(2.1, 3.4).all()
    return expected


def activity(store):
    """Time of the last change in the store's folder; 0 before there is one."""
    times = [0.0]
    for path in store.rglob("*"):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:  # a temporary file, renamed meanwhile
            continue
    return max(times)


@pytest.mark.long
def test_kill_nine_at_twenty_random_moments(study, undisturbed, tmp_path):
    """A quarter of the moments fall into start-up, the others within two seconds of training."""
    rng = random.Random(20)
    counts = []
    for attempt in range(20):
        started = time.time()
        process = subprocess.Popen(
            command(study, tmp_path), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        if attempt % 4:
            while process.poll() is None and activity(tmp_path) <= started:
                time.sleep(0.05)
        time.sleep(rng.uniform(0.0, 2.0))
        if process.poll() is None:
            if attempt % 2:  # the whole group, or the parent alone, whose workers must notice
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        counts.append(len(Store("endure", "cpu", tmp_path).done()))
    assert counts == sorted(counts)  # nothing finished was lost
    assert len(set(counts)) > 2  # and the moments were spread over the sweep
    finish(study, tmp_path)
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.long
def test_a_killed_worker_is_replaced(study, undisturbed, tmp_path):
    process = subprocess.Popen(
        command(study, tmp_path), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.rglob("*.ckpt")):
        time.sleep(0.02)
    found = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True
    )
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed)


@pytest.mark.long
@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_an_interrupt_keeps_what_is_in_flight(study, undisturbed, tmp_path, number, times):
    """Ctrl-C, and the end of a batch job, which often comes twice and to every process."""
    process = subprocess.Popen(
        command(study, tmp_path), env=environment("1000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.rglob("*.lock")):
        time.sleep(0.02)
    for _ in range(times):
        os.killpg(process.pid, number)
        time.sleep(0.05)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "the same command goes on where this left off" in error
    assert "Traceback" not in error
    assert "in endure-cpu.parquet" in out or "stored: 0" in out
    assert list(tmp_path.rglob("*.ckpt"))  # the interval is 1000 s: only the interruption wrote it
    finish(study, tmp_path)
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed)


@pytest.mark.long
def test_truncated_checkpoints_and_damaged_runs(study, undisturbed, tmp_path):
    process = subprocess.Popen(
        command(study, tmp_path), env=environment("0.05"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if list(tmp_path.rglob("*.ckpt")) and len(list(tmp_path.rglob("*-cpu/*.parquet"))) >= 2:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    damaged = 0
    for path in tmp_path.rglob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:1000])
        damaged += 1
    runs = sorted(tmp_path.rglob("*-cpu/*.parquet"))
    runs[0].write_bytes(runs[0].read_bytes()[:-100])
    assert damaged > 0
    finish(study, tmp_path)
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed)


@pytest.mark.long
def test_two_sweeps_at_once_share_the_work(study, undisturbed, tmp_path):
    both = [
        subprocess.Popen(
            command(study, tmp_path, workers=1), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    trained = 0
    for process in both:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        trained += int(re.search(r"trained now: (\d+)", out)[1])
    assert trained == 7  # together, each run once
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("checkpoint", ["1000", "0.05"], ids=["while storing", "while checkpointing"])
def test_a_full_disk_stops_in_one_line_and_loses_nothing(study, undisturbed, tmp_path, checkpoint):
    """A file system of its own, so small that a few runs fill it; then the same runs with room."""
    small = tmp_path / "small"
    small.mkdir()
    (tmp_path / "kept").mkdir()
    script = (
        f"mount -t tmpfs -o size=96k tmpfs {small} || exit 77; "
        + " ".join(command(study, small, workers=1))
        + f"; code=$?; cp -r {small}/. {tmp_path / 'kept'}; exit $code"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        capture_output=True,
        text=True,
        env=environment(checkpoint),
        timeout=300,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no file system of its own could be mounted here (unshare -rm)")
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert "free some space" in errors[0]
    assert "Traceback" not in done.stderr
    kept = Store("endure", "cpu", tmp_path / "kept")
    stored = kept.done()
    assert 0 < len(stored) < 7
    before = {p: p.read_bytes() for p in kept.loose.glob("*.parquet")}
    finish(study, tmp_path / "kept")
    assert all(
        p.read_bytes() == content for p, content in before.items()
    )  # finished runs were not trained again
    pd.testing.assert_frame_equal(table(tmp_path / "kept"), undisturbed)


@pytest.mark.long
def test_a_run_that_fails_is_tried_twice_and_reported(study, undisturbed, tmp_path):
    """A checkpoint path that is a folder makes one run fail; the others finish; mended, it is trained."""
    first = studies.load("endure", "cpu", study).runs[0]
    obstacle = tmp_path / "endure-cpu" / f"{first.hash}-1.ckpt"
    obstacle.mkdir(parents=True)
    (obstacle / "x").touch()
    done = subprocess.run(
        command(study, tmp_path), capture_output=True, text=True, env=environment("0.05"), timeout=300
    )
    assert done.returncode == 1
    failures = [line for line in done.stderr.splitlines() if line.startswith("failed twice")]
    assert len(failures) == 1
    assert first.hash in failures[0]
    assert set(undisturbed["hash"]) - Store("endure", "cpu", tmp_path).done() == {first.hash}
    shutil.rmtree(obstacle)
    finish(study, tmp_path)
    pd.testing.assert_frame_equal(table(tmp_path), undisturbed)
