"""Decoding speed as ratios in one run: whole solutions against Hugging Face `generate`, and against the floor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed")
sys.path.insert(0, str(Path(__file__).parent))
import decode_speed as speed


def measured(*arguments):
    env = os.environ | {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, str(Path(speed.__file__)), *arguments]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


def compare(shape, sequences, device="cpu"):
    """One line: tokens a second of both, their ratio, the share of the floor, the ratio of peak memory."""
    with tempfile.NamedTemporaryFile(suffix=".pt") as weights:
        torch.save(speed.trained(speed.Size(*map(int, shape.split("x"))), device), weights.name)
        run = lambda which, kind: measured(which, shape, str(sequences), device, kind, weights.name)
        theirs = run("generate", "fp32")
        ours = {kind: run("ours", kind) for kind in speed.DTYPES}
        floors = {kind: run("floor", kind)["tokens_per_second"] for kind in speed.DTYPES}
        again = run("generate", "fp32")
    plain = max(theirs["tokens_per_second"], again["tokens_per_second"])
    parts = [
        f"{kind} {r['tokens_per_second'] / 1e3:.1f}k = {r['tokens_per_second'] / plain:.2f}×, "
        f"{100 * r['tokens_per_second'] / floors[kind]:.0f} % of the floor, memory {r['peak_mib'] / theirs['peak_mib']:.2f}×"
        for kind, r in ours.items()
    ]
    N = speed.Size(*map(int, shape.split("x"))).N / 1e6
    print(
        f"\ndecoding {N:.1f}M parameters, {sequences} sequences, {device}: generate {plain / 1e3:.1f}k tokens/s; {'; '.join(parts)}"
    )
    assert min(r["tokens_per_second"] for r in ours.values()) > 0 < plain


def test_the_two_write_the_same_greedily():
    size = speed.Size(4, 144, 4)
    model, flat, problems = size.transformer(len(speed.WORLD.tokens)), speed.trained(size), speed.problems()
    ours = speed.Proposer(speed.WORLD, model, flat).solve(problems, 1, 0.0)
    theirs = speed.generate(speed.equivalent(model, flat), problems, 1, greedy=True).tolist()
    for i in range(speed.PROBLEMS):
        solution = list(ours.solution(i))
        assert solution == theirs[i][: len(solution)]


def test_tokens_a_second_against_generate():
    """512 sequences at one million parameters, one thread; printed, not asserted."""
    compare("4x144x4", 512)
