"""The loss of a run not made: with the law's uncertainty, and with a run's own noise."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .reading import TableError
from .result import Bootstrap, Fit, expanded_level, percentile

_COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt}  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """Loss predicted at (N, D), nats per token.

    mean: interval of the law there. interval: of a further run, whose own noise is drawn from the
    residuals. None without a bootstrap.
    """

    N: float
    D: float
    loss: float
    mean: tuple[float, float] | None
    interval: tuple[float, float] | None


def noise(fit: Fit) -> float:
    """Relative standard deviation of a run's loss about the law, with five parameters counted.

    Between runs, not rows: the points of a curve repeat what is peculiar to it.
    """
    r = np.asarray(fit.residuals)
    return float(np.sqrt(np.sum(r**2) / len(r) * fit.units / max(fit.units - 5, 1)))


def predict(
    fit: Fit, N: float, D: float, *, boot: Bootstrap | None = None, level: float = 0.95, seed: int = 0
) -> Prediction:
    """L(N, D) of a fitted surface with its intervals at `level`.

    Each refit predicts L*(N, D); a further run is L*·e^r with r drawn from the residuals, widened
    by √(m/(m−5)) for the parameters fitted to m runs. Raises ValueError for a law without a loss.
    """
    if fit.residuals is None:
        raise ValueError(f"{fit.method} gives no loss; use surface or varpro")
    loss = float(fit.law.predict(N, D))
    if boot is None:
        return Prediction(N, D, loss, None, None)
    s = boot.samples
    with np.errstate(over="ignore", invalid="ignore"):
        each = s["E"] + s["A"] * np.power(N, -s["alpha"]) + s["B"] * np.power(D, -s["beta"])
    each = np.where(np.isfinite(each), each, np.nan)
    level = expanded_level(level, fit.units)
    draws = np.random.default_rng(seed).choice(fit.residuals, size=(20, len(each)))
    widen = np.sqrt(fit.units / max(fit.units - 5, 1))
    return Prediction(
        N, D, loss, percentile(each, level), percentile((each * np.exp(widen * draws)).ravel(), level)
    )


def held_out(runs: pd.DataFrame, expression: str = "largest") -> np.ndarray:
    """Mask (n,) of the runs to leave out: "largest" (the largest budget) or conditions like "C > 1e20 and N < 1e9".

    Conditions compare a column with a number, joined by "and"; nothing is evaluated as code.
    Raises TableError for anything else, or where it leaves out no run or all.
    """
    frame = runs.assign(C=runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"])
    if expression == "largest":
        C = frame["C"].to_numpy()
        mask = C > C.max() / 1.2
    else:
        mask = np.ones(len(frame), bool)
        for part in re.split(r"\s+and\s+|\s*&\s*", expression.strip()):
            found = re.fullmatch(r"\s*([^<>=!]+?)\s*(>=|<=|==|!=|>|<)\s*([^<>=!]+?)\s*", part)
            if not found:
                raise TableError(f"--holdout {expression!r}: not understood; write a condition like 'C>1e20'")
            name, compare, text = found.groups()
            if name not in frame:
                raise TableError(
                    f"--holdout {expression!r}: no column {name}; there are {', '.join(frame.columns)}"
                )
            mask &= _condition(frame[name], compare, text.strip("'\""), expression)
    if mask.all() or not mask.any():
        raise TableError(
            f"--holdout {expression!r} leaves out {int(mask.sum())} of {len(mask)} rows; some must be left out and some fitted"
        )
    return mask


def _condition(column, compare, text, expression):
    from .columns import to_numbers

    number = to_numbers(pd.Series([text]))[0]
    values = to_numbers(column)
    if np.isnan(number) or np.isnan(values).any():
        if compare not in ("==", "!="):
            raise TableError(f"--holdout {expression!r}: {text!r} is no number to compare {column.name} with")
        return _COMPARE[compare](column.astype(str).str.strip().to_numpy(), text)
    return _COMPARE[compare](values, number)


@dataclass(frozen=True)
class Holdout:
    """How well the law of the other runs predicts those left out.

    n: runs left out. bias: mean of log(loss/predicted): positive where they came out worse. rms
    of the same. noise: `noise` of the fitted runs. inside: share within their prediction interval
    (None without a bootstrap).
    """

    n: int
    bias: float
    rms: float
    noise: float
    inside: float | None


def score(fit: Fit, left_out: pd.DataFrame, *, boot: Bootstrap | None = None, level: float = 0.95) -> Holdout:
    """Hold a fit against runs it has not seen (columns N, D, loss)."""
    miss = np.log(
        left_out["loss"].to_numpy() / fit.law.predict(left_out["N"].to_numpy(), left_out["D"].to_numpy())
    )
    inside = None
    if boot is not None:
        each = [
            predict(fit, N, D, boot=boot, level=level).interval
            for N, D in zip(left_out["N"], left_out["D"], strict=True)
        ]
        pairs = zip(each, left_out["loss"], strict=True)
        inside = float(np.mean([e[0] <= v <= e[1] for e, v in pairs]))  # type: ignore[index]  # a bootstrap gives one
    return Holdout(len(left_out), float(miss.mean()), float(np.sqrt(np.mean(miss**2))), noise(fit), inside)
