"""Training speed on a GPU as ratios: stacked replicas against a plain loop, a large model against the matrix unit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scalinglaws.lm.examples import Size
from scalinglaws.resampling.writing import VOCABULARY

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import test_decode_speed as decoding

SCRIPT = Path(__file__).parents[1] / "bench" / "lm_speed.py"
SECONDS, REPLICAS = "3", "16"


def measured(*arguments):
    out = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300
    )
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


@pytest.mark.parametrize("shape", ["2x32x1", "4x64x2", "4x128x4"])
def test_replicas_against_a_plain_loop(shape):
    """Printed, not asserted: tokens a second summed over the replicas, and memory a replica."""
    plain = measured("plain", shape, SECONDS, "cuda")
    engine = measured("engine", shape, SECONDS, "cuda", REPLICAS)
    ratio = engine["tokens_per_second"] / plain["tokens_per_second"]
    memory = engine["peak_mib"] / int(REPLICAS) / plain["peak_mib"]
    print(f"\n{shape}: {REPLICAS} replicas {ratio:.0f}× the plain loop; memory a replica {memory:.2f}×")
    assert ratio > 0 < memory


def test_a_large_model_against_the_matrix_unit():
    """Printed, not asserted: the share of the measured bf16 product rate that 85M parameters reach."""
    peak = measured("matmul")["flops_per_second"]
    layers, width = 12, 768
    rate = measured("engine", f"{layers}x{width}x12", SECONDS, "cuda", "1", "256")["tokens_per_second"]
    share = 6 * (12 * layers * width**2 + 256 * width) * rate / peak
    print(f"\n85M parameters: {100 * share:.0f} % of {peak / 1e12:.0f} TFLOP/s")
    assert 0 < share < 1


@pytest.mark.parametrize(("shape", "sequences"), [("4x144x4", 512), ("4x144x4", 4096), ("8x384x6", 4096)])
def test_decoding_against_generate(shape, sequences):
    """Printed, not asserted: whole solutions a captured token at a time, in both precisions."""
    decoding.compare(shape, sequences, "cuda")


def test_training_on_examples_against_the_matrix_unit():
    """Printed, not asserted: 4.7M parameters on batches of 512 programs."""
    peak = measured("matmul")["flops_per_second"]
    found = measured("examples", "6x256x4", SECONDS, "cuda", "1", "512")
    rate, size = found["tokens_per_second"], Size(6, 256, 4)
    share = 3 * size.flops_per_token(VOCABULARY) * rate / peak
    print(
        f"\n4.7M parameters on examples: {rate / 1e6:.1f}M token slots/s, {100 * share:.0f} % of {peak / 1e12:.0f} TFLOP/s"
    )
    assert 0 < share < 1
