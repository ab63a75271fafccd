"""From stored tables to what a chapter compares: accuracies by strategy, budget, seed and problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .policy import BINS, quantile_bins
from .select import AGGREGATES, aggregate, choose, coverage, replay
from .study import decode, split


@dataclass
class Sampled:
    """Stored samples of one world, proposer and seed, in the order of the problems.

    right, n [problems]: how many of how many samples are right; greedy [problems];
    answers, last [problems, samples]: answer token (−1: unfinished) and log P of the last step;
    steps: per problem, log P at each step of each distinct solution; draws: which one a sample is.
    """

    answer: np.ndarray
    right: np.ndarray
    n: np.ndarray
    greedy: np.ndarray
    difficulty: np.ndarray
    answers: np.ndarray
    last: np.ndarray
    draws: np.ndarray
    steps: list[list[np.ndarray]]
    lengths: np.ndarray
    flops_per_token: float

    @property
    def pass_1(self) -> np.ndarray:
        """Share of right samples of each problem."""
        return self.right / self.n

    @property
    def predicted(self) -> np.ndarray:
        """Mean final score of each problem's samples: difficulty without the answers."""
        return np.exp(self.last).mean(1)

    def bins(self, kind: str = "oracle") -> np.ndarray:
        """Difficulty bins, 0 the easiest: "oracle" from pass@1, "predicted" from the verifier."""
        return quantile_bins(self.pass_1 if kind == "oracle" else self.predicted)

    def curve(self, rule: str, budgets, how: str = "last", power: float = 1.0) -> np.ndarray:
        """Accuracy [budgets, problems] of majority, best or weighted best-of-N, replayed from the samples.

        how: one of `AGGREGATES`; power: the score is raised to it before it chooses.
        """
        score = self.last if how == "last" else self.aggregated(how)
        return self.replayed(power * score, rule, budgets)

    def replayed(self, log_score: np.ndarray, rule: str, budgets) -> np.ndarray:
        """Accuracy [budgets, problems] when the samples have these log scores [problems, samples]."""
        rows = zip(self.answers, log_score, self.answer, strict=True)
        return np.stack([replay(a, s, right, budgets, rule) for a, s, right in rows], 1)

    def believed(self, budgets) -> np.ndarray:
        """Mean P [budgets] that the verifier gives the best-scored of N samples, over disjoint blocks of N."""
        problems, stored = self.last.shape
        blocks = [self.last[:, : stored // N * N].reshape(problems, -1, N) for N in budgets]
        return np.array([np.exp(b.max(2)).mean() for b in blocks])

    def aggregated(self, how: str) -> np.ndarray:
        """log score [problems, samples] of each sample by its steps: one of `AGGREGATES`."""
        assert how in AGGREGATES
        out = np.empty(self.draws.shape)
        for i, steps in enumerate(self.steps):
            each = np.array([aggregate(s, how) if len(s) else -np.inf for s in steps])
            out[i] = each[self.draws[i]]
        return out

    def coverage(self, budgets) -> np.ndarray:
        """pass@N [budgets, problems]."""
        right = self.answers == self.answer[:, None]
        return np.stack([coverage(r, budgets) for r in right], 1)


def sampled(
    samples: pd.DataFrame, scores: pd.DataFrame, seed: int, verifier="mc", world="chain", proposer="base"
):
    """One seed's samples with one verifier's scores. Raises KeyError where there are none."""
    s = samples[(samples.world == world) & (samples.proposer == proposer) & (samples.seed == seed)]
    c = scores[(scores.world == world) & (scores.proposer == proposer) & (scores.seed == seed)]
    c = c[c.verifier == verifier]
    if not len(s) or len(c) != len(s):
        raise KeyError(f"no stored samples of {world}, {proposer}, seed {seed} scored by {verifier}")
    s, c = s.sort_values("problem"), c.sort_values("problem")
    draws = np.stack(s["draws"].to_list()).astype(int)
    steps = [split(decode(codes), counts) for codes, counts in zip(c["codes"], c["steps"], strict=True)]
    ends = [np.array([x[-1] if len(x) else -np.inf for x in each]) for each in steps]
    answers = [np.where(a > 0, a.astype(int), -1) for a in s["answers"]]
    return Sampled(
        answer=s["answer"].to_numpy(),
        right=s["right"].to_numpy(),
        n=s["samples"].to_numpy(),
        greedy=s["greedy"].to_numpy(),
        difficulty=s["difficulty"].to_numpy(),
        answers=np.stack([a[d] for a, d in zip(answers, draws, strict=True)]),
        last=np.stack([e[d] for e, d in zip(ends, draws, strict=True)]),
        draws=draws,
        steps=steps,
        lengths=np.stack([n[d] for n, d in zip(s["lengths"], draws, strict=True)]).astype(int),
        flops_per_token=float(s["flops_per_token"].iloc[0]),
    )


def searched(searches: pd.DataFrame, method: str, seed: int, verifier="mc", world="chain", column="right"):
    """Accuracy (or another column) [budgets, problems] of a stored search, and its budgets."""
    t = searches[
        (searches.world == world)
        & (searches.method == method)
        & (searches.seed == seed)
        & (searches.verifier == verifier)
    ]
    if not len(t):
        raise KeyError(f"no stored search {method} with {verifier}, {world}, seed {seed}")
    wide = t.pivot(index="budget", columns="problem", values=column)
    return wide.to_numpy(float), wide.index.to_numpy()


def greedy(samples: pd.DataFrame, world: str, proposer: str = "large") -> tuple[np.ndarray, float]:
    """Whether each greedy answer is right [seeds, problems], and FLOPs a token. Raises KeyError where there are none."""
    part = samples[(samples["world"] == world) & (samples["proposer"] == proposer)]
    if not len(part):
        raise KeyError(f"no stored samples of {world}, {proposer}")
    wide = part.pivot(index="seed", columns="problem", values="greedy")
    return wide.to_numpy(float), float(part["flops_per_token"].iloc[0])


def bare_answers(samples: pd.DataFrame, seed: int, proposer: str = "answer", world: str = "chain"):
    """Answer tokens [problems, samples] (−1: none) of a proposer whose samples no verifier scores."""
    t = samples[(samples["world"] == world) & (samples["proposer"] == proposer) & (samples["seed"] == seed)]
    rows = zip(t.sort_values("problem")["answers"], t.sort_values("problem")["draws"], strict=True)
    return np.stack([np.where(a > 0, a.astype(int), -1)[d.astype(int)] for a, d in rows])


def proposers(samples: pd.DataFrame) -> pd.DataFrame:
    """A row a world and proposer, by world and cost: what it costs and how often it is right.

    Columns: world, proposer, seeds (how many), flops (a token), pass_1 (share of right samples), by_bin (the same
    [bins], in the difficulty bins of the base of the same world and seed, mean of the seeds), greedy (share right).
    """
    ease = samples.assign(share=samples["right"] / samples["samples"])
    ease = ease.sort_values(["world", "flops_per_token", "seed", "problem"], kind="stable")
    rulers = ease[ease["proposer"] == "base"].groupby(["world", "seed"])["share"]
    bins = {place: quantile_bins(ruler.to_numpy()) for place, ruler in rulers}
    rows = []
    for (world, name), part in ease.groupby(["world", "proposer"], sort=False):
        each = [
            by_bin(one["share"].to_numpy(), bins[place]) for place, one in part.groupby(["world", "seed"])
        ]
        cost, right = part["flops_per_token"].iloc[0], part[["share", "greedy"]].mean()
        rows.append((world, name, len(each), cost, right["share"], np.mean(each, axis=0), right["greedy"]))
    return pd.DataFrame(rows, columns=["world", "proposer", "seeds", "flops", "pass_1", "by_bin", "greedy"])


def as_table(series: dict[str, tuple], label: str) -> pd.DataFrame:
    """Lines of a figure as rows: series name → (N, accuracy, low, high), each [budgets]; label names the series."""
    columns = [label, "N", "accuracy", "low", "high"]
    rows = [(name, *row) for name, line in series.items() for row in zip(*line, strict=True)]
    return pd.DataFrame(rows, columns=columns)


def bins_table(accuracy: np.ndarray, budgets, column: str = "N") -> pd.DataFrame:
    """Accuracy [budgets, bins] as rows of (column, bin from 1, accuracy)."""
    rows = [(N, b + 1, a) for N, row in zip(budgets, accuracy, strict=True) for b, a in enumerate(row)]
    return pd.DataFrame(rows, columns=[column, "bin", "accuracy"])


def by_bin(accuracy: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Mean accuracy [..., bins] of an array [..., problems]."""
    return np.stack([accuracy[..., bins == b].mean(-1) for b in range(BINS)], -1)


@dataclass
class Chains:
    """Stored revision chains of one seed: lists by chain of arrays [problems, attempts]."""

    answers: list[np.ndarray]
    right: list[np.ndarray]
    score: list[np.ndarray]
    verbatim: list[np.ndarray]
    answer: np.ndarray

    @property
    def longest(self) -> int:
        """Attempts of the longest chain, the budget N."""
        return self.right[0].shape[1]

    def split(self, parallel: int, N: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(answers, scores) [problems, N/parallel] of so many chains within a budget of N attempts."""
        length = N // parallel
        return [(self.answers[c][:, :length], self.score[c][:, :length]) for c in range(parallel)]

    def accuracy(
        self, parallel: int, N: int, rule: str = "weighted", selection: str = "hierarchical"
    ) -> np.ndarray:
        """Accuracy [problems] of `parallel` chains of N/parallel attempts.

        "hierarchical": `rule` within each chain, then among the winners, each with the best score of
        its attempts; "flat": `rule` over all attempts at once.
        """
        parts = self.split(parallel, N)
        out = np.empty(len(self.answer))
        for i, answer in enumerate(self.answer):
            answers = [a[i] for a, _ in parts]
            scores = [s[i] for _, s in parts]
            if selection == "hierarchical":
                winners = [_winner(a, s, rule) for a, s in zip(answers, scores, strict=True)]
                answers = [np.array([w[0] for w in winners])]
                scores = [np.array([w[1] for w in winners])]
            chosen = choose(np.concatenate(answers), np.concatenate(scores), rule)
            out[i] = chosen.get(int(answer), 0.0)
        return out


def _winner(answers, scores, rule) -> tuple[int, float]:
    chosen = choose(answers, scores, rule)
    if not chosen:
        return -1, -np.inf
    best = {a: scores[answers == a].max() for a in chosen}
    top = max(best, key=lambda a: (best[a], a))
    return top, float(best[top])


def chains(table: pd.DataFrame, answer: np.ndarray, seed: int, keep_right: float, world="chain") -> Chains:
    """One seed's chains. Raises KeyError where there are none."""
    t = table[(table.world == world) & (table.seed == seed) & (table.keep_right == keep_right)]
    if not len(t):
        raise KeyError(f"no stored chains of {world}, seed {seed}, keep_right {keep_right}")
    out = Chains([], [], [], [], answer)
    for _, c in t.sort_values(["chain", "problem"]).groupby("chain"):
        answers = np.stack(c["answers"].to_list()).astype(int)
        out.answers.append(np.where(answers > 0, answers, -1))
        out.right.append(np.stack(c["right"].to_list()))
        out.score.append(decode(np.stack(c["codes"].to_list())))
        out.verbatim.append(np.stack(c["verbatim"].to_list()))
    return out


def transitions(found: Chains) -> dict[str, np.ndarray]:
    """Per problem: attempts that were right and became wrong, and the other way, with how many could have.

    {"right_to_wrong": [problems, 2], "wrong_to_right": [problems, 2], "verbatim": [problems, 2]} of (count, out of).
    """
    out = {k: np.zeros((len(found.answer), 2)) for k in ("right_to_wrong", "wrong_to_right", "verbatim")}
    for right, same in zip(found.right, found.verbatim, strict=True):
        a, b = right[:, :-1], right[:, 1:]
        out["right_to_wrong"] += np.stack([(a & ~b).sum(1), a.sum(1)], 1)
        out["wrong_to_right"] += np.stack([(~a & b).sum(1), (~a).sum(1)], 1)
        out["verbatim"] += np.stack([same[:, 1:].sum(1), np.full(len(a), b.shape[1])], 1)
    return out


def ratio_interval(counts: np.ndarray, resamples: int, seed: int) -> tuple[float, tuple[float, float]]:
    """Σ count/Σ out-of of counts [problems, 2] or [seeds, problems, 2], and its 95 % interval.

    Seeds are resampled, then problems, the same for all seeds.
    """
    counts = np.asarray(counts, float)
    counts = counts.reshape(-1, *counts.shape[-2:])
    S, n, _ = counts.shape
    rng = np.random.default_rng(seed)
    seeds = np.vstack([np.ones(S), rng.multinomial(S, np.full(S, 1 / S), resamples)])
    problems = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), resamples)])
    total = np.einsum("bs,bn,snk->bk", seeds, problems, counts, optimize=True)
    whole, *drawn = total[:, 0] / np.maximum(total[:, 1], 1)
    return float(whole), tuple(np.quantile(drawn, [0.025, 0.975]))
