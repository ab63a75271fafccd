"""Training speed as a ratio: the engine over two processes against a plain loop with PyTorch's threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalinglaws.lm.worker import ENVIRONMENT

SCRIPT = Path(__file__).with_name("lm_speed.py")
SECONDS = 4


def start(which, shape):
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = {k: v for k, v in os.environ.items() if k not in threads}
    if which == "engine":
        env |= ENVIRONMENT
    command = [sys.executable, str(SCRIPT), which, shape, str(SECONDS)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


@pytest.mark.parametrize("shape", ["2x32x1", "4x64x2", "4x128x4"])
def test_engine_against_a_plain_loop(shape):
    """Printed, not asserted: the ratio of tokens a second, and of peak memory a model."""
    plain = result(start("plain", shape))
    both = [result(p) for p in [start("engine", shape) for _ in range(2)]]
    again = result(start("plain", shape))
    slow = (plain["tokens_per_second"] + again["tokens_per_second"]) / 2
    fast = sum(r["tokens_per_second"] for r in both)
    memory = max(r["peak_mib"] for r in both) / plain["peak_mib"]
    print(
        f"\ntraining {shape}: plain loop {slow / 1e3:.1f}k tokens/s, engine on two processes {fast / 1e3:.1f}k "
        f"= {fast / slow:.2f}×; peak memory a model {memory:.2f}×"
    )
    assert fast > 0 < slow
