"""Fitting scaling laws: three approaches of Hoffmann et al. (2022), variable projection, intervals."""

from .approaches import METHODS, agreement, fit, read_runs
from .clusters import clusters, interval_over, slope_within
from .columns import interpret
from .design import next_runs
from .diagnose import Verdict
from .envelope import EnvelopeFit, fit_envelope
from .frontier import (
    frontier_draws,
    frontier_exponent,
    interpolated_frontier,
    interpolated_minimum,
    luck_draws,
)
from .huber import HuberObjective
from .isoflop import IsoflopFit, Valley, fit_isoflop
from .kaplan import fit_critical_batch, fit_nd, fit_ns, fit_power, pareto
from .likelihood import Profile, RatioTest, likelihood_ratio, profile, wald
from .lines import assign_budgets, group_budgets, line
from .predict import Holdout, Prediction, held_out, predict, score
from .reading import TableError, read_table
from .result import (
    Bootstrap,
    Fit,
    bca,
    bootstrap,
    check_resamples,
    expanded_level,
    legacy_resample_weights,
    percentile,
    resample_weights,
    subsample_weights,
)
from .surface import fit_averaged, fit_surface, hoffmann_grid
from .varpro import fit_varpro

__all__ = [
    "METHODS",
    "Bootstrap",
    "EnvelopeFit",
    "Fit",
    "Holdout",
    "HuberObjective",
    "IsoflopFit",
    "Prediction",
    "Profile",
    "RatioTest",
    "TableError",
    "Valley",
    "Verdict",
    "agreement",
    "assign_budgets",
    "bca",
    "bootstrap",
    "check_resamples",
    "clusters",
    "expanded_level",
    "fit",
    "fit_averaged",
    "fit_critical_batch",
    "fit_envelope",
    "fit_isoflop",
    "fit_nd",
    "fit_ns",
    "fit_power",
    "fit_surface",
    "fit_varpro",
    "frontier_draws",
    "frontier_exponent",
    "group_budgets",
    "held_out",
    "hoffmann_grid",
    "interpolated_frontier",
    "interpolated_minimum",
    "interpret",
    "interval_over",
    "legacy_resample_weights",
    "likelihood_ratio",
    "line",
    "luck_draws",
    "next_runs",
    "pareto",
    "percentile",
    "predict",
    "profile",
    "read_runs",
    "read_table",
    "resample_weights",
    "score",
    "slope_within",
    "subsample_weights",
    "wald",
]
