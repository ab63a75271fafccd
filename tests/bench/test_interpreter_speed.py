"""The interpreter's speed as a ratio: all programs and inputs at once against one list at a time in plain Python."""

from __future__ import annotations

import time

import numpy as np

from scalinglaws.resampling import language, tasks
from scalinglaws.resampling.language import AGAIN, MOST_STEPS, OPERATIONS

PROGRAMS, INPUTS = 2000, 64


def one_at_a_time(programs, inputs):
    """The same operations, called for one list of one program."""
    values, lengths = inputs
    out = []
    for program in programs:
        steps = []
        for op, k in program:
            steps += steps[-1:] * k if op == AGAIN else [(op, k)]
        for v, n in zip(values, lengths, strict=True):
            for op, k in steps[:MOST_STEPS]:
                v, n = OPERATIONS[op].apply(v, n, np.array(k))
            out.append((v, n))
    return out


def test_programs_and_inputs_a_second():
    rng = np.random.default_rng(0)
    programs = [tasks.draw_program(int(d), rng) for d in rng.integers(1, 6, PROGRAMS)]
    inputs = tasks.draw_inputs((INPUTS,), rng)
    started = time.process_time()
    values, lengths = language.run(programs, inputs)
    batched = PROGRAMS * INPUTS / (time.process_time() - started)
    few = 20
    started = time.process_time()
    slow = one_at_a_time(programs[:few], inputs)
    single = few * INPUTS / (time.process_time() - started)
    print(f"\ninterpreter: {batched:,.0f} programs × inputs a second, {batched / single:.0f} × one at a time")
    for i, (v, n) in enumerate(slow):
        assert (values[i // INPUTS, i % INPUTS] == v).all()
        assert lengths[i // INPUTS, i % INPUTS] == n
