"""The judge's speed as a ratio: trivial programs in the sandbox against a plain interpreter started for each."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from scalinglaws.resampling.sandbox import Limits, Sandbox

CODE, TESTS = "def f(x):\n    return x + 1", ["[1]", "[2]", "[3]"]
MANY = 2000


@pytest.mark.usefixtures("contained_here")
def test_programs_a_second():
    with Sandbox() as box:
        assert box.run(CODE, "f", TESTS).values == ("2", "3", "4")
        started, count = time.perf_counter(), 200
        for i in range(count):
            assert box.run(f"{CODE} + {i}", "f", TESTS).status == "finished"
        judged = count / (time.perf_counter() - started)
        started = time.perf_counter()
        assert box.run(CODE, "f", TESTS[:1] * MANY, Limits(wall=600)).status == "finished"
        question = (time.perf_counter() - started) / MANY
    started, count = time.perf_counter(), 20
    for i in range(count):
        text = f"{CODE} + {i}\nprint(f(1), f(2), f(3))"
        assert subprocess.run([sys.executable, "-I", "-c", text], capture_output=True).returncode == 0
    plain = count / (time.perf_counter() - started)
    print(
        f"\njudge: {judged:,.0f} trivial programs a second by one worker, {judged / plain:.1f} × an uncontained "
        f"interpreter each; {question * 1e6:.0f} µs a test"
    )
