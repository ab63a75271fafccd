"""Speed of a real model as ratios in one run: our sampler against `generate` of transformers, and against the floor."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalinglaws.testtime import embedded

pytest.importorskip("transformers", reason="transformers is not installed")
PROGRAM = Path(__file__).with_name("open_speed.py")


def measured(*arguments):
    env = os.environ | {"TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.parametrize("sequences", [1, 16, 64])
def test_tokens_a_second_against_generate(sequences):
    if importlib.util.find_spec(embedded.PACKAGE) is None:
        if os.environ.get("SCALINGLAWS_REQUIRE_MODEL"):
            pytest.fail(f"no packaged model: {embedded.INSTALL}")
        pytest.skip(f"no packaged model: {embedded.INSTALL}")
    parts = []
    for dtype in ("float32", "bfloat16"):
        run = {which: measured(which, embedded.NAME, sequences, dtype) for which in ("transformers", "own", "floor")}
        theirs, ours, least = (run[which]["tokens_per_second"] for which in ("transformers", "own", "floor"))
        assert min(theirs, ours, least) > 0
        parts.append(
            f"{dtype} {ours:.0f} tokens/s = {ours / theirs:.2f}× generate, {100 * ours / least:.0f} % of the floor, "
            f"peak {run['own']['peak_mib'] / 1024:.2f} GiB"
        )
    print(f"\nSmolLM2-135M, {sequences} sequences: {'; '.join(parts)}")
