"""Compute-optimal policies: the best strategy for each difficulty and budget, chosen on other problems.

Accuracies are arrays A [strategies, budgets, problems]; a problem's entry is the probability that the
strategy's answer is right. Snell et al. (2024), Section 3.2, first version for the two folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 5


def quantile_bins(ease: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Difficulty bin of each problem, 0 the easiest: equal shares by falling `ease`, ties by place."""
    order = np.argsort(-np.asarray(ease, float), kind="stable")
    out = np.empty(len(order), int)
    for b, members in enumerate(np.array_split(order, bins)):
        out[members] = b
    return out


def folds(n: int, seed: int, count: int = 2) -> np.ndarray:
    """A random fold of equal size for each problem."""
    return np.random.default_rng(seed).permutation(np.arange(n) % count)


@dataclass(frozen=True)
class Policy:
    """choice [folds, bins, budgets]: the strategy that was best outside the fold; accuracy [budgets, problems]."""

    choice: np.ndarray
    accuracy: np.ndarray


def compute_optimal(
    A: np.ndarray, bins: np.ndarray, fold: np.ndarray, shown: np.ndarray | None = None
) -> Policy:
    """Choose per bin and budget on the other folds, and apply to the fold.

    `shown` [problems]: the bins that are believed when the policy is applied (default: `bins`).
    A bin that is empty outside the fold takes the strategy best on all problems there. Ties go to the first.
    """
    shown = bins if shown is None else shown
    count, last = int(fold.max()) + 1, int(max(bins.max(), shown.max())) + 1
    choice = np.zeros((count, last, A.shape[1]), int)
    accuracy = np.empty(A.shape[1:])
    for f in range(count):
        for b in range(last):
            there = (fold != f) & (bins == b)
            there = there if there.any() else fold != f
            choice[f, b] = A[:, :, there].mean(2).argmax(0)
            here = (fold == f) & (shown == b)
            for k in range(A.shape[1]):
                accuracy[k, here] = A[choice[f, b, k], k, here]
    return Policy(choice, accuracy)


def cross_validated(
    A: np.ndarray, bins: np.ndarray, seed: int, shown: np.ndarray | None = None
) -> np.ndarray:
    """Accuracy [seeds, budgets, problems] of `compute_optimal` in each seed by itself, the k-th with folds from seed + k.

    A [seeds, strategies, budgets, problems]; bins, shown [seeds, problems].
    """
    shown = bins if shown is None else shown
    parts = enumerate(zip(A, bins, shown, strict=True))
    each = [compute_optimal(a, b, folds(A.shape[-1], seed + k), believed) for k, (a, b, believed) in parts]
    return np.stack([one.accuracy for one in each])


def table(A: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """The best strategy [bins, budgets] of A [strategies, budgets, problems], no fold kept apart. Ties go to the first."""
    return np.stack([A[:, :, bins == b].mean(2).argmax(0) for b in range(BINS)])


def apply(A: np.ndarray, choice: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Accuracy [budgets, problems] when a table [bins, budgets] is followed in A [strategies, budgets, problems]."""
    budgets, problems = np.arange(A.shape[1])[:, None], np.arange(A.shape[2])
    return A[choice[bins].T, budgets, problems]


def efficiency(policy: np.ndarray, baseline: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """How many times less budget the policy needs than the baseline for the baseline's accuracy at each budget.

    policy, baseline: accuracy [budgets]. The policy's curve is made monotone from the left and
    interpolated in log budget. NaN where the policy never gets there, and where its smallest budget
    is already enough, the factor is at least the one returned.
    """
    best, logs = np.maximum.accumulate(policy), np.log(np.asarray(budgets, float))
    out = np.full(len(budgets), np.nan)
    for k, target in enumerate(baseline):
        if best[-1] < target:
            continue
        j = int(np.argmax(best >= target))
        at = logs[0]
        if j:
            share = (target - best[j - 1]) / (best[j] - best[j - 1])
            at = logs[j - 1] + share * (logs[j] - logs[j - 1])
        out[k] = np.exp(logs[k] - at)
    return out


def efficiency_interval(
    policy: np.ndarray, baseline: np.ndarray, budgets: np.ndarray, k: int, resamples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """`efficiency` at the k-th budget and its 95 % interval; 0 where the policy never gets there.

    policy, baseline [seeds, budgets, problems]: seeds are resampled, then problems, the same for both.
    """
    rng, (S, _, n) = np.random.default_rng(seed), policy.shape

    def one(seeds, problems):
        a, b = (X[seeds].mean(0)[:, problems].mean(1) for X in (policy, baseline))
        return float(np.nan_to_num(efficiency(a, b, budgets)[k]))

    drawn = [one(rng.integers(S, size=S), rng.integers(n, size=n)) for _ in range(resamples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return one(np.arange(S), np.arange(n)), (float(low), float(high))


def misjudged(bins: np.ndarray, share: float, by: int, rng: np.random.Generator) -> np.ndarray:
    """Bins of which a share is believed `by` bins easier or harder; where one way leaves the range, the other.

    `by` must be at most half of the range, or a bin in the middle could not be moved.
    """
    top = int(bins.max())
    if 2 * by > top + 1:
        raise ValueError(f"bins 0 to {top} cannot all be moved by {by}")
    wrong = rng.random(len(bins)) < share
    step = np.where(rng.random(len(bins)) < 0.5, -by, by)
    moved = bins + step
    moved = np.where((moved < 0) | (moved > top), bins - step, moved)
    return np.where(wrong, moved, bins)


def multiplier(M: float, R: float, version: str = "v1") -> float:
    """Generations of the small model that cost as much as one greedy answer of a model M times its size.

    R = D_inference/D_pretraining. Pretraining costs 6·N·D. "v1" (arXiv): inference costs 2·N·D, so
    M + 3/R·(M − 1). "cr" (ICLR 2025) counts the verifier too, 4·N·D: M + 1.5/R·(M − 1).
    Raises ValueError for another version.
    """
    factors = {"v1": 3.0, "cr": 1.5}
    if version not in factors:
        raise ValueError(f"version {version!r} must be one of {', '.join(factors)}")
    return M + factors[version] / R * (M - 1)


def adaptive(
    A: np.ndarray, budgets: np.ndarray, bins: np.ndarray, fold: np.ndarray, mean_budget: float
) -> np.ndarray:
    """Accuracy [problems] when a common mean budget is shared out among bins instead of spent evenly.

    A [budgets, problems] of one strategy. Greedy on the other folds: the bin whose next budget gains
    most accuracy per generation gets it, while the mean over problems stays within `mean_budget`.
    """
    accuracy = np.empty(A.shape[1])
    for f in range(int(fold.max()) + 1):
        level = share_out(A[:, fold != f], budgets, bins[fold != f], mean_budget)
        for b, k in enumerate(level):
            here = (fold == f) & (bins == b)
            accuracy[here] = A[k, here]
    return accuracy


def share_out(A: np.ndarray, budgets: np.ndarray, bins: np.ndarray, mean_budget: float) -> np.ndarray:
    """The budget index of each bin: start at the smallest, give where the gain per generation is largest."""
    count = int(bins.max()) + 1
    sizes = np.array([(bins == b).sum() for b in range(count)])
    gain = np.array([A[:, bins == b].sum(1) if (bins == b).any() else np.zeros(len(A)) for b in range(count)])
    level = np.zeros(count, int)
    total = float(sizes.sum() * mean_budget)
    while True:
        best, who = 0.0, None
        for b in range(count):
            for k in range(level[b] + 1, len(budgets)):  # a flat stretch may hide a gain behind it
                cost = sizes[b] * (budgets[k] - budgets[level[b]])
                spent = float((sizes * np.asarray(budgets)[level]).sum())
                if sizes[b] and spent + cost <= total + 1e-9:
                    rate = (gain[b, k] - gain[b, level[b]]) / cost
                    if rate > best:
                        best, who = rate, (b, k)
        if who is None:
            return level
        level[who[0]] = who[1]
