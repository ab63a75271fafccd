"""When does a learning curve break, and can a break be seen before it comes? Caballero et al. (2022) and M1 to M4."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from ..fit.forms import FORMS
from ..fit.general import fit_form
from ..laws.curves import Broken
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job

RIVALS = {"m1": "M1", "m2": "M2", "m3": "M3", "m4": "M4", "bnsl-1": "BNSL"}
"""Form → its name in the papers."""


def missed(name: str, x, y, kept: int) -> tuple[float, float]:
    """Root mean squared logarithmic error on the rows that a fit to the first `kept` has not seen, and on those it has."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    fit = fit_form(FORMS[name], {"x": x[:kept]}, y[:kept])
    rms = lambda r: float(np.sqrt(np.mean(np.square(r))))
    return rms(np.log(fit.law.predict(x[kept:]) / y[kept:])), rms(fit.residuals)


def extrapolated(x, y, kept: Sequence[int], names: Sequence[str] = tuple(RIVALS)) -> pd.DataFrame:
    """A row a form and number of rows kept: form, kept, last x, ahead (error on the rest), within (error on those kept)."""
    rows = [(RIVALS[name], k, np.asarray(x)[k - 1], *missed(name, x, y, k)) for k in kept for name in names]
    return pd.DataFrame(rows, columns=["form", "kept", "last", "ahead", "within"])


def won(curves: Sequence[tuple[np.ndarray, np.ndarray]], share: float, names: Sequence[str]) -> pd.DataFrame:
    """Error of each form on the last points of each curve, fitted to the first `share` of them: [curves, forms]."""
    rows = [{RIVALS[n]: missed(n, x, y, max(8, int(share * len(x))))[0] for n in names} for x, y in curves]
    return pd.DataFrame(rows)


# ---- known truths: a break of which nothing, the beginning or all is seen ----------------------------------


TRUTH = Broken(E=0.3, A=2.5, c0=0.05, d=(1000.0,), c=(1.0,), f=(0.1,))
"""A slow power, then a break at x = 1000 after which the loss falls twenty times as steeply, down to .3."""


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """A job a width and end of the data. sizes: studies, ends (x seen, in units of the break), widths, noise, points."""
    return [
        Job(f"width {width}, seen to {end}", partial(foreseen, width, end, sizes, artefacts))
        for end in sizes["ends"]
        for width in sizes["widths"]
    ]


def foreseen(width: float, end: float, sizes: dict, artefacts: ArtefactStore) -> pd.DataFrame:
    """A row a curve and form: width, end, study, form, ahead."""
    about = {"width": width, "end": end} | {k: sizes[k] for k in ("studies", "noise", "points")}
    return artefacts.table("foreseen", about, lambda: _foreseen(**about))


def _foreseen(width: float, end: float, studies: int, noise: float, points: int) -> pd.DataFrame:
    truth = Broken(TRUTH.E, TRUTH.A, TRUTH.c0, TRUTH.d, TRUTH.c, (width,))
    seen = np.geomspace(0.02 * TRUTH.d[0], end * TRUTH.d[0], points)
    later = np.geomspace(end, 2 * end, 6)[1:] * TRUTH.d[0]
    rows = []
    for study in range(studies):
        rng = np.random.default_rng((study, int(1e4 * width), int(1e4 * end)))
        y = truth.predict(seen) * np.exp(noise * rng.standard_normal(points))
        for name in ("m2", "bnsl-1"):
            law = fit_form(FORMS[name], {"x": seen}, y).law
            ahead = np.sqrt(np.mean(np.log(law.predict(later) / truth.predict(later)) ** 2))
            rows.append((width, end, study, RIVALS[name], float(ahead)))
    return pd.DataFrame(rows, columns=["width", "end", "study", "form", "ahead"])
