"""Tokens a second that a real model writes, by our sampler and by `generate`, and the floor, on the device at hand.

`python tests/bench/open_speed.py own|transformers|floor MODEL SEQUENCES DTYPE` prints one JSON line. The floor is the
time of the matrix products alone, at the sizes of one token of all sequences.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import torch

from scalinglaws.testtime import open_load, open_models, open_own
from scalinglaws.testtime.answers import Form, asked

QUESTION = (
    "Janet has 16 eggs and sells three quarters of them for 2 dollars each. How much does she earn? " * 2
)
TOKENS = 32


def written(writer, sequences: int) -> float:
    """Tokens a second of `sequences` answers to one question."""
    text = asked(writer.tokenizer, Form("hashes"), QUESTION)
    writer.write([text] * sequences, 0.8, None, 2)
    started = time.perf_counter()
    tokens = sum(count for _, count, _ in writer.write([text] * sequences, 0.8, None, TOKENS))
    return tokens / (time.perf_counter() - started)


def floor(name: str, sequences: int, dtype: torch.dtype) -> float:
    """Tokens a second of the products with all matrices, nothing else."""
    model = open_load.model(name, "float32")
    matrices = [p.detach().to(dtype) for p in model.parameters() if p.ndim == 2]
    inputs = {m.shape[1]: torch.ones(sequences, m.shape[1], dtype=dtype, device=m.device) for m in matrices}
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        for m in matrices:
            torch.nn.functional.linear(inputs[m.shape[1]], m)
        if matrices[0].is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return sequences / best


if __name__ == "__main__":
    which, name, sequences, dtype = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    if which == "floor":
        rate = floor(name, sequences, getattr(torch, dtype))
    elif which == "own":
        rate = written(open_own.Own(name, sequences, dtype), sequences)
    else:
        rate = written(open_models.Transformers(name, sequences, dtype), sequences)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tokens_per_second": rate, "peak_mib": peak}))
