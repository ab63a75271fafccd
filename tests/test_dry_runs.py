"""A dry run writes nothing, stays small, and prices from a measured rate; what cannot fit is refused before it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scalinglaws import __main__ as cli
from scalinglaws.lm import cost
from scalinglaws.lm.config import Run
from scalinglaws.paths import digest, root

TINY = """
question: why?
defaults: {corpus: known_entropy, context: 8, batch: 2, evaluation_tokens: 80}
profiles:
  cpu:
    - {shape: 1x4x1, tokens: 1e3, learning_rate: 0.01}
"""
HUGE = """
question: too large?
profiles:
  cpu:
    - {corpus: known_entropy, shape: 48x12288x96, tokens: 1e11, batch: 512, learning_rate: 6e-4, context: 1024}
"""
BIG = Run(
    corpus="known_entropy", n_layer=12, d_model=768, n_head=12, tokens=10**9, learning_rate=1e-3, batch=512, context=1024
)  # fmt: skip

# The kernel's high-water mark of this very program; getrusage's holds the parent's from before it was replaced.
PEAK = """
def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])
"""
DRY = """
import sys
from scalinglaws.__main__ import main
assert main([*sys.argv[1:], "--dry-run"]) == 0
print(peak())
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def content(folder):
    """Digest and time of every file below a folder."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p): (digest(p.read_bytes()), p.stat().st_mtime_ns) for p in files}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A root with the plans and stored tables of the studies, where a written file would be seen."""
    for name in ("data/testtime", "data/resampling", "data/runs", "data/studies"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "registry.toml").write_text((root() / "data" / "registry.toml").read_text())
    for room in ("testtime", "resampling"):
        for name in (f"studies/{room}.yaml", f"{room}/provenance-cpu.parquet"):
            (tmp_path / "data" / name).write_bytes((root() / "data" / name).read_bytes())
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("room", ["testtime", "resampling"])
@pytest.mark.parametrize("profile", ["smoke", "cpu"])
def test_a_dry_study_prints_its_price_and_writes_nothing(house, capsys, room, profile):
    before = content(house)
    assert cli.main(["study", room, "--profile", profile, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "jobs" in out
    assert ("never measured" in out) == (profile == "smoke")
    assert ("hours of one core" in out) == (profile == "cpu")
    assert content(house) == before


def test_a_dry_sweep_writes_nothing_even_where_all_is_stored(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(TINY)
    command = ["sweep", str(tmp_path / "mine.yaml"), "--store", str(tmp_path / "store"), "--workers", "1"]
    before = content(tmp_path)
    assert cli.main([*command, "--dry-run"]) == 0
    assert content(tmp_path) == before
    assert cli.main(command) == 0
    before = content(tmp_path)
    assert cli.main([*command, "--dry-run"]) == 0
    assert "0 to train" in capsys.readouterr().out
    assert content(tmp_path) == before


@linux
def test_a_model_beyond_the_machine_is_priced_small_and_refused(tmp_path, capsys):
    """Three terabytes of training: a price in less than two gigabytes, and one line instead of a killed process."""
    (tmp_path / "huge.yaml").write_text(HUGE)
    command = ["sweep", str(tmp_path / "huge.yaml"), "--store", str(tmp_path / "store")]
    found = subprocess.run(
        [sys.executable, "-c", PEAK + DRY, *command], capture_output=True, text=True, check=True
    )
    assert "hours of one worker" in found.stdout
    assert float(found.stdout.splitlines()[-1]) < 2.5e9
    assert cli.main([*command, "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "GiB in each of 1 workers, and this machine has" in error


def test_too_many_workers_are_told_how_many_fit(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.yaml").write_text(TINY.replace("rate: 0.01", "rate: 0.01, seed: [0, 1, 2, 3]"))
    monkeypatch.setattr(cost, "memory", lambda run: 3 * 2**30)
    monkeypatch.setattr("scalinglaws.provenance.hardware", lambda: {"memory_gib": 10, "processor": ""})
    monkeypatch.setattr(cost, "stand_in", lambda run: run)
    assert (
        cli.main(["sweep", str(tmp_path / "mine.yaml"), "--store", str(tmp_path / "s"), "--workers", "4"])
        == 2
    )
    assert capsys.readouterr().err.strip().endswith("this machine has 10: --workers 3")


def test_a_stand_in_is_of_the_same_kind_and_fits():
    small = cost.stand_in(BIG)
    assert cost.memory(small) <= cost.PRICED < cost.memory(BIG)
    assert (small.batch, small.context, small.n_head) == (small.batch, BIG.context, BIG.n_head)
    assert cost.stand_in(small) == small
    wide = cost.stand_in(BIG.with_(d_model=12288, n_head=96))
    assert cost.memory(wide) <= cost.PRICED
    assert wide.d_model % wide.n_head == 0


def test_a_stand_in_s_rate_is_scaled_by_flops(monkeypatch):
    """A machine of a fixed rate: the price of a run that is never made is its FLOPs over that rate."""
    monkeypatch.setattr(cost, "_measured", lambda run, device, seconds: run.flops(32, 1) / 1e9)
    assert cost.seconds_per_token(BIG) == pytest.approx(BIG.flops(32, 1) / 1e9)


MEASURE = """
import sys
from scalinglaws.lm.config import Run
from scalinglaws.lm import cost
from scalinglaws.lm.train import Trainer
import torch
torch.set_num_threads(1)
run = Run(corpus="known_entropy", tokens=10**9, learning_rate=.001, evaluation_tokens=512, **eval(sys.argv[1]))
before, trainer = peak(), Trainer([run])
trainer._train_step(); trainer._train_step()
print((peak() - before) / cost.memory(run))
"""


@linux
@pytest.mark.parametrize(
    "shape",
    [
        {"n_layer": 4, "d_model": 256, "n_head": 4, "context": 512, "batch": 8},
        {"n_layer": 2, "d_model": 256, "n_head": 16, "context": 512, "batch": 4},
        {"n_layer": 4, "d_model": 512, "n_head": 2, "context": 64, "batch": 16},
    ],
    ids=["even", "many heads", "wide"],
)
def test_memory_is_what_training_takes(shape):
    """Within a factor of two of the process's own peak: enough to tell what fits a machine from what does not."""
    found = subprocess.run(
        [sys.executable, "-c", PEAK + MEASURE, repr(shape)], capture_output=True, text=True, check=True
    )
    assert 0.5 < float(found.stdout) < 1.7


def test_runs_that_repeat_their_data_are_named(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(TINY.replace("tokens: 1e3", "tokens: 1e4, unique_tokens: 100"))
    assert cli.main(["sweep", str(tmp_path / "mine.yaml"), "--store", str(tmp_path / "s"), "--dry-run"]) == 0
    assert "1 runs read their text more than once, one of them 100.0 times" in capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(TINY)
    assert cli.main(["sweep", str(tmp_path / "mine.yaml"), "--store", str(tmp_path / "s"), "--dry-run"]) == 0
    assert "repeated" not in capsys.readouterr().out
