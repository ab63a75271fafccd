"""Fitting scaling laws: three approaches of Hoffmann et al. (2022), variable projection, intervals."""

from .envelope import EnvelopeFit, fit_envelope
from .frontier import frontier_exponent, interpolated_frontier, interpolated_minimum
from .huber import HuberObjective
from .isoflop import IsoflopFit, Valley, fit_isoflop
from .kaplan import fit_critical_batch, fit_nd, fit_ns, fit_power, pareto
from .likelihood import Profile, RatioTest, likelihood_ratio, profile, wald
from .lines import assign_budgets, group_budgets, line
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
    "Bootstrap",
    "EnvelopeFit",
    "Fit",
    "HuberObjective",
    "IsoflopFit",
    "Profile",
    "RatioTest",
    "Valley",
    "assign_budgets",
    "bca",
    "bootstrap",
    "check_resamples",
    "expanded_level",
    "fit_averaged",
    "fit_critical_batch",
    "fit_envelope",
    "fit_isoflop",
    "fit_nd",
    "fit_ns",
    "fit_power",
    "fit_surface",
    "fit_varpro",
    "frontier_exponent",
    "group_budgets",
    "hoffmann_grid",
    "interpolated_frontier",
    "interpolated_minimum",
    "legacy_resample_weights",
    "likelihood_ratio",
    "line",
    "pareto",
    "percentile",
    "profile",
    "resample_weights",
    "subsample_weights",
    "wald",
]
