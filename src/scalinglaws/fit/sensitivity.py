"""How much of an exponent is the analyst's choice: objective, data, grid, range, coordinates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..laws import Chinchilla
from .isoflop import fit_isoflop
from .result import bootstrap, percentile
from .simulate import isoflop_grid
from .surface import fit_surface
from .varpro import fit_varpro

CZECH_BUDGETS = (1e17, 1e18, 1e19, 1e20, 1e21)
CZECH_POINTS = 15
OBJECTIVES = {
    "absolute error, log L (δ → 0)": {"delta": 1e-8}, "Huber δ = 1e-4": {"delta": 1e-4}, "Huber δ = 1e-3 (paper)": {"delta": 1e-3},
    "Huber δ = 1e-2": {"delta": 1e-2}, "squared error, log L": {"delta": 10.0},
    "squared error, L": None,
}  # fmt: skip


def multiverse(
    runs: pd.DataFrame, datasets: dict[str, np.ndarray], *, resamples: int, seed: int = 0, level: float = 0.8
) -> pd.DataFrame:
    """The exponent a under every objective of `OBJECTIVES` and every subset of the runs.

    runs: columns N, D, loss. datasets: name → boolean mask.
    """
    rows = []
    for name, mask in datasets.items():
        part = runs[np.asarray(mask)]
        N, D, loss = (part[c].to_numpy() for c in ("N", "D", "loss"))
        for objective, options in OBJECTIVES.items():
            fit = fit_varpro(N, D, loss) if options is None else fit_surface(N, D, loss, **options)
            low, high = bootstrap(fit, resamples, seed).interval("a", level)
            rows.append(
                (objective, name, fit.params["a"], low, high, fit.params["E"], fit.params["beta"], fit.status)
            )
    return pd.DataFrame(rows, columns=["objective", "data", "a", "low", "high", "E", "beta", "status"])


def isoflop_bias(
    surfaces: dict[str, Chinchilla], factors=(2, 4, 8, 16), *, drift: float = 1.0, target: float = 1e24
) -> pd.DataFrame:
    """Error of D_opt at `target` FLOPs (%) on noiseless IsoFLOP grids, by approach 2 and by variable projection.

    Czech (2026): five budgets from 1e17 to 1e21, 15 points each over D_opt/factor … D_opt·factor.
    """
    rows = []
    for name, law in surfaces.items():
        truth = law.optimum(target).D
        for factor in factors:
            runs = isoflop_grid(law, CZECH_BUDGETS, factor, CZECH_POINTS, drift)
            parabolas = fit_isoflop(runs.N, runs.D, runs.loss, runs.C, budget=runs.group)
            projected = fit_varpro(runs.N, runs.D, runs.loss)
            for method, fit in (("approach 2", parabolas), ("variable projection", projected)):
                rows.append(
                    (
                        name,
                        method,
                        factor,
                        drift,
                        100 * (float(fit.law.optimum(target).D) / truth - 1),
                        fit.params["b"] - law.b,
                    )
                )
    return pd.DataFrame(rows, columns=["surface", "method", "factor", "drift", "error", "b error"])


def condition_numbers(law: Chinchilla, N, D) -> dict[str, float]:
    """Condition number of the Gauss–Newton Hessian of Σ(L − L̂)² at the truth, in four parametrisations.

    raw: (E, A, B, α, β). log: logarithms of E, A, B. centred: log N and log D centred as well.
    projected: (α, β) with E, A, B eliminated (the Schur complement).
    """

    def hessian(x, y, A, B, log):
        u, v = A * np.exp(-law.alpha * x), B * np.exp(-law.beta * y)
        scale = (law.E, A, B) if log else (1.0, 1.0, 1.0)
        J = np.stack([np.full_like(u, scale[0]), u / A * scale[1], v / B * scale[2], -u * x, -v * y], axis=1)
        return J.T @ J

    x, y = np.log(N), np.log(D)
    A, B = law.A * np.exp(-law.alpha * x.mean()), law.B * np.exp(-law.beta * y.mean())
    centred = hessian(x - x.mean(), y - y.mean(), A, B, True)
    schur = centred[3:, 3:] - centred[3:, :3] @ np.linalg.solve(centred[:3, :3], centred[:3, 3:])
    return {
        "raw": float(np.linalg.cond(hessian(x, y, law.A, law.B, False))),
        "log": float(np.linalg.cond(hessian(x, y, law.A, law.B, True))),
        "centred": float(np.linalg.cond(centred)),
        "projected": float(np.linalg.cond(schur)),
    }


def holdout(
    runs: pd.DataFrame, cuts, *, resamples: int = 0, seed: int = 0, level: float = 0.8
) -> pd.DataFrame:
    """Fit approach 3 to the runs at or below each compute cut and predict the dearer ones.

    runs: columns N, D, C, loss. Returns per held-out run: cut, C, N, the relative error of the
    predicted loss (%), the decades of C beyond the cut, and a of the fit with its interval
    (NaN without resamples).
    """
    parts = []
    for cut in cuts:
        cheap = runs["C"] <= cut
        fit = fit_surface(*(runs.loc[cheap, c].to_numpy() for c in ("N", "D", "loss")))
        low, high = bootstrap(fit, resamples, seed).interval("a", level) if resamples else (np.nan, np.nan)
        rest = runs[~cheap]
        error = 100 * (fit.law.predict(rest["N"], rest["D"]) / rest["loss"] - 1)
        beyond = np.log10(rest["C"] / cut)
        columns = {"cut": cut, "C": rest["C"], "N": rest["N"], "error": error, "decades": beyond}
        parts.append(pd.DataFrame(columns | {"a": fit.params["a"], "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)


def extrapolation_error(
    runs: pd.DataFrame, cut: float, beyond: float, *, resamples: int, seed: int = 0, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Median absolute error (%) of losses at C > `beyond`, predicted by approach 3 from the runs with C ≤ `cut`.

    With its percentile interval: the runs that are fitted and the runs that are predicted are both resampled,
    since either would be others in another study. runs: columns N, D, C, loss.
    """
    cheap, far = runs[runs["C"] <= cut], runs[runs["C"] > beyond]
    fit = fit_surface(*(cheap[c].to_numpy() for c in ("N", "D", "loss")))
    N, D, loss = (far[c].to_numpy(float) for c in ("N", "D", "loss"))
    error = lambda predicted: np.abs(100 * (predicted / loss - 1))
    law = {k: v[:, None] for k, v in bootstrap(fit, resamples, seed).samples.items()}
    refitted = error(law["E"] + law["A"] * N ** -law["alpha"] + law["B"] * D ** -law["beta"])
    others = np.random.default_rng(seed).integers(len(far), size=refitted.shape)
    drawn = np.median(np.take_along_axis(refitted, others, axis=1), axis=1)
    return float(np.median(error(fit.law.predict(N, D)))), percentile(drawn, level)
