"""Closed-form scaling laws as frozen dataclasses, with the constants as published."""

from .chinchilla import (
    BESIROGLU,
    FLOPS_PER_PARAMETER_TOKEN,
    HOFFMANN_ROUNDED,
    HOFFMANN_TEX,
    Allocation,
    Chinchilla,
    Frontier,
)
from .kaplan import (
    B_CRIT,
    KAPLAN_FRONTIER,
    L_OF_C,
    L_OF_C_MIN,
    L_OF_D,
    L_OF_N,
    L_OF_N_D,
    L_OF_N_S,
    PF_DAY,
    CriticalBatch,
    KaplanND,
    KaplanNS,
    PowerLaw,
    contradiction,
)
from .reconcile import EmbeddingShare, NonEmbeddingFrontier

__all__ = [
    "BESIROGLU",
    "B_CRIT",
    "FLOPS_PER_PARAMETER_TOKEN",
    "HOFFMANN_ROUNDED",
    "HOFFMANN_TEX",
    "KAPLAN_FRONTIER",
    "L_OF_C",
    "L_OF_C_MIN",
    "L_OF_D",
    "L_OF_N",
    "L_OF_N_D",
    "L_OF_N_S",
    "PF_DAY",
    "Allocation",
    "Chinchilla",
    "CriticalBatch",
    "EmbeddingShare",
    "Frontier",
    "KaplanND",
    "KaplanNS",
    "NonEmbeddingFrontier",
    "PowerLaw",
    "contradiction",
]
