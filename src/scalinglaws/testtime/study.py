"""A world's study from first training step to stored tables; every piece made once and kept.

The pieces depend on each other as the paper's do: problems → proposer → labels → verifiers →
scored samples and searches; samples → revision model → chains. Asking for a piece makes what it needs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict
from functools import cache

import numpy as np
import pandas as pd
import torch

from ..studies.artefacts import ArtefactStore
from . import labels as labelling
from . import proposer as proposing
from . import revision, search, tree
from .plan import Plan
from .proposer import Proposer, Rows
from .verifier import Verifier, auc, calibration, within
from .world import Problem, World
from .worlds import worlds

METHODS: dict[str, Callable[..., list[search.Found]]] = {
    "best_of": search.best_of,
    "beam": search.beam,
    "beam_sqrt": lambda e, p, N: search.beam(e, p, N, M=max(1, round(N**0.5))),
    "beam_distinct": lambda e, p, N: search.beam(e, p, N, distinct=True),
    "lookahead_1": lambda e, p, N: search.beam(e, p, N, lookahead=1),
    "lookahead_3": lambda e, p, N: search.beam(e, p, N, lookahead=3),
    "dvts": search.diverse,
    "mcts": tree.mcts,
}
PROBLEM_SEED = 2048
"""Test and training problems are the same for every seed of a world."""
CODE = 8.0
"""Log odds are stored in steps of 1/8 between −16 and 16: one byte a score."""


class Study:
    """One world, one seed of a plan."""

    def __init__(self, plan: Plan, seed: int, artefacts: ArtefactStore):
        self.plan, self.seed, self.artefacts = plan, seed, artefacts
        self.world: World = worlds()[plan.world]
        self.where = {"world": plan.world, "seed": seed}

    # -- problems ----------------------------------------------------------------------------

    @property
    def problems(self) -> list[Problem]:
        """The held-out problems of the target mix."""
        return test_problems(self.plan.world, self.plan.problems)

    def training_problems(self, n: int) -> list[Problem]:
        """Training problems of the target mix."""
        return self.world.sample(n, np.random.default_rng([PROBLEM_SEED, 1]), target=True)

    # -- models ------------------------------------------------------------------------------

    def _about(self, **more) -> dict:
        return self.where | more

    def _about_proposer(self, name: str) -> dict:
        recipe = asdict(self.plan.proposers[name]) | {"seed": self.seed}
        return self._about(model=name, size=asdict(self.plan.sizes[name]), recipe=recipe)

    def weights(self, name: str = "base") -> torch.Tensor:
        """Parameters of a proposer; a name that begins with "answer" is trained without the steps."""
        about = self._about_proposer(name)
        recipe = self._seeded(self.plan.proposers[name])
        return self.artefacts.artefact(
            "proposer",
            about,
            lambda: proposing.train(self.world, self.plan.sizes[name], recipe, name.startswith("answer")),
        )

    def _seeded(self, recipe):
        return type(recipe)(**asdict(recipe) | {"seed": self.seed})

    def proposer(self, name: str = "base", stream: int = 0, flat=None) -> Proposer:
        """A proposer that draws from its own stream of random numbers."""
        model = self.plan.sizes[name].transformer(len(self.world.tokens))
        flat = self.weights(name) if flat is None else flat
        return Proposer(self.world, model, flat, seed=2**21 * self.seed + stream)

    def labels(self) -> labelling.Labelled:
        """Labelled solutions of the base proposer on training problems."""
        plan = self.plan.labels
        about = self._about_proposer("base") | {"labels": plan}
        problems = self.training_problems(plan["questions"])
        return self.artefacts.artefact(
            "labels",
            about,
            lambda: labelling.label(self.proposer("base", 1), problems, plan["samples"], plan["rollouts"]),
        )

    def _about_verifier(self, name: str) -> dict:
        v = self.plan.verifiers[name]
        recipe = asdict(v.recipe) | {"seed": self.seed}
        trained = {
            "head": v.head,
            "kind": v.labels,
            "solutions": v.solutions,
            "flip": v.flip,
            "recipe": recipe,
        }
        return self._about_proposer("base") | {"labels": self.plan.labels, "verifier": trained}

    def verifier(self, name: str) -> Verifier:
        """A trained verifier."""
        v = self.plan.verifiers[name]

        def make():
            known = self.labels()
            data = known.take(v.solutions or len(known.solutions), v.flip, self.seed).examples(v.labels)
            fresh = Verifier(self.world, self.plan.sizes["base"], v.head)
            return fresh.train(self.weights(), data, self._seeded(v.recipe)).flat

        flat = self.artefacts.artefact("verifier", self._about_verifier(name), make)
        return Verifier(self.world, self.plan.sizes["base"], v.head, flat)

    # -- samples and their scores ------------------------------------------------------------

    def draws(self, name: str = "base") -> pd.DataFrame:
        """`difficulty` samples a test problem: how many are right, and the first `samples` of them.

        One row a problem; `solutions` holds the distinct ones end to end (`lengths` each), `draws` an
        index into them per sample, `answers` the answer token of each distinct one (0: unfinished).
        """
        n = self.plan.difficulty if name == "base" else self.plan.samples
        about = self._about_proposer(name) | {
            "problems": self.plan.problems,
            "draws": n,
            "kept": self.plan.samples,
        }
        return self.artefacts.table("samples", about, lambda: self._draw(name, n))

    def _draw(self, name: str, n: int) -> pd.DataFrame:
        proposer = self.proposer(name, 2)
        greedy = proposer.solve(self.problems, 1, 0.0)
        rows = proposer.solve(self.problems, n)
        per_token = self.plan.sizes[name].flops_per_token(len(self.world.tokens))
        out = []
        for i, problem in enumerate(self.problems):
            here = slice(i * n, (i + 1) * n)
            solutions, draws = _distinct(rows, range(i * n, i * n + self.plan.samples))
            out.append(
                {
                    **self.where,
                    "proposer": name,
                    "problem": i,
                    "difficulty": problem.difficulty,
                    "right": int((rows.answer[here] == problem.answer).sum()),
                    "samples": n,
                    "greedy": bool(greedy.answer[i] == problem.answer),
                    "answer": problem.answer,
                    "draws": draws,
                    "answers": np.array([max(0, self.world.answer(s)) for s in solutions], np.uint8),
                    "lengths": np.array([len(s) for s in solutions], np.uint8),
                    "solutions": np.array([t for s in solutions for t in s], np.uint8),
                    "flops_per_token": per_token,
                }
            )
        return pd.DataFrame(out)

    def scores(self, verifier: str, name: str = "base") -> pd.DataFrame:
        """Scores of every distinct stored sample at every step, coded; one row a problem."""
        about = self._about_verifier(verifier) | {
            "of": self._about_proposer(name),
            "problems": self.plan.problems,
        }
        return self.artefacts.table("scores", about, lambda: self._score(verifier, name))

    def _score(self, verifier: str, name: str) -> pd.DataFrame:
        table, judge = self.draws(name), self.verifier(verifier)
        contexts, solutions, owner = [], [], []
        for row in table.itertuples():
            for s in cut(row.solutions, row.lengths):
                contexts.append(self.problems[row.problem].prompt)
                solutions.append(s)
                owner.append(row.problem)
        steps, owner = judge.steps(contexts, solutions), np.array(owner)
        out = []
        for i in range(len(self.problems)):
            mine = np.flatnonzero(owner == i)
            out.append(
                {
                    **self.where,
                    "proposer": name,
                    "verifier": verifier,
                    "problem": i,
                    "steps": np.array([len(steps[j]) for j in mine], np.uint8),
                    "codes": encode(np.concatenate([steps[j] for j in mine])),
                }
            )
        return pd.DataFrame(out)

    def quality(self, verifier: str, name: str = "base") -> pd.DataFrame:
        """How good a verifier is on the stored samples of test problems: one row.

        `within`: AUC of right against wrong answers within a problem, mean over problems; `pooled`: over
        all; `step`: AUC of right against wrong prefixes; calibration of the last score.
        """
        about = self._about_verifier(verifier) | {
            "quality": self._about_proposer(name),
            "problems": self.plan.problems,
        }
        return self.artefacts.table("verifiers", about, lambda: self._quality(verifier, name))

    def _quality(self, verifier: str, name: str) -> pd.DataFrame:
        table, scored = self.draws(name), self.scores(verifier, name)
        last, right, owner, step, step_right = [], [], [], [], []
        for row, score in zip(table.itertuples(), scored.itertuples(), strict=True):
            steps = split(decode(score.codes), score.steps)
            ends = np.array([s[-1] if len(s) else -np.inf for s in steps])
            there = row.answers[row.draws] > 0
            last.append(ends[row.draws][there])
            right.append((row.answers == row.answer)[row.draws][there])
            owner.append(np.full(int(there.sum()), row.problem))
            problem = self.problems[row.problem]
            for s, solution in zip(steps, cut(row.solutions, row.lengths), strict=True):
                good = self.world.right_steps(problem, solution)
                step.append(s)
                step_right.append(np.arange(1, len(s) + 1) <= good)
        last, right, owner = map(np.concatenate, (last, right, owner))
        each, p = within(last, right, owner), np.exp(last)
        v = self.plan.verifiers[verifier]
        return pd.DataFrame(
            [
                {
                    **self.where,
                    "verifier": verifier,
                    "proposer": name,
                    "head": v.head,
                    "labels": v.labels,
                    "solutions": min(v.solutions or 10**9, len(self.labels().solutions)),
                    "flip": v.flip,
                    "train_steps": v.recipe.steps,
                    "within": each.mean(),
                    "within_se": each.std() / len(each) ** 0.5,
                    "within_problems": len(each),
                    "pooled": auc(last, right),
                    "step": auc(np.concatenate(step), np.concatenate(step_right)),
                    "brier": float(np.mean((p - right) ** 2)),
                    "calibration": calibration(p, right).ravel(),
                }
            ]
        )

    # -- search ------------------------------------------------------------------------------

    def searched(self, method: str, verifier: str, N: int, name: str = "base") -> pd.DataFrame:
        """One search a test problem: what it chose and what it cost, one row a problem."""
        about = self._about_verifier(verifier) | {
            "search": method,
            "votes": "every and distinct",
            "budget": N,
            "with": self._about_proposer(name),
            "problems": self.plan.problems,
        }
        return self.artefacts.table("searches", about, lambda: self._search(method, verifier, N, name))

    def _search(self, method: str, verifier: str, N: int, name: str) -> pd.DataFrame:
        stream = 100 + zlib.crc32(f"{method} {N}".encode()) % 2**20  # the same for every verifier
        engine = search.Models(self.proposer(name, stream), self.verifier(verifier), self.problems)
        found = search.in_batches(METHODS[method], engine, range(len(self.problems)), N)
        where = self.where | {"proposer": name, "verifier": verifier, "method": method, "budget": N}
        rows = [
            where | {"problem": i} | outcome(one, problem.answer)
            for i, (one, problem) in enumerate(zip(found, self.problems, strict=True))
        ]
        return pd.DataFrame(rows)

    # -- revision ----------------------------------------------------------------------------

    def revision_weights(self, keep_right: float) -> torch.Tensor:
        """The base proposer, continued on revision examples."""
        plan = self.plan.revision
        recipe = self._seeded(plan["recipe"])
        about = self._about_proposer("base") | {"revision": _plain(plan), "keep_right": keep_right}

        def make():
            data = revision.examples(
                self.proposer("base", 3),
                self.training_problems(plan["questions"]),
                plan["samples"],
                plan["each"],
                keep_right,
                self.seed,
            )
            return proposing.train(
                self.world, self.plan.sizes["base"], recipe, examples=data, start=self.weights()
            )

        return self.artefacts.artefact("revision", about, make)

    def chains(self, keep_right: float, N: int) -> pd.DataFrame:
        """Revision chains of lengths N, N/2, N/3, …, 1 a test problem, each attempt scored; one row a chain."""
        plan = self.plan.revision
        about = self._about_verifier(plan["verifier"]) | {
            "revision": _plain(plan),
            "keep_right": keep_right,
            "budget": N,
            "problems": self.plan.problems,
        }
        return self.artefacts.table("chains", about, lambda: self._chain(keep_right, N))

    def _chain(self, keep_right: float, N: int) -> pd.DataFrame:
        reviser = self.proposer("base", 4, self.revision_weights(keep_right))
        judge = self.verifier(self.plan.revision["verifier"])
        lengths = revision.ladder(N)
        steps = revision.chains(reviser, self.problems, lengths)
        out = []
        for c, attempts in enumerate(steps):
            answers = np.stack([a.answer for a in attempts], 1)
            scores = np.stack([self._last_score(judge, a) for a in attempts], 1)
            same = np.zeros(answers.shape, bool)
            for t in range(1, len(attempts)):
                a, b = attempts[t - 1], attempts[t]
                same[:, t] = [a.solution(i) == b.solution(i) for i in range(len(a))]
            for i in range(len(self.problems)):
                out.append(
                    {
                        **self.where,
                        "keep_right": keep_right,
                        "budget": N,
                        "chain": c,
                        "problem": i,
                        "answers": np.maximum(answers[i], 0).astype(np.uint8),
                        "right": answers[i] == self.problems[i].answer,
                        "codes": encode(scores[i]),
                        "verbatim": same[i],
                    }
                )
        return pd.DataFrame(out)

    def _last_score(self, judge: Verifier, rows: Rows) -> np.ndarray:
        solutions = [rows.solution(i) for i in range(len(rows))]
        log_p = judge.judge([self.problems[i].prompt for i in rows.problem], solutions)
        return log_p[np.arange(len(rows)), rows.length - 1]


def outcome(found: search.Found, answer: int) -> dict:
    """What a search chose and what it cost. right: by the weighted vote of all finished candidates;
    distinct: copies in a group vote once; majority: unweighted, copies once; covered: right among them."""
    return {
        "right": found.choose(copies=True).get(answer, 0.0),
        "distinct": found.choose().get(answer, 0.0),
        "majority": found.choose("majority").get(answer, 0.0),
        "covered": answer in found.answers,
        "generated": found.generated,
        "scored": found.scored,
        "finals": len(found.answers),
        "unique": found.unique,
    }


@cache
def test_problems(world: str, n: int) -> list[Problem]:
    """The held-out target problems of a world: the same for every seed."""
    return worlds()[world].sample(n, np.random.default_rng([PROBLEM_SEED, 0]), target=True, held_out=True)


def _distinct(rows: Rows, index) -> tuple[list[tuple], np.ndarray]:
    """Distinct solutions of these rows in order of appearance, and which one each row is."""
    place: dict[tuple, int] = {}
    which = [place.setdefault(rows.solution(r), len(place)) for r in index]
    return list(place), np.array(which, np.uint16)


def cut(tokens: np.ndarray, lengths: np.ndarray) -> list[tuple[int, ...]]:
    """Solutions that were stored end to end."""
    ends = np.cumsum(lengths.astype(int))
    return [tuple(map(int, tokens[e - n : e])) for e, n in zip(ends, lengths.astype(int), strict=True)]


def split(values: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Values that were stored end to end, so many each."""
    return np.split(values, np.cumsum(counts.astype(int))[:-1])


def encode(log_p: np.ndarray) -> np.ndarray:
    """log P as a byte: its log odds in steps of 1/8."""
    log_p = np.minimum(np.asarray(log_p, np.float64), -1e-7)
    odds = log_p - np.log(-np.expm1(log_p))
    return np.clip(np.round(odds * CODE) + 128, 0, 255).astype(np.uint8)


def decode(codes: np.ndarray) -> np.ndarray:
    """log P of a stored byte."""
    return -np.logaddexp(0, -(codes.astype(float) - 128) / CODE)


def _plain(plan: dict) -> dict:
    return {k: asdict(v) if k == "recipe" else v for k, v in plan.items()}
