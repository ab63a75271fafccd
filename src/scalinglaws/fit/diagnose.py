"""What the runs can and cannot say: before the fit from the design, after it from the objective.

A fit always returns five numbers. Whether the runs determine them is another question, and the
split of a budget into N and D is the first thing that is lost:

- where log D is a line in log N the two terms A/N^α and B/D^β are functions of one variable:
  they can be exchanged, and the data do not notice;
- where a parameter sits at its bound, or the objective has a second minimum as deep with
  another split, or the interval of N_opt spans decades, the optimum is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..laws import Chinchilla
from .predict import predict
from .result import Bootstrap, Fit

COLLINEAR = 0.1
"""Spread of log D about its line in log N (standard deviation, nats) below which the two are one variable."""
WIDEST = 100.0
"""An interval of N_opt with a larger ratio of its ends is no answer."""
LAWS = ("surface", "varpro")


@dataclass(frozen=True)
class Verdict:
    """Whether the runs determine the split. reasons: why not. determined: what they do determine."""

    split: bool
    reasons: tuple[str, ...] = ()
    determined: str = ""


def compute(runs: pd.DataFrame) -> np.ndarray:
    """FLOPs of each run: column C, or 6·N·D."""
    return (runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]).to_numpy(float)


def before(runs: pd.DataFrame, units: int, method: str = "surface") -> list[str]:
    """Warnings about the design: repeated data, and for a law of the loss few runs or a narrow range."""
    return _repeats(runs) + (_thin(runs, units) if method in LAWS else [])


def _thin(runs, units):
    out = []
    N, D = runs["N"], runs["D"]
    if units < 10:
        out.append(f"{units} runs for five unknowns: the intervals are wide and rest on few runs")
    for name, values in (("N", N), ("D", D)):
        span = values.max() / values.min()
        if span < 5:
            out.append(
                f"{name} varies {span:.2g}-fold only: its exponent rests on a narrow range, and any optimum outside it on faith"
            )
    C = compute(runs)
    if len(np.unique(np.round(np.log(C) / np.log(1.2)))) < 3:
        out.append("too few budgets: fewer than three distinct values of C")
    return out


def _repeats(runs):
    if "unique_tokens" not in runs:
        return []
    epochs = runs["D"] / runs["unique_tokens"]
    again = int((epochs > 1.01).sum())
    if not again:
        return []
    return [
        f"{again} of {len(runs)} runs repeat their data, up to {epochs.max():.1f} epochs; the law takes every "
        "token for fresh, and the optimum is not the one for fresh tokens. --repeated drop leaves them out, --repeated "
        "effective counts what repeated tokens are worth (Muennighoff et al. 2023)"
    ]


def perpendicular(N, D) -> tuple[float, float, float]:
    """Spread (standard deviation) of log D about its line in log N, the line's slope and intercept."""
    x, y = np.log(np.asarray(N, float)), np.log(np.asarray(D, float))
    slope, intercept = np.polyfit(x, y, 1)
    return float(np.std(y - intercept - slope * x)), float(slope), float(intercept)


def after(fit: Fit, runs: pd.DataFrame, boot: Bootstrap | None = None, level: float = 0.95) -> Verdict:
    """What a fitted law's runs determine. `runs` as fitted; `boot` sharpens the answer."""
    if fit.method not in LAWS:
        return Verdict(True)
    reasons = []
    spread, slope, _ = perpendicular(runs["N"], runs["D"])
    ratio = np.exp(np.log(runs["D"]) - np.log(runs["N"]))
    low, high = float(ratio.min()), float(ratio.max())
    held = [p for p in fit.status.removeprefix("bound: ").split(", ") if p != "E"] if fit.bound_hit else []
    kept = ""
    if spread < COLLINEAR:
        if high / low < 1.5:
            kept = f"D/N = {np.exp(np.mean(np.log(ratio))):.3g}"
            reasons.append(
                f"every run has {kept}: what N does and what D does cannot be told apart (their terms can be exchanged)"
            )
        else:
            kept = f"D ∝ N^{slope:.2f}"
            reasons.append(
                f"every run lies on one line {kept}: what N does and what D does cannot be told apart"
            )
    if np.std(runs["loss"]) < 1e-9 * np.mean(runs["loss"]):
        reasons.append("every run has the same loss: nothing depends on N or D")
    elif held:
        which = {"A": "N", "alpha": "N", "B": "D", "beta": "D"}
        of = " and ".join(sorted({which[p] for p in held}))
        reasons.append(
            f"{', '.join(held)} at {'its' if len(held) == 1 else 'their'} bound: the runs do not show how the loss depends on {of}"
        )
    if not fit.converged:
        reasons.append("the optimiser did not converge")
    C = compute(runs)
    middle = float(np.exp(np.mean(np.log(C))))
    if not reasons and (other := exchanged(fit, runs)) is not None:
        reasons.append(
            f"two laws fit these runs as well: N_opt ∝ C^{fit.params['a']:.2f} and N_opt ∝ C^{other.a:.2f}"
        )
    if not reasons and boot is not None:
        ends = boot.optimum_interval(middle, level, kind="expanded")["N"]
        if not ends[1] / ends[0] < WIDEST:
            reasons.append(
                f"even at {middle:.2g} FLOPs, in the middle of the runs, N_opt lies anywhere from {ends[0]:.2g} to {ends[1]:.2g} "
                f"parameters ({100 * level:g} %): the objective is flat along the split"
            )
    if not reasons:
        return Verdict(True)
    return Verdict(False, tuple(reasons), _determined(fit, runs, kept, boot, level))


def _determined(fit, runs, kept, boot, level) -> str:
    """The loss along the runs' own ratio, at the middle run's compute: the one thing left."""
    C = compute(runs)
    at = int(np.argsort(C)[-1])
    N, D = float(runs["N"].iloc[at]), float(runs["D"].iloc[at])
    text = f"the loss where they lie{', along ' + kept if kept else ''}: {float(fit.law.predict(N, D)):.4g} at N = {N:.3g}, D = {D:.3g}"
    if boot is not None:
        mean = predict(fit, N, D, boot=boot, level=level).mean
        low, high = mean  # type: ignore[misc]  # with a bootstrap there is one
        text += f" ({100 * level:g} %: {low:.4g} to {high:.4g})"
    return text


def exchanged(fit: Fit, runs: pd.DataFrame) -> Chinchilla | None:
    """Another law that fits as well but splits otherwise: from a start with the terms exchanged.

    The start gives N the role of D along the runs' common line. "As well" is a residual sum of
    squares that a likelihood-ratio test at 5 % does not tell from the best, with the runs (not
    the rows) counted. None where there is no such law.
    """
    from .surface import fit_surface

    law = fit.law
    x, y = np.log(runs["N"].to_numpy(float)), np.log(runs["D"].to_numpy(float))
    slope, intercept = np.polyfit(x, y, 1)
    if not 0.2 < slope < 5:
        return None
    # D ≈ e^c N^s: B/D^β = B e^{−βc}/N^{βs} and A/N^α = A e^{αc/s}/D^{α/s}
    start = Chinchilla(
        E=max(law.E, 1e-3 * float(runs["loss"].min())),
        A=max(law.B * np.exp(-law.beta * intercept), 1e-9),
        B=max(law.A * np.exp(law.alpha * intercept / slope), 1e-9),
        alpha=law.beta * slope,
        beta=law.alpha / slope,
    )
    # least squares on log L, whatever the method: the comparison must be one
    arrays = [runs[c].to_numpy(float) for c in ("N", "D", "loss")]
    here = fit_surface(*arrays, delta=10.0, starts=law.theta[None] if law.E > 0 else start.theta[None])
    there = fit_surface(*arrays, delta=10.0, starts=start.theta[None])
    if not there.converged or there.bound_hit or abs(there.law.a - here.law.a) < 0.05:
        return None
    m = fit.units
    best = min(here.objective, there.objective)
    worse = max(here.objective, there.objective)
    return there.law if m * np.log(worse / max(best, 1e-300)) < 3.84 else None
