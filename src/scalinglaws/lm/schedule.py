"""Learning-rate schedules, and the plan of a run: its trunk and the branches cooled down from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .config import Run


@dataclass(frozen=True)
class Segment:
    """Steps `start` to `end` of a run; `cooldown_from` is set where the rate decays to the segment's end.

    A `branch` starts from the trunk's state at `start` and leaves the trunk as it was.
    """

    start: int
    end: int
    branch: bool = False
    cooldown_from: int | None = None


def plan(run: Run) -> list[Segment]:
    """The segments in the order they are trained.

    Only a warm-up–stable–decay run has more than one: the trunk stops at D_b·(1 − cooldown) for
    each branch length D_b, trains the branch down to D_b, returns and goes on. The tokens of a
    branch's cooldown are the ones the trunk would have seen, so a branch has seen D_b tokens.
    """
    if run.schedule != "wsd":
        return [Segment(0, run.steps)]
    segments, at = [], 0
    ends = {run.step_of(b) for b in run.branches} - {run.steps}  # the trunk's own end is no branch
    starts = sorted((_cooldown_start(run, end), end) for end in ends)
    for start, end in starts:
        if start > at:
            segments.append(Segment(at, start))
            at = start
        segments.append(Segment(start, end, branch=True, cooldown_from=start))
    decay = _cooldown_start(run, run.steps)
    if decay > at:
        segments.append(Segment(at, decay))
    segments.append(Segment(decay, run.steps, cooldown_from=decay))
    return segments


def _cooldown_start(run: Run, end: int) -> int:
    return min(end - 1, round(end * (1 - run.cooldown)))


def planned_steps(run: Run) -> int:
    """Optimiser steps of all segments, cooldowns included."""
    return sum(s.end - s.start for s in plan(run))


def rate(run: Run, segment: Segment, step: int) -> float:
    """The learning rate at `step` (0, 1, …) over its peak.

    Warm-up is linear over `warmup` tokens. Then, with f = `final_rate`: "cosine" goes from 1 to
    f + (1 − f)(1 + cos πt)/2 with t the share of `cycle` training lengths done; "constant"
    stays; "wsd" stays until the segment's cooldown, which falls linearly to f.
    """
    warmup = run.warmup / run.tokens_per_step
    value = min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
    f = run.final_rate
    if run.schedule == "cosine":
        done = max(0.0, step - warmup) / max(1.0, run.cycle * run.steps - warmup)
        value *= f + (1 - f) * (1 + math.cos(math.pi * min(1.0, done))) / 2
    elif segment.cooldown_from is not None:
        done = (step - segment.cooldown_from) / max(1, segment.end - segment.cooldown_from)
        value *= 1 - (1 - f) * done
    return value
