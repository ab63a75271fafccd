"""Zero-shot errors of CLIP models against compute (Cherti et al. 2022), as the authors fit them, and otherwise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..fit.forms import FORMS
from ..fit.general import fit_form
from ..laws.curves import Power

TASKS = {
    "imagenet1k": "ImageNet",
    "imagenet_robustness": "five shifted ImageNets",
    "mscoco_captions": "MS-COCO, retrieval",
    "flickr30k": "Flickr30K, retrieval",
}
"""Data set → its name on the page."""


def frontier(own: pd.DataFrame, bins: int = 5) -> pd.DataFrame:
    """The lowest error in each of `bins` equal parts of log C, placed at the middle of its part, as the authors' code does."""
    log = np.log10(own["C"])
    edges = np.linspace(log.min(), log.max() + 0.1, bins + 1)
    part = np.digitize(log, edges) - 1
    best = own.groupby(part)["error"].min()
    return pd.DataFrame({"C": 10 ** ((edges[:-1] + edges[1:]) / 2)[best.index], "error": best.to_numpy()})


def line(own: pd.DataFrame) -> Power:
    """Least squares of log error on log C: error = A·C^{−α}."""
    return fit_form(FORMS["m1"], {"x": own["C"]}, own["error"]).law


def as_published(table: pd.DataFrame, task: str, ours: bool) -> Power:
    """The authors' line: through binned frontier points for LAION's data (`ours`), through all three models for OpenAI's."""
    own = table[(table["task"] == task) & ((table["trained_on"] != "WIT") == ours)]
    return line(frontier(own) if ours else own)


def matched(table: pd.DataFrame, task: str) -> pd.Series:
    """log error of LAION's model less that of OpenAI's, at equal architecture and samples (to a twentieth), a pair each."""
    own = table[table["task"] == task]
    theirs = own[own["trained_on"] == "WIT"]
    pairs = own[own["trained_on"].isin(["LAION-400M", "LAION-2B"])].merge(theirs, on="arch", suffixes=("", "_theirs"))
    pairs = pairs[(pairs["samples"] / pairs["samples_theirs"]).between(0.95, 1.05)]
    return np.log(pairs["error"] / pairs["error_theirs"])


def apart(table: pd.DataFrame, task: str) -> tuple[float, tuple[float, float]]:
    """α of OpenAI's line less that of LAION's, and its 95 % interval by Welch: residuals about either line, one degree of freedom for three models."""
    from scipy import stats

    fits = []
    for ours in (False, True):
        own = table[(table["task"] == task) & ((table["trained_on"] != "WIT") == ours)]
        points = frontier(own) if ours else own
        found = stats.linregress(np.log(points["C"].astype(float)), np.log(points["error"]))
        fits.append((-found.slope, found.stderr**2, len(points) - 2))
    (a, va, fa), (b, vb, fb) = fits
    free = (va + vb) ** 2 / (va**2 / fa + vb**2 / fb)
    half = stats.t.ppf(0.975, free) * np.sqrt(va + vb)
    return float(a - b), (float(a - b - half), float(a - b + half))
