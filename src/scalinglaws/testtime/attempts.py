"""Reading revision chains: what happens along them, and sequence against parallel sampling.

A list of `Chains` has one entry a seed. Accuracies are probabilities that the answer is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from . import policy
from .ensemble import Ensemble
from .readout import Chains, chains, ratio_interval, transitions

MOVES = ("right_to_wrong", "wrong_to_right", "verbatim")


def revised(table: pd.DataFrame, found: Ensemble) -> dict[float, list[Chains]]:
    """Share of right attempts in the finetuning data → the chains of each seed that has some, in order."""
    own = table[table["world"] == found.world]
    return {
        float(keep): [
            chains(own, found.views[s].answer, s, keep, found.world) for s in sorted(part["seed"].unique())
        ]
        for keep, part in own.groupby("keep_right")
    }


def moves(found: list[Chains], resamples: int, seed: int) -> dict[str, tuple[float, tuple[float, float]]]:
    """Share with its 95 % interval of each of `MOVES`, from one attempt to the next; see `transitions`."""
    counts = [transitions(c) for c in found]
    return {kind: ratio_interval(np.stack([c[kind] for c in counts]), resamples, seed) for kind in MOVES}


def along(found: list[Chains]) -> tuple[list[int], np.ndarray]:
    """Share right in attempts 1, 2, 3–4, 5–8, … of the longest chain, mean of the seeds.

    Returns the last attempt of each block, and the shares [blocks, problems].
    """
    right = np.mean([c.right[0] for c in found], axis=0)
    edges = [0, *(2**i for i in range(found[0].longest.bit_length()))]
    blocks = [(low, high) for low, high in pairwise(edges) if high <= found[0].longest]
    return [high for _, high in blocks], np.stack([right[:, low:high].mean(1) for low, high in blocks])


def gain(found: list[Chains], early: int, late: slice) -> np.ndarray:
    """Gain in share right [seeds, problems] from attempt `early` of all chains to the attempts `late` of the longest."""
    each = []
    for c in found:
        start = np.mean([r[:, early] for r in c.right if r.shape[1] > early], axis=0)
        each.append(c.right[0][:, late].mean(1) - start)
    return np.stack(each)


def first_rates(found: Chains) -> tuple[float, float]:
    """P(wrong → right) and P(right → wrong) at the first revision, all chains together."""
    a, b = np.concatenate([r[:, :2] for r in found.right if r.shape[1] > 1]).T
    return float((b & ~a).sum() / max((~a).sum(), 1)), float((a & ~b).sum() / max(a.sum(), 1))


def balance(found: Chains) -> float:
    """Where a chain with the rates of its first revision settles: p(w→r)/(p(w→r) + p(r→w)); 0 where nothing moves."""
    heals, flips = first_rates(found)
    return heals / (heals + flips) if heals + flips else 0.0


def two_ways(found: list[Chains], N: int, rule: str) -> np.ndarray:
    """Accuracy [2, seeds, problems] of N attempts in one chain, and of N first attempts."""
    ways = [(c.accuracy(1, N, rule), c.accuracy(N, N, rule, "flat")) for c in found]
    return np.swapaxes(ways, 0, 1)


def lengths(N: int) -> list[int]:
    """Attempts a chain, 1, 2, 4, … N, when N (a power of two) are split among equal chains."""
    return [2**i for i in range(N.bit_length())]


def ratios(found: list[Chains], N: int, selection: str = "hierarchical") -> np.ndarray:
    """Accuracy [lengths, seeds, problems] of N attempts in chains of each of `lengths`; see `Chains.accuracy`."""
    return np.array([[c.accuracy(N // n, N, selection=selection) for c in found] for n in lengths(N)])


def mixture(A: np.ndarray, bins: np.ndarray, group: Iterable[int], fold: np.ndarray) -> np.ndarray:
    """Accuracy [seeds, problems] of the mixture best on the group's problems outside the fold, the extremes left out.

    A [lengths, seeds, problems] with at least three lengths; bins [seeds, problems]; fold [problems].
    """
    group, out = list(group), np.empty(A.shape[1:])
    for f in range(int(fold.max()) + 1):
        for k in range(A.shape[1]):
            elsewhere = (fold != f) & np.isin(bins[k], group)
            pick = 1 + A[1:-1, k][:, elsewhere].mean(1).argmax()
            out[k, fold == f] = A[pick, k][fold == f]
    return out


def by_ratio(found: list[Chains], bins: np.ndarray, budgets: Sequence[int], seed: int) -> np.ndarray:
    """Accuracy [seeds, budgets, problems] when the length of the chains is chosen by bin, at 1 and the budgets.

    bins [seeds, problems]. At 1 it is the mean first attempt of all chains. Snell et al. (2024), Fig. 8.
    """
    single = np.stack([np.mean([r[:, 0] for r in c.right], axis=0) for c in found])
    chosen = [
        policy.cross_validated(ratios(found, N).swapaxes(0, 1)[:, :, None], bins, seed)[:, 0]
        for N in budgets
        if N > 1
    ]
    return np.stack([single, *chosen], axis=1)
