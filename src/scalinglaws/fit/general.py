"""Fitting any law of one output: Huber loss on its logarithm, many starts, and refits under other weights.

    minimise Σ w_i·H_δ(log ŷ_i − log y_i)  within the box of the form's coordinates

with Huber's H_δ(r) = r²/2 for |r| ≤ δ and δ(|r| − δ/2) beyond; δ = ∞ is least squares of the logarithm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import qmc

from .forms import Form, Inputs
from .result import Fit, Parameters

SCREENED, TRIED, STEPS = 9, 10, 15
"""Starts: 2^(SCREENED + parameters/2) of a Sobol sequence are looked at, the best TRIED a parameter are followed for STEPS,
and the best one a parameter of these to the end."""
EDGE = 1e-3
"""A coordinate this near to an end of its box, as a share of the box, is at its bound."""


def fit_form(form: Form, inputs: Inputs, y, *, delta: float = np.inf, weights=None, groups=None) -> Fit:
    """Fit a law of `forms` to y (n,) at `inputs`, a name to values (n,) each.

    The box of coordinates follows from the data (`Form.box`). `params`: the law's parameters by name.
    Raises ValueError for values that are not finite, or not positive where they must be, and with fewer rows than
    parameters.
    """
    y = np.asarray(y, float)
    inputs = {name: np.asarray(inputs[name], float) for name in form.inputs}
    for name, values in {**inputs, form.output: y}.items():
        good = np.isfinite(values) & ((values > 0) | (name in form.signed))
        if not good.all():
            row, must = int(np.flatnonzero(~good)[0]), "a number" if name in form.signed else "positive"
            raise ValueError(f"{name} must be {must} in every row; row {row + 1} holds {values[row]:g}")
    box = form.box(inputs, y)
    low, high = (np.array([ends[k] for ends in box.values()], float) for k in (0, 1))
    if len(y) < len(box):
        raise ValueError(f"{form.name} has {len(box)} parameters: {len(y)} rows cannot determine them")
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    target, build = np.log(y), lambda t: form.build(dict(zip(box, t, strict=True)), inputs, y)

    def residual(t) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = np.log(build(t).predict(**inputs)) - target
        return np.where(np.isfinite(found), found, 1e3)  # outside of where the law has a value

    def descend(start, w, steps=None):
        return least_squares(
            residual, np.clip(start, low, high), bounds=(low, high), loss=_loss(w, delta), x_scale=high - low, max_nfev=steps
        )

    def cost(t, w) -> float:
        return float(_loss(w, delta)(residual(t) ** 2)[0].sum() / 2)

    cube = qmc.Sobol(len(box), seed=0).random(2 ** (SCREENED + len(box) // 2))
    starts = low + cube * (high - low)
    order = np.argsort([cost(t, w) for t in starts])[: TRIED * len(box)]
    ahead = sorted((descend(starts[i], w, STEPS) for i in order), key=lambda f: f.cost)
    ends = sorted((descend(f.x, w) for f in ahead[: len(box)]), key=lambda f: f.cost)
    best = ends[0]
    # other valleys, from which a resample may have to be fitted
    others = [f.x for f in ends[1:] if (abs(f.x - best.x) > 0.02 * (high - low)).any()][:2]
    law = build(best.x)
    at = [
        name
        for name, v, a, b in zip(_said(box, form.parameters(law)), best.x, low, high, strict=True)
        if min(v - a, b - v) < EDGE * (b - a)
    ]
    status = f"bound: {', '.join(at)}" if at else "converged" if best.success else "not converged"

    def refit(W: np.ndarray) -> Parameters:
        rows = []
        for one in np.atleast_2d(W):
            found = min((descend(start, w * one) for start in (best.x, *others)), key=lambda f: f.cost)
            rows.append(form.parameters(build(found.x)))
        return {name: np.array([r[name] for r in rows]) for name in rows[0]}

    labels = None if groups is None else np.asarray(groups)
    return Fit(
        form.name, law, form.parameters(law), float(best.cost), status, len(y), refit=refit, groups=labels, residuals=-residual(best.x)
    )  # fmt: skip


def _said(box, parameters) -> list[str]:
    """The parameter behind each coordinate: its namesake, or, for heights, the next parameter that has none."""
    rest = iter([name for name in parameters if name not in box])
    return [name if name in parameters else next(rest, name) for name in box]


def _loss(w: np.ndarray, delta: float) -> Any:
    """Σ w·ρ(r²) for `least_squares`, with its two derivatives: ρ = 2·H_δ."""

    def rho(z):
        if np.isinf(delta):
            return np.stack([w * z, w, np.zeros_like(z)])
        far = z > delta**2
        root = np.sqrt(np.where(far, z, 1.0))
        value = np.where(far, 2 * delta * root - delta**2, z)
        first = np.where(far, delta / root, 1.0)
        return np.stack([w * value, w * first, w * np.where(far, -0.5 * delta / root**3, 0.0)])

    return rho
