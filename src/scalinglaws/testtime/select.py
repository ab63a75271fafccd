"""Choosing an answer among several: majority, best-of-N, weighted best-of-N, and replays of stored samples.

Rules are exact about ties: the value of a choice is the share of the tied answers that is right,
so that the order of the samples changes nothing and no answer is favoured.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RULES = ("majority", "best", "weighted")
AGGREGATES = ("last", "min", "product")


def aggregate(steps: np.ndarray, how: str) -> float:
    """One score from the log P of a solution's steps: the last, the smallest, or their sum (a product of P)."""
    if how == "last":
        return float(steps[-1])
    if how == "min":
        return float(steps.min())
    if how == "product":
        return float(steps.sum())
    raise ValueError(f"aggregate {how!r} must be one of {', '.join(AGGREGATES)}")


def choose(answers: np.ndarray, log_score: np.ndarray, rule: str) -> dict[int, float]:
    """The chosen answers and their shares (more than one when tied). answers < 0 are unfinished and never chosen.

    "majority": the most frequent answer. "best": the answer of the highest score. "weighted": the
    answer with the largest sum of scores P over its samples (Li et al. 2023).
    """
    answers, log_score = np.asarray(answers), np.asarray(log_score, float)
    there = answers >= 0
    answers, log_score = answers[there], log_score[there]
    if not len(answers):
        return {}
    kinds, back = np.unique(answers, return_inverse=True)
    if rule == "majority":
        votes = np.bincount(back).astype(float)
    elif rule == "weighted":
        best = log_score.max()
        votes = np.bincount(back, np.exp(log_score - (best if np.isfinite(best) else 0.0)))
    elif rule == "best":
        votes = np.full(len(kinds), -np.inf)
        np.maximum.at(votes, back, log_score)
    else:
        raise ValueError(f"rule {rule!r} must be one of {', '.join(RULES)}")
    top = kinds[votes >= votes.max() - 1e-9 * max(1.0, abs(votes.max()))]
    return dict.fromkeys(top.tolist(), 1 / len(top))


def accuracy(answers, log_score, right_answer: int, rule: str) -> float:
    """Probability that the chosen answer is right."""
    return choose(answers, log_score, rule).get(right_answer, 0.0)


def replay(answers: np.ndarray, log_score: np.ndarray, right_answer: int, budgets, rule: str) -> np.ndarray:
    """Accuracy at each budget N, the mean over the disjoint blocks of N of one problem's samples.

    Disjoint blocks are independent draws, so the mean is unbiased. The rules are those of `choose`, for
    all blocks at once. Raises ValueError for a budget above the number of samples.
    """
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} must be one of {', '.join(RULES)}")
    answers, log_score = np.asarray(answers), np.asarray(log_score, float)
    kinds = np.unique(answers[answers >= 0])
    gives = answers[:, None] == kinds  # [samples, kinds]
    out = np.empty(len(budgets))
    for b, N in enumerate(budgets):
        if N > len(answers):
            raise ValueError(f"budget {N} asks for more than the {len(answers)} stored samples")
        out[b] = _blocks(gives, log_score, kinds == right_answer, N, rule)
    return out


def _blocks(gives: np.ndarray, log_score: np.ndarray, right: np.ndarray, N: int, rule: str) -> float:
    """Mean over blocks of N of the share of the chosen answers that is right. gives [samples, kinds], right [kinds]."""
    n, K = len(log_score) // N * N, gives.shape[1]
    if not K:
        return 0.0
    there, score = gives[:n].reshape(-1, N, K), log_score[:n].reshape(-1, N, 1)
    if rule == "majority":
        votes = there.sum(1).astype(float)
    else:
        finished = np.where(there.any(2, keepdims=True), score, -np.inf)
        best = finished.max(1, keepdims=True)
        best = np.where(np.isfinite(best), best, 0.0)
        votes = np.where(
            there,
            np.exp(finished - best) if rule == "weighted" else score,
            -np.inf if rule == "best" else 0.0,
        )
        votes = votes.max(1) if rule == "best" else votes.sum(1)
    voted = there.any(1)
    votes = np.where(voted, votes, -np.inf)
    most = votes.max(1, keepdims=True)
    top = voted & (votes >= most - 1e-9 * np.maximum(1.0, np.abs(most)))
    return float(((top & right).sum(1) / np.maximum(top.sum(1), 1)).mean())


def coverage(right: np.ndarray, budgets) -> np.ndarray:
    """pass@N of one problem from n samples: 1 − C(n − c, N)/C(n, N), exact (Chen et al. 2021)."""
    n, c = len(right), int(np.sum(right))
    found = []
    for N in budgets:
        factors = 1 - N / np.arange(n - c + 1, n + 1)
        found.append(1.0 if n - c < N else 1.0 - float(np.prod(factors)))
    return np.array(found)


def paired_bootstrap(
    difference: np.ndarray, resamples: int, seed: int, statistic: Callable = np.mean
) -> tuple[float, float]:
    """95 % interval of a statistic of per-problem values [problems, …], problems resampled."""
    rng = np.random.default_rng(seed)
    n = len(difference)
    drawn = [statistic(difference[rng.integers(n, size=n)]) for _ in range(resamples)]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def band(values: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [budgets] of values [seeds, budgets, problems] and the ends of its 95 % intervals, problems resampled."""
    own = values.mean(0)
    low, high = np.array([paired_bootstrap(a, resamples, seed) for a in own]).T
    return own.mean(1), low, high


def seed_means(values: np.ndarray, of_seeds: np.ndarray, of_problems: np.ndarray) -> np.ndarray:
    """Means [B] of values [seeds, problems] under counts of seeds [B, seeds] and of problems [B, problems].

    The mean is over problems of the mean over the seeds that have a value there; NaN says that a problem does not
    count with a seed. NaN where nothing is left.
    """
    there = ~np.isnan(values)
    count = of_seeds @ there
    each = of_seeds @ np.where(there, values, 0.0) / np.maximum(count, 1)
    weight = of_problems * (count > 0)
    with np.errstate(invalid="ignore"):
        return (weight * each).sum(1) / weight.sum(1)


def seed_draws(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Resampled means [resamples] of values [seeds, problems], as `seed_bootstrap` draws them."""
    values, rng = np.atleast_2d(np.asarray(values, float)), np.random.default_rng(seed)
    S, n = values.shape
    of_seeds = rng.multinomial(S, np.full(S, 1 / S), resamples)
    return seed_means(values, of_seeds, rng.multinomial(n, np.full(n, 1 / n), resamples))


def seed_bootstrap(values: np.ndarray, resamples: int, seed: int) -> tuple[float, tuple[float, float]]:
    """Mean (`seed_means`) and 95 % interval of values [seeds, problems]: seeds are resampled, then problems, the same for all seeds.

    With one seed only problems are resampled, and the interval says nothing about training anew.
    """
    values = np.atleast_2d(np.asarray(values, float))
    drawn, (S, n) = seed_draws(values, resamples, seed), values.shape
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(seed_means(values, np.ones((1, S)), np.ones((1, n)))[0]), (float(low), float(high))
