"""The seeds of one world's base model together: what each method reaches, by seed, budget and problem.

Arrays are [seeds, budgets, problems] unless a docstring says otherwise; an entry is the probability that
the answer is right, between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import policy
from .readout import Sampled, by_bin, sampled, searched
from .select import seed_draws, seed_means

BUDGETS = (1, 4, 16, 64, 256)
SEARCHES = ("weighted", "beam", "beam_sqrt", "lookahead_1", "lookahead_3")
"""The paper's strategies for the compute-optimal search policy."""


@dataclass(frozen=True)
class Ensemble:
    """One world's base model and its verifier, a seed a training.

    views: seed → its stored samples; searches: the stored searches of all worlds and verifiers.
    """

    world: str
    verifier: str
    views: dict[int, Sampled]
    searches: pd.DataFrame

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending: the first axis of every array."""
        return list(self.views)

    @property
    def first(self) -> Sampled:
        """The samples of the first seed."""
        return self.views[self.seeds[0]]

    @property
    def problems(self) -> int:
        """How many test problems there are."""
        return len(self.first.answer)

    @property
    def stored(self) -> int:
        """Samples of a problem that are stored one by one."""
        return self.first.draws.shape[1]

    def budgets(self, among: Iterable[int] = BUDGETS) -> list[int]:
        """Those of the budgets N for which enough samples are stored."""
        return [N for N in among if N <= self.stored]

    def bins(self, kind: str = "oracle") -> np.ndarray:
        """Difficulty bins [seeds, problems], 0 the easiest; see `Sampled.bins`."""
        return np.stack([v.bins(kind) for v in self.views.values()])

    @property
    def pass_1(self) -> np.ndarray:
        """Share of right samples [seeds, problems]."""
        return np.stack([v.pass_1 for v in self.views.values()])

    def curve(self, rule: str, budgets: Sequence[int], how: str = "last", power: float = 1.0) -> np.ndarray:
        """Accuracy of choosing among N whole samples; see `Sampled.curve`."""
        return np.stack([v.curve(rule, budgets, how, power) for v in self.views.values()])

    def coverage(self, budgets: Sequence[int]) -> np.ndarray:
        """Probability that a right answer is among N samples."""
        return np.stack([v.coverage(budgets) for v in self.views.values()])

    def searched(self, method: str, column: str = "right") -> np.ndarray:
        """Accuracy (or another column) of a stored search. Raises KeyError where there is none."""
        return np.stack(
            [searched(self.searches, method, s, self.verifier, self.world, column)[0] for s in self.seeds]
        )

    def searched_budgets(self, method: str = "beam") -> list[int]:
        """The budgets of a stored search, ascending. Raises KeyError where there is none."""
        return searched(self.searches, method, self.seeds[0], self.verifier, self.world)[1].tolist()

    def within(self, each: np.ndarray, group: Iterable[int]) -> np.ndarray:
        """Values [seeds, problems], NaN where a problem is of a bin outside the group."""
        return np.where(np.isin(self.bins(), list(group)), each, np.nan)

    def by_bin(self, values: np.ndarray) -> np.ndarray:
        """Mean over seeds of the mean in each bin [..., bins] of values [seeds, ..., problems]."""
        return np.mean([by_bin(v, b) for v, b in zip(values, self.bins(), strict=True)], axis=0)

    def strategies(self, methods: Sequence[str] = SEARCHES) -> np.ndarray:
        """Accuracy [seeds, strategies, budgets, problems] at 1 and the budgets that were searched.

        With one generation there is nothing to search: every strategy is one sample.
        """
        rest = self.searched_budgets()
        sampling = self.curve("weighted", [1, *rest])
        found = [sampling[:, 1:] if m == "weighted" else self.searched(m) for m in methods]
        return np.stack([np.concatenate([sampling[:, :1], f], axis=1) for f in found], axis=1)

    def optimal(self, seed: int, kind: str = "oracle", methods: Sequence[str] = SEARCHES) -> np.ndarray:
        """Accuracy of the compute-optimal policy over methods, at 1 and the budgets that were searched.

        Snell et al. (2024), Section 3.2, first version; see `policy.cross_validated`.
        """
        return policy.cross_validated(self.strategies(methods), self.bins(kind), seed)


def load(tables: dict[str, pd.DataFrame], world: str = "chain", verifier: str = "mc") -> Ensemble:
    """All seeds of a world's base model with one verifier's scores. Raises KeyError where there are none."""
    samples = tables["samples"]
    own = samples[(samples["world"] == world) & (samples["proposer"] == "base")]
    seeds = sorted(own["seed"].unique().tolist())
    if not seeds:
        raise KeyError(f"no stored samples of {world}")
    views = {s: sampled(samples, tables["scores"], s, verifier, world) for s in seeds}
    return Ensemble(world, verifier, views, tables["searches"])


def one_seed(tables: dict[str, pd.DataFrame], seed: int, verifiers: Iterable[str]) -> dict[str, Sampled]:
    """One seed's samples in the chain with the scores of each verifier. Raises KeyError where there are none."""
    return {v: sampled(tables["samples"], tables["scores"], seed, v) for v in verifiers}


def beam_gains(tables: dict[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """What beam search gains over weighted best-of-N with the same verifier, in the chain, a row a verifier and budget N.

    Columns: verifier, within (its AUC within problems), N, gain (mean over problems), error (the standard error
    of the gain at the smallest budget).
    """
    quality, searches, rows = tables["verifiers"], tables["searches"], []
    own = quality[(quality["world"] == "chain") & (quality["proposer"] == "base") & (quality["seed"] == seed)]
    here = searches[
        (searches["world"] == "chain") & (searches["method"] == "beam") & (searches["seed"] == seed)
    ]
    for row in own[own["verifier"].isin(here["verifier"].unique())].itertuples():
        view = sampled(tables["samples"], tables["scores"], seed, row.verifier)
        found, budgets = searched(searches, "beam", seed, row.verifier)
        each = found - view.curve("weighted", budgets)
        about = {"verifier": row.verifier, "within": row.within}
        error = each[0].std() / each.shape[1] ** 0.5
        rows += [
            about | {"N": N, "gain": g, "error": error} for N, g in zip(budgets, each.mean(1), strict=True)
        ]
    return pd.DataFrame(rows)


def exchange(
    found: Ensemble,
    policy: np.ndarray,
    large: np.ndarray,
    groups: Mapping[str, Iterable[int]],
    resamples: int,
    seed: int,
) -> dict[str, dict]:
    """What a trade between search and size is computed from, by group of difficulty bins.

    policy: accuracy [seeds, budgets, problems] of the small model; large: [seeds, problems] of the large one.
    small: group → accuracy a budget; large: group → accuracy; gaps: group → resamples [draws, budgets] of the
    difference, seeds and problems drawn anew (`seed_draws`), the same for every budget.
    """
    once = np.ones((1, len(found.seeds))), np.ones((1, found.problems))
    mean = lambda each, group: float(seed_means(found.within(each, group), *once)[0])
    steps = range(policy.shape[1])
    small = {g: [mean(policy[:, k], bins) for k in steps] for g, bins in groups.items()}
    gaps = {
        g: np.column_stack(
            [seed_draws(found.within(policy[:, k] - large, bins), resamples, seed) for k in steps]
        )
        for g, bins in groups.items()
    }
    return {"small": small, "large": {g: mean(large, bins) for g, bins in groups.items()}, "gaps": gaps}


def search_costs(found: Ensemble, N: int) -> pd.DataFrame:
    """What one problem costs at budget N, a row a method: means over seeds and problems.

    Columns: method, generated and scored (tokens written, tokens the verifier read), finals and unique
    (finished candidates, distinct ones), right, flops (of both, at the model's FLOPs a token).
    """
    t = found.searches
    t = t[(t["world"] == found.world) & (t["verifier"] == found.verifier) & (t["budget"] == N)]
    columns = ["generated", "scored", "finals", "unique", "right"]
    costs = t.groupby("method", sort=False)[columns].mean()
    views = list(found.views.values())
    tokens = N * np.mean([v.lengths.mean() for v in views])
    unique = np.mean([len(np.unique(d[:N])) for v in views for d in v.draws])
    costs.loc["weighted"] = [tokens, tokens, N, unique, found.curve("weighted", [N]).mean()]
    costs["flops"] = (costs["generated"] + costs["scored"]) * found.first.flops_per_token
    return costs.reset_index()
