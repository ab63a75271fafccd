"""Who can choose among a real model's solutions: what each verifier knows, how sure it is, and what it picks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_expit

from ..resampling.estimators import task_bootstrap
from ..studies import study
from ..testtime.verifier import auc, within
from . import luck
from .evidence import Solutions, possible

PROBABLE = ("frequency", "yes", "outcome", "process")
"""The verifiers whose score is the log of a probability."""


def opinions(profile: str, shown: Solutions) -> dict[str, np.ndarray]:
    """What each verifier says of the solutions [problems, samples]: the higher, the better; −∞ of what cannot be read.

    frequency: log of the share of other solutions that give the same answer. likelihood: mean log p a token. yes: log
    of P(yes) against P(no), asked whether it is right. outcome, process: log P(right) of the heads at the end of the
    solution; min, product: of the process head after the worst line, and after all lines, multiplied.
    Raises StoreError where the readings are not stored.
    """
    tables = study.tables("smollm2_verifiers", possible(profile, "smollm2"))
    stored = tables["scores"].sort_values(["problem", "sample"])
    same = shown.numbered[:, :, None] == shown.numbered[:, None, :]
    grid = lambda name: stored[name].to_numpy(float).reshape(shown.right.shape)
    share = (same.sum(2) - 1) / max(1, shown.n - 1)
    told = {"frequency": np.log(np.maximum(share, 1e-9)), "likelihood": shown.logp}
    told |= {"yes": log_expit(grid("yes")), "outcome": log_expit(grid("head")), "process": grid("last")}
    told |= {name: grid(name) for name in ("min", "product")}
    return {name: np.where(shown.numbered < 0, -np.inf, score) for name, score in told.items()}


def knows(
    score: np.ndarray, right: np.ndarray, resamples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """AUC within a problem of scores [problems, samples], mean over problems with both kinds, and its 95 % interval.

    Of solutions with a score: what cannot be read, −∞, is left out. Problems are resampled. Where no problem has both kinds, nothing is known: ½, between 0 and 1.
    """
    some, problem = score > -np.inf, np.repeat(np.arange(len(right)), right.shape[1]).reshape(right.shape)
    each = within(score[some], right[some], problem[some])
    if not len(each):
        return 0.5, (0.0, 1.0)
    return float(each.mean()), task_bootstrap(np.mean, (each,), resamples, seed)


def own_and_lucky(of: Solutions, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC within each problem that has both kinds, and what luck gives the same score there: [problems] each.

    The second takes for right what gives the right answer of another problem, the mean over all such answers: a
    verifier that only likes numbers of the kind that right answers are reaches as much by it. Left out: problems where no
    answer is right elsewhere, and solutions that cannot be read (a score of −∞).
    """
    right_answers = np.array([luck.number(r) for r in of.reference])
    found = []
    for i, (row, good, told) in enumerate(zip(of.answers, of.right, score, strict=True)):
        some = told > -np.inf
        good, told = good[some], told[some]
        if not good.any() or good.all():
            continue
        given = np.array([luck.number(a) for a in row[some]])
        elsewhere = [given == r for r in np.unique(right_answers[right_answers != right_answers[i]])]
        each = [auc(told, hit) for hit in elsewhere if hit.any() and not hit.all()]
        if each:
            found.append((auc(told, good), np.mean(each)))
    own, lucky = np.array(found).reshape(-1, 2).T
    return own, lucky


def beyond_luck(
    of: Solutions, score: np.ndarray, resamples: int, seed: int
) -> tuple[float, float, tuple[float, float]]:
    """Mean AUC that luck gives a score (`own_and_lucky`), the score's own less that, and its 95 % interval.

    Problems are resampled. Where no problem has both kinds, nothing is known: ½, and 0 between −1 and 1.
    """
    own, lucky = own_and_lucky(of, score)
    if not len(own):
        return 0.5, 0.0, (-1.0, 1.0)
    gap = own - lucky
    return float(lucky.mean()), float(gap.mean()), task_bootstrap(np.mean, (gap,), resamples, seed)


def overconfidence(log_p: np.ndarray, right: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Mean stated probability less the share right, over each problem's solutions that can be read [problems with any].

    log_p, right, read [problems, samples]. 0 is calibrated on average, however the solutions are told apart.
    """
    some = read.any(1)
    count = read[some].sum(1)
    stated = np.where(read, np.exp(np.where(read, log_p, 0.0)), 0.0)[some].sum(1)
    return (stated - (right & read)[some].sum(1)) / count


def best(of: Solutions, score: np.ndarray, budgets: Sequence[int]) -> np.ndarray:
    """Accuracy [problems, budgets] of the answer with the highest score of N solutions."""
    return of.chosen(budgets, "best", score)


def longer(of: Solutions) -> np.ndarray:
    """Mean tokens of a problem's right solutions less those of its wrong ones, of problems that have both.

    Of solutions whose answer can be read: what was cut off at the limit is long and wrong for that reason.
    """
    read = of.numbered >= 0
    gaps = [
        tokens[good & here].mean() - tokens[~good & here].mean()
        for tokens, good, here in zip(of.tokens, of.right, read, strict=True)
        if (good & here).any() and (~good & here).any()
    ]
    return np.array(gaps)
