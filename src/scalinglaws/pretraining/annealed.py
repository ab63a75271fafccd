"""Our own runs under several learning-rate schedules, as Tissue et al. (2024) describe a run: by two areas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pandas as pd

from ..fit.forms import FORMS
from ..fit.general import fit_form
from ..laws.annealing import Annealing, areas
from ..lm import schedule
from ..lm.config import Run


def measured(row: pd.Series) -> Iterator[tuple[int, np.ndarray, float]]:
    """Where a stored run was measured: the step, the learning rates up to it without the warm-up, the held-out loss."""
    run = Run.from_dict({f.name: row[f.name] for f in fields(Run)})
    warm, trunk, ends = run.step_of(run.warmup), np.empty(0), []
    for part in schedule.plan(run):
        own = [schedule.rate(run, part, step) for step in range(part.start, part.end)]
        rates = np.concatenate([trunk[: part.start], own])
        if not part.branch:
            trunk = rates
        if part.branch or part.end == run.steps:
            ends.append(rates)
    losses = row["branch_loss"] if run.branches else [row["loss"]]
    if run.schedule == "constant":
        losses, ends = row["evaluation_loss"], [trunk[: run.step_of(t)] for t in run.evaluate_at]
    for rates, loss in zip(ends, losses, strict=True):
        yield len(rates), rates[warm:] * run.learning_rate, float(loss)


def table(runs: pd.DataFrame, memory: float) -> pd.DataFrame:
    """A row a measurement: schedule, cycle, seed, step, S1, S2 (`laws.annealing.areas`), loss in nats per token."""
    rows = []
    for _, row in runs.iterrows():
        for step, rates, loss in measured(row):
            S1, S2 = (float(a[-1]) for a in areas(rates, memory))
            rows.append((row["schedule"], row["cycle"], row["seed"], step, S1, S2, loss))
    return pd.DataFrame(rows, columns=["schedule", "cycle", "seed", "step", "S1", "S2", "loss"])


def known(points: pd.DataFrame) -> pd.Series:
    """What the law is fitted to: the constant rate and the cosine that ends with the training."""
    return (points["schedule"] == "constant") | ((points["schedule"] == "cosine") & (points["cycle"] == 1))


def fitted(points: pd.DataFrame, delta: float = 1e-3) -> Annealing:
    """The law with the lowest Huber loss on `points`."""
    return fit_form(FORMS["annealing"], {k: points[k] for k in ("S1", "S2")}, points["loss"], delta=delta).law
