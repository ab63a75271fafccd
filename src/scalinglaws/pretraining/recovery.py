"""Do fits of every law find what is known, and do their intervals cover it as often as they say? A study of simulated tables."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from .. import laws
from ..fit.forms import FORMS, Form
from ..fit.general import fit_form
from ..fit.result import bootstrap
from ..laws import annealing, curves, overtrained, precision, repeats, routed, transfer, translation
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job

LEVEL = 0.9
"""Of the intervals: nine in ten should cover."""


def truths() -> dict[str, tuple[Any, dict[str, np.ndarray]]]:
    """Form, perhaps with a remark behind a space → a law and the points at which it is seen."""
    rng = np.random.default_rng(0)
    spread = lambda low, high, n=60: np.exp(rng.uniform(np.log(low), np.log(high), n))
    x, N, D, L = np.geomspace(10, 1e5, 25), spread(1e7, 1e10), spread(1e8, 1e11), rng.uniform(2, 5, 40)
    fine = np.geomspace(10, 1e5, 100)
    U = D / np.maximum(spread(0.3, 50), 1.0)
    P, X = rng.integers(2, 9, 60).astype(float), rng.choice([1.0, 2.0, 4.0, 16.0, 32.0], 60)
    base = laws.BESIROGLU
    two_breaks = curves.Broken(0.05, 2, 0.05, (300.0, 8000.0), (0.7, -0.5), (0.2, 0.2))
    return {
        "m1": (curves.Power(3, 0.2), {"x": x}),
        "m2": (curves.Offset(0.5, 3, 0.3), {"x": x}),
        "m3": (curves.Levelled(5, 0.001, 0.4), {"x": x}),
        "m4": (curves.Implicit(0.1, 1, 20, 0.6, 0.8), {"x": x}),
        "shifted": (curves.Shifted(0.1, 5, 100, 0.4), {"x": x}),
        "bnsl-1": (curves.Broken(0.1, 2, 0.05, (1000.0,), (1.0,), (0.3,)), {"x": x}),
        "bnsl-2": (two_breaks, {"x": x}),
        "bnsl-2 on 100 points": (two_breaks, {"x": fine}),
        "repeats": (repeats.MUENNIGHOFF, {"N": N, "D": D, "U": U}),
        "overtrained": (overtrained.Overtrained(1.8, 100, 300, 0.15), {"C": 6 * N * D, "M": D / N}),
        "error-of-loss": (overtrained.ErrorOfLoss(0.85, 2.0, 1.0), {"loss": L}),
        "trained-in-bits": (precision.TrainedInBits(base, 2.5), {"N": N, "D": D, "P": P}),
        "quantised": (precision.Quantised(0.06, 0.5, 0.4, 0.8), {"N": N, "D": D, "P": P}),
        "transfer": (transfer.TEXT_TO_PYTHON, {"D_F": D, "N": N}),
        "annealing": (
            annealing.Annealing(2, 0.5, 0.5, 3.0),
            {"S1": spread(0.1, 30), "S2": rng.uniform(0.001, 0.1, 60)},
        ),
        "loss-to-loss": (transfer.LossToLoss(1.2, 0.9, 1.0, 1.5), {"L0": L}),
        "routed": (routed.Routed(-0.08, -0.1, 0.004, 3.0), {"N": N, "X": X}),
        "encoder-decoder": (translation.EncoderDecoder(1.0, 50, 0.1, 0.15), {"N_e": N, "N_d": D / 10}),
        "score-of-loss": (translation.ScoreOfLoss(200, 0.8), {"loss": L}),
    }


def form_of(name: str) -> Form:
    """The form of one of `truths`."""
    return FORMS[name.split()[0]]


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """A job a law and part of its tables. sizes: studies, part, resamples, noise; perhaps laws."""
    return [
        Job(f"{law} {first}", partial(recovered, law, first, sizes, artefacts))
        for first in range(0, sizes["studies"], sizes["part"])
        for law in sizes.get("laws", truths())
    ]


def recovered(law: str, first: int, sizes: dict, artefacts: ArtefactStore) -> pd.DataFrame:
    """A row a table and parameter: law, study, parameter, truth, value, low, high, status."""
    about = {"law": law, "first": first, "part": sizes["part"], "resamples": sizes["resamples"], "noise": sizes["noise"]}
    return artefacts.table("recovered", about, lambda: _recovered(**about))


def _recovered(law: str, first: int, part: int, resamples: int, noise: float) -> pd.DataFrame:
    form, (truth, at) = form_of(law), truths()[law]
    known, clean, rows = form.parameters(truth), truth.predict(**at), []
    for study in range(first, first + part):
        rng = np.random.default_rng((study, *law.encode()))
        fit = fit_form(form, at, clean * np.exp(noise * rng.standard_normal(len(clean))))
        boot = bootstrap(fit, resamples, rng)
        for name, value in known.items():
            low, high = boot.interval(name, LEVEL, "expanded")
            rows.append((law, study, name, value, fit.params[name], low, high, fit.status))
    return pd.DataFrame(rows, columns=["law", "study", "parameter", "truth", "value", "low", "high", "status"])


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Per law and parameter: coverage with the ends of its 95 % interval (Wilson), median relative error, share at a bound."""
    from scipy.stats import binomtest

    rows = []
    for (law, name), own in table.groupby(["law", "parameter"], sort=False):
        inside = (own["low"] <= own["truth"]) & (own["truth"] <= own["high"])
        ends = binomtest(int(inside.sum()), len(own)).proportion_ci(method="wilson")
        miss = (own["value"] / own["truth"] - 1).abs().median()
        rows.append((law, name, inside.mean(), ends.low, ends.high, miss, own["status"].str.startswith("bound").mean(), len(own)))
    return pd.DataFrame(rows, columns=["law", "parameter", "coverage", "low", "high", "miss", "at_bound", "studies"])


def of_laws(table: pd.DataFrame) -> pd.DataFrame:
    """A row a law from `coverage`: parameters, mean, least and most coverage over them, share of tables at a bound."""
    rows = [
        (law, len(own), own["coverage"].mean(), own["coverage"].min(), own["coverage"].max(), own["at_bound"].iloc[0])
        for law, own in table.groupby("law", sort=False)
    ]
    return pd.DataFrame(rows, columns=["law", "parameters", "mean", "least", "most", "at bound"])
