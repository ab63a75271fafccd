"""Tasks: programs worth asking for, the examples and hints that describe them, and the suites that test them.

A program is *sound* if it is not degenerate (the same few outputs whatever the input, or the input itself)
and not redundant (no operation can be left out or unrepeated without a change). What a program does is
known by its outputs on `PROBES`, its behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .language import AGAIN, BASE, LONGEST, OPERATIONS, Lists, Program, run

EXAMPLES = 6
"""Input–output examples in a prompt."""
VISIBLE = (1, 2, 3, 5, 10)
"""Sizes of the visible suites; each contains the smaller ones."""
HIDDEN = 512
"""Inputs of the hidden suite, the visible ones first: the truth."""
FEWEST_OUTPUTS = 5
"""A program with fewer distinct outputs on the probes is degenerate."""


def draw_inputs(shape: tuple[int, ...], rng: np.random.Generator) -> Lists:
    """Lists of uniform digits; the empty list one time in twenty, else a uniform length."""
    lengths = np.where(rng.random(shape) < 0.05, 0, rng.integers(1, LONGEST + 1, shape))
    values = rng.integers(0, BASE, (*shape, LONGEST))
    return np.where(np.arange(LONGEST) < lengths[..., None], values, 0), lengths


PROBES = draw_inputs((32,), np.random.default_rng(2411))


def draw_program(depth: int, rng: np.random.Generator) -> Program:
    """`depth` operations, each legal for what the one before gives."""
    program: list[tuple[int, int]] = []
    kind = "list"
    while len(program) < depth:
        op = int(rng.integers(len(OPERATIONS)))
        o = OPERATIONS[op]
        if (kind == "one" and o.takes == "list") or (
            op == AGAIN and (not program or program[-1][0] == AGAIN)
        ):
            continue
        program.append((op, int(rng.choice(o.arguments)) if o.arguments else 0))
        kind = kind if o.gives == "same" else o.gives
    return tuple(program)


def behaviours(programs: Sequence[Program], probes: Lists = PROBES) -> list[bytes]:
    """What each program does on the probes: equal bytes for equal outputs."""
    values, lengths = run(programs, probes)
    both = np.concatenate([values.astype(np.int8), lengths[..., None].astype(np.int8)], -1)
    return [row.tobytes() for row in both]


def sound(programs: Sequence[Program], probes: Lists = PROBES) -> np.ndarray:
    """Which programs are neither degenerate nor redundant [P]."""
    own = behaviours(programs, probes)
    identity = behaviours([()], probes)[0]
    width = LONGEST + 1
    kept = np.array(
        [
            b != identity and len({b[i : i + width] for i in range(0, len(b), width)}) >= FEWEST_OUTPUTS
            for b in own
        ]
    )
    shorter, owner = [], []
    for i in np.flatnonzero(kept).tolist():
        for other in _shorter(programs[i]):
            shorter.append(other)
            owner.append(i)
    for i, b in zip(owner, behaviours(shorter, probes) if shorter else [], strict=True):
        if b == own[i]:
            kept[i] = False
    return kept


def _shorter(program: Program) -> list[Program]:
    """The program without one or two neighbouring operations, and with one repetition fewer."""
    found = []
    for j, (op, k) in enumerate(program):
        found += [program[:j] + program[j + n :] for n in (1, 2) if j + n <= len(program)]
        if op == AGAIN and k > 1:
            found.append((*program[:j], (AGAIN, k - 1), *program[j + 1 :]))
    return [p for p in found if p]


def draw_programs(
    depths: Sequence[int], rng: np.random.Generator, avoid: frozenset[bytes] = frozenset(), at_once=4096
) -> list[Program]:
    """A sound program for each depth, none with a behaviour of `avoid`."""
    out: dict[int, Program] = {}
    missing = list(range(len(depths)))
    while missing:
        some = missing[:at_once]
        drawn = [draw_program(depths[i], rng) for i in some]
        good = sound(drawn)
        if avoid and good.any():
            good &= np.array([b not in avoid for b in behaviours(drawn)])
        for i, program, ok in zip(some, drawn, good, strict=True):
            if ok:
                out[i] = program
        missing = [i for i in some if i not in out] + missing[at_once:]
    return [out[i] for i in range(len(depths))]


@dataclass(frozen=True)
class Task:
    """A program to be found from examples and hints.

    split: "seen" (a behaviour that training may show, with other inputs), "unseen" (kept out of
    training, where it would hardly have occurred), "held out" (kept out although it would have been
    common), "deep" (more operations than training ever shows).
    """

    program: Program
    split: str
    dropped: float
    hints: tuple[int, ...]
    examples: Lists
    hidden: Lists

    @property
    def depth(self) -> int:
        """Operations of the program that set the task."""
        return len(self.program)


def describe(program: Program, split: str, rng: np.random.Generator) -> Task:
    """A task for this program: six examples, hints dropped at a rate of its own, and a hidden suite."""
    dropped = float(rng.random())
    heads = sorted(op for op, _ in program)
    hints = tuple(op for op in heads if rng.random() >= dropped)
    return Task(program, split, dropped, hints, draw_inputs((EXAMPLES,), rng), draw_inputs((HIDDEN,), rng))


@dataclass(frozen=True)
class Mix:
    """How many test tasks of which depth and split: the fraction of hard ones is fixed beforehand."""

    seen: tuple[tuple[int, int], ...]
    unseen: tuple[tuple[int, int], ...]
    deep: tuple[tuple[int, int], ...]
    held_out: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Tasks of the evaluation mix; those held out are reported beside it."""
        return sum(n for part in (self.seen, self.unseen, self.deep) for _, n in part)


def draw_tasks(mix: Mix, seed: int) -> list[Task]:
    """The test tasks, no behaviour twice; the same for every model."""
    rng = np.random.default_rng([2411, seed])
    taken: set[bytes] = set()
    found = []
    parts = (("seen", mix.seen), ("unseen", mix.unseen), ("deep", mix.deep), ("held out", mix.held_out))
    for split, part in parts:
        for depth, n in part:
            programs: list[Program] = []
            while len(programs) < n:
                for p in draw_programs([depth] * (n - len(programs)), rng, frozenset(taken)):
                    b = behaviours([p])[0]
                    if b not in taken:
                        taken.add(b)
                        programs.append(p)
            found += [describe(p, split, rng) for p in programs]
    return found


def kept_out(tasks: Sequence[Task]) -> frozenset[bytes]:
    """Behaviours that training must not show."""
    hidden = [t.program for t in tasks if t.split != "seen"]
    return frozenset(behaviours(hidden)) if hidden else frozenset()


def judge(task: Task, programs: Sequence[Program]) -> tuple[np.ndarray, list[bytes]]:
    """Which hidden inputs each program answers rightly [P, HIDDEN], and what it does on them: its behaviour."""
    done = np.frombuffer(b"".join(behaviours([task.program, *programs], task.hidden)), np.int8)
    done = done.reshape(len(programs) + 1, HIDDEN, LONGEST + 1)
    return (done[1:] == done[0]).all(-1), [row.tobytes() for row in done[1:]]
