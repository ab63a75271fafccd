"""Thinking longer with a real model: search against its own verifier, chains that go on, and chains that begin anew."""

from __future__ import annotations

import zlib
from functools import cached_property, partial

import numpy as np
import pandas as pd

from ..studies import study
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from ..testtime import answers
from ..testtime.answers import Form, Question, same_answer
from ..testtime.open_models import OpenEngine
from ..testtime.open_own import Own
from ..testtime.study import METHODS, outcome
from . import reading
from .head import Head
from .plan import load
from .verifying import stored

MARK = "####"
"""What stands before an answer: the end of thinking."""
WAIT = "\nWait,"
"""What takes its place when a chain is made to go on (Muennighoff et al. 2025, Section 3)."""
AGAIN = (
    "There may be a mistake in this. Solve the problem once more, and end with the final number after ####."
)
"""What a user says who wants a revision."""
WAYS = ("wait", "again")


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """All jobs.

    sizes: model; problems; search, [method, budget] pairs; chained, the first so many problems have chains; chains, of
    a problem; rounds; together, problems of a job.
    """
    own = Thinking(sizes, artefacts)
    searches = [
        Job(f"{method} {budget} {part}", partial(own.searched, method, budget, part))
        for method, budget in sizes.get("search", [])
        for part in range(own.parts(sizes["problems"]))
    ]
    chains = [
        Job(f"{way} {part}", partial(own.chains, way, part))
        for way in WAYS
        for part in range(own.parts(sizes.get("chained", sizes["problems"])))
    ]
    return [*searches, *chains]


class HeadVerifier:
    """A head, as a verifier of whole and unfinished solutions."""

    def __init__(self, writer: Own, head: Head):
        self.writer, self.head = writer, head

    def last(self, question: str, solutions) -> np.ndarray:
        """P(right) [solutions]."""
        return self.head.probability(reading.read(self.writer, question, solutions, ask=False).states)


class Thinking:
    """The study at one profile; every piece is made once and kept."""

    def __init__(self, sizes: dict, artefacts: ArtefactStore):
        self.sizes, self.artefacts, self.profile = sizes, artefacts, artefacts.profile
        self.plan, self.together = load(self.profile), sizes.get("together", 16)

    @cached_property
    def writer(self) -> Own:
        """The model, loaded when first needed."""
        return Own(self.sizes["model"], self.plan.rows)

    @cached_property
    def _asked(self) -> tuple[Form, list[Question]]:
        form, asked = self.plan.asked()
        return form, asked[: self.sizes["problems"]]

    @cached_property
    def engine(self) -> OpenEngine:
        """The model and its process head over all problems."""
        form, asked = self._asked
        most, verifier = self.plan.tokens, HeadVerifier(self.writer, stored(self.profile, "process"))
        return OpenEngine(self.writer, verifier, asked, most, most, self.plan.temperature, form)

    def parts(self, problems: int) -> int:
        """Jobs of a method on so many problems."""
        return -(-problems // self.together)

    def _which(self, part: int) -> list[int]:
        return list(range(self.sizes["problems"]))[part * self.together : (part + 1) * self.together]

    def _about(self, *name, **more) -> dict:
        kept = {k: self.sizes[k] for k in ("model", "problems")} | {"together": self.together} | more
        return kept | {"name": name} | {k: getattr(self.plan, k) for k in ("tokens", "shots", "seed")}

    def _seed(self, *name) -> None:
        self.writer.generator.manual_seed(zlib.crc32(f"{self.plan.seed} {name}".encode()))

    def searched(self, method: str, budget: int, part: int) -> pd.DataFrame:
        """A method at a budget on a part of the problems: as `testtime.study.Study.searched`."""

        def make() -> pd.DataFrame:
            self._seed(method, budget, part)
            found = METHODS[method](self.engine, self._which(part), budget)
            where = {"method": method, "budget": budget}
            return pd.DataFrame(
                [
                    where | {"problem": i} | outcome(f, 0)
                    for i, f in zip(self._which(part), found, strict=True)
                ]
            )

        return self.artefacts.table("searches", self._about(method, budget, part), make)

    def chains(self, way: str, part: int) -> pd.DataFrame:
        """Chains of a part of the problems: way, problem, chain, round, right, answer, tokens, text.

        Round 0 is a stored sample. "wait": what stood before its answer, then "Wait,", and on. "again": a new
        solution after the user's doubt. tokens: written in this round. An answer that cannot be read is None.
        """
        about = self._about(way, part, **{k: self.sizes[k] for k in ("chains", "rounds")})
        return self.artefacts.table("chains", about, partial(self._chain, way, part))

    def _chain(self, way: str, part: int) -> pd.DataFrame:
        self._seed(way, part)
        form, asked = self._asked
        first = study.tables("smollm2", self.profile)["samples"].query("split == 'test'")
        first = first[first["problem"].isin(self._which(part)) & (first["sample"] < self.sizes["chains"])]
        known: dict[tuple, bool] = {}

        def right(problem: int, given: str | None) -> bool:
            if (problem, given) not in known:
                known[problem, given] = given is not None and same_answer(asked[problem].answer, given)
            return known[problem, given]

        where = list(zip(first["problem"].tolist(), first["sample"].tolist(), strict=True))
        texts, answers = first["text"].tolist(), [a if isinstance(a, str) else None for a in first["answer"]]
        rows = [
            (way, p, c, 0, right(p, a), a, n, t)
            for (p, c), a, n, t in zip(where, answers, first["tokens"].tolist(), texts, strict=True)
        ]
        for turn in range(1, self.sizes["rounds"] + 1):
            begun = [self._begun(way, asked[p], t) for (p, _), t in zip(where, texts, strict=True)]
            written = self.writer.write([b for b, _ in begun], self.plan.temperature, None, self.plan.tokens)
            texts = [kept + w[0] for (_, kept), w in zip(begun, written, strict=True)]
            for (p, c), text, w in zip(where, texts, written, strict=True):
                given = form.read(text)
                rows.append((way, p, c, turn, right(p, given), given, w[1], text))
        columns = ["way", "problem", "chain", "round", "right", "answer", "tokens", "text"]
        return pd.DataFrame(rows, columns=columns)

    def _begun(self, way: str, question: Question, text: str) -> tuple[str, str]:
        """What the model continues, and how much of it belongs to the new text."""
        form = self._asked[0]
        if way == "wait":
            kept = text.partition(MARK)[0].rstrip() + WAIT
            return answers.asked(self.writer.tokenizer, form, question.text) + kept, kept
        turns = [
            *form.turns(question.text),
            {"role": "assistant", "content": text},
            {"role": "user", "content": AGAIN},
        ]
        return self.writer.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        ), ""
