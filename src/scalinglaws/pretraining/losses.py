"""From the loss on one text to that on another: our own models, small ones to large (Brandfonbrener et al. 2024)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..fit.forms import FORMS, rebuilt
from ..fit.general import fit_form
from ..fit.result import bootstrap
from ..laws.transfer import LossToLoss


class Extrapolated(NamedTuple):
    """A loss-to-loss law fitted to cheap points and held against dear ones.

    law: the shifted power; known: which points were fitted to; error: mean |L̂1/L1 − 1| on the others, ends: 95 % over
    resampled sizes; line: the same error of a straight line, ahead: line's less the law's, with its ends.
    """

    law: LossToLoss
    known: np.ndarray
    error: float
    ends: np.ndarray
    line: float
    ahead: float
    ahead_ends: np.ndarray


def extrapolated(points: pd.DataFrame, factor: float, samples: int, seed: int) -> Extrapolated:
    """Fit to the points of at most 1/`factor` of the largest 6ND, predict the others. points: N, D, loss, transfer."""
    C = 6 * points["N"].to_numpy(float) * points["D"].to_numpy(float)
    x, y, sizes = (points[k].to_numpy() for k in ("loss", "transfer", "N"))
    known = C <= C.max() / factor
    fit = fit_form(FORMS["loss-to-loss"], {"L0": x[known]}, y[known], groups=sizes[known])
    guess = lambda law: np.nan_to_num(law.predict(x[~known]), nan=law.E1)  # below E0 the law has no value: its lowest
    miss = lambda found: float(np.mean(np.abs(found / y[~known] - 1)))
    line = lambda w: np.polyfit(x[known], y[known], 1, w=np.sqrt(w))
    rng, laws, lines = np.random.default_rng(seed), [], []
    names = np.unique(sizes[known])
    for _ in range(samples):
        drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        w = drawn[np.searchsorted(names, sizes[known])].astype(float)
        if (drawn > 0).sum() < 2:
            continue
        boot = bootstrap(fit, weights=w[None])
        law = rebuilt(fit.law, {k: v[0] for k, v in boot.samples.items()})
        laws.append(miss(guess(law)))
        lines.append(miss(np.polyval(line(w), x[~known])))
    own, plain = miss(guess(fit.law)), miss(np.polyval(line(np.ones(known.sum())), x[~known]))
    ends = lambda values: np.nanquantile(values, [0.025, 0.975])
    return Extrapolated(fit.law, known, own, ends(laws), plain, plain - own, ends(np.array(lines) - np.array(laws)))
