"""The weakest model with an endless budget against one sample of the strongest, and what more tests change.

In every function `of` is a ladder whose first name is the weak model and whose last name is the strong one;
values are means over the seeds of a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .estimators import ceiling
from .readout import Ladder


def ends(of: Ladder) -> tuple[np.ndarray, np.ndarray]:
    """Masks [models] of the weakest model's seeds and of the strongest's."""
    return of.names == of.ladder[0], of.names == of.ladder[-1]


def filled(of: Ladder, m: int, who: np.ndarray, side: str = "low") -> float:
    """Accuracy of these models (a mask) with an endless budget and m tests.

    side: tasks on which nothing passed count as wrong ("low") or right ("high"). See `estimators.ceiling`.
    """
    found = [ceiling(b, c) for b, c in zip(of.b[m][who], of.c[who], strict=True)]
    return float(np.mean([getattr(f, side) for f in found]))


@dataclass(frozen=True)
class Contest:
    """One sample of the strong model (top) against the weak model's bounds for an endless budget."""

    top: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """Whether the weak model can never catch up: shown, refuted, or undecided between its bounds."""
        return "shown" if self.top > self.high else "refuted" if self.low >= self.top else "undecided"


def contest(of: Ladder, m: int) -> Contest:
    """The comparison of Stroebl et al. (2024), Section 3, with m tests and with bounds for tasks that nothing passed."""
    weak, strong = ends(of)
    top = float(of.pass_1[strong].mean())
    return Contest(top, filled(of, m, weak, "low"), filled(of, m, weak, "high"))


def above(of: Ladder, m: int) -> float:
    """Strong pass@1 minus the weak model's upper bound: positive where no budget lets it catch up."""
    found = contest(of, m)
    return found.top - found.high


def lead(of: Ladder, m: int) -> float:
    """Strong pass@1 minus weak conditional accuracy, which leaves out the tasks on which the weak one passed nothing."""
    weak, strong = ends(of)
    return float(of.pass_1[strong].mean() - of.conditional(m)[weak].mean())


def lead_on_common(of: Ladder, m: int = 1) -> float:
    """The same on the tasks where every model has a sample that passes m tests."""
    return lead(of.tasks(of.common(m)), m)


def gain(of: Ladder, few: int = 1, many: int = 10) -> np.ndarray:
    """What `many` tests instead of `few` add, unsolved tasks as wrong: to the weak model, and to the strong one's lead, [2]."""
    weak, strong = ([filled(of, m, who) for m in (few, many)] for who in ends(of))
    return np.array([weak[1] - weak[0], strong[1] - weak[1] - strong[0] + weak[0]])


def lead_on_fixed(of: Ladder, m: int, fixed: int = 10) -> float:
    """Strong minus weak conditional accuracy with m tests, on the tasks that every model passes with `fixed` tests."""
    part = of.tasks(of.common(fixed))
    weak, strong = ends(part)
    values = part.conditional(m)
    return float(values[strong].mean() - values[weak].mean())
