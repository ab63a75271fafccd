"""Constants that papers print: do they follow from each other? No run is needed to ask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..datasets import paper_table
from ..laws import HOFFMANN_ROUNDED, HOFFMANN_TEX, PF_DAY, Chinchilla


def henighan() -> pd.DataFrame:
    """Table 1 of Henighan et al. (2020) where it has all three laws, and what follows from it.

    implied: α_C/α_N, the exponent of N_opt(C) if models on the frontier stop a constant factor above
    the loss that their size allows, as in Kaplan et al. (2020), Appendix B; words: (1 − β)/β, the exponent of D in N_opt at C = 6ND; at_one: N_opt at one PF-day;
    prefactor: N_opt at one FLOP.
    """
    table = paper_table("henighan_table1").dropna().reset_index(drop=True)
    table["implied"] = table["C_alpha"] / table["N_alpha"]
    table["words"] = (1 - table["beta"]) / table["beta"]
    table["at_one"] = table["c0"] ** -table["beta"]
    return table.assign(prefactor=(table["c0"] * PF_DAY) ** -table["beta"])


def gpt3() -> pd.DataFrame:
    """Table D.1 of Brown et al. (2020) beside 6ND: counted (FLOPs over 6ND), converted (PF-days over FLOPs)."""
    table = paper_table("gpt3_tableD1")
    table["counted"] = table["flops"] / (6 * 1e6 * table["N"] * 1e9 * table["tokens"])
    return table.assign(converted=table["pf_days"] * PF_DAY / table["flops"])


def routed() -> pd.DataFrame:
    """Table 3 of Clark et al. (2022): the size beyond which experts no longer help, by the rounded constants.

    computed: 10^{−b/c}; low, high: with b and c anywhere within their last printed digit.
    """
    table = paper_table("clark_table3")
    at = lambda b, c: 10 ** (-b / c)
    b, c, half = table["b"], table["c"], 0.0005
    return table.assign(computed=at(b, c), low=at(b + half, c + half), high=at(b - half, c - half))


class Frontier(NamedTuple):
    """N_opt = N·C^a, D_opt = D·C^b, L_opt = L·C^{−l} + E: a surface's efficient frontier in one line each."""

    N: float
    a: float
    D: float
    b: float
    L: float
    l: float  # noqa: E741
    E: float


def frontier(law: Chinchilla) -> Frontier:
    """The factors and exponents of the frontier, C = 6ND."""
    one = law.optimum(1.0)
    exponent = law.alpha * law.beta / (law.alpha + law.beta)
    return Frontier(float(one.N), law.a, float(one.D), law.b, float(one.loss) - law.E, exponent, law.E)


def encyclopaedia_table() -> pd.DataFrame:
    """The article's table of optima with what follows from its own columns: gopher_derived, tokens a parameter, and N by .1·C^.5."""
    table = paper_table("wikipedia_table")
    table["printed"] = [float(as_number(text)) for text in table["gopher"]]
    table["derived"] = table["flops"] / table.loc[table["N"] == 67e9, "flops"].item()
    table["ratio"] = table["D"] / table["N"]
    return table.assign(by_half=0.1 * table["flops"] ** 0.5)


def as_number(text: str) -> float:
    """"1/5706" or "6.7" as a number."""
    above, _, below = str(text).partition("/")
    return float(above) / float(below or 1)


def rounding_error(C: float) -> float:
    """N_opt by the article's .6·C^.45 over that of the unrounded constants of Hoffmann et al., at C FLOPs."""
    return float(0.6 * C**0.45 / HOFFMANN_TEX.optimum(C).N)


ROUNDED = frontier(HOFFMANN_ROUNDED)
"""What the printed constants E = 1.69, A = 406.4, B = 410.7, α = .34, β = .28 say."""


def henighan_prefactor(c0: float = 5e-12, beta: float = 0.7) -> float:
    """(c0 PF-days)^{−β} in FLOPs: the factor of N_opt = factor·C^β."""
    return (c0 * PF_DAY) ** -beta


def spread(values) -> float:
    """Largest over smallest."""
    values = np.asarray(values, float)
    return float(values.max() / values.min())
