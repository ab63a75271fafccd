"""Solutions of GSM8K problems by a real model: drawn, read, compared, and kept with their likelihood."""

from __future__ import annotations

import zlib
from functools import cached_property

import numpy as np
import pandas as pd

from ..studies.artefacts import ArtefactStore
from ..testtime import answers
from ..testtime.answers import Form, Question, same_answer
from ..testtime.open_own import Own
from .plan import Plan


class Study:
    """One plan; every piece is made once and kept."""

    def __init__(self, plan: Plan, artefacts: ArtefactStore):
        self.plan, self.artefacts = plan, artefacts

    @cached_property
    def writer(self) -> Own:
        """The model, loaded when first needed."""
        return Own(self.plan.model, self.plan.rows, seed=self.plan.seed)

    @cached_property
    def _asked(self) -> tuple[Form, list[Question]]:
        return self.plan.asked()

    @property
    def form(self) -> Form:
        """How problems are put: worked examples, a number after ####."""
        return self._asked[0]

    def questions(self, split: str) -> list[Question]:
        """The problems that are asked ("test"), or those that train verifiers ("training")."""
        first, count = (
            (0, self.plan.problems) if split == "test" else (self.plan.problems, self.plan.training)
        )
        return self._asked[1][first : first + count]

    def parts(self, split: str) -> int:
        """Jobs of a split; none where it is not sampled."""
        problems = self.plan.problems if split == "test" else self.plan.training
        return -(-problems // self.plan.together) if self._count(split) else 0

    def _count(self, split: str) -> int:
        return self.plan.samples if split == "test" else self.plan.training_samples

    def about(self, split: str, part: int) -> dict:
        """What names a part's samples."""
        p = self.plan
        return {
            "model": p.model, "split": split, "part": part, "problems": [p.problems, p.training][split != "test"],
            "first": 0 if split == "test" else p.problems, "samples": self._count(split), "shots": p.shots, "together": p.together,
            "tokens": p.tokens, "temperature": p.temperature, "seed": p.seed, "answer": p.answer,
        }  # fmt: skip

    def samples(self, split: str, part: int) -> pd.DataFrame:
        """A part's samples: split, problem, sample, reference, answer (as read; None), right, tokens, logp, ended, text.

        reference: the right answer. logp: mean log p a token, nats at temperature 1. What cannot be read is wrong.
        """
        about = self.about(split, part)
        return self.artefacts.table("samples", about, lambda: self._draw(split, part, about["samples"]))

    def _draw(self, split: str, part: int, count: int) -> pd.DataFrame:
        p, all_of = self.plan, self.questions(split)
        which = range(part * p.together, min((part + 1) * p.together, len(all_of)))
        self.writer.generator.manual_seed(zlib.crc32(f"{p.seed} {split} {part}".encode()))
        prompts = [answers.asked(self.writer.tokenizer, self.form, all_of[i].text) for i in which]
        written = self.writer.samples(prompts, count, p.temperature, None, p.tokens)
        told = self.writer.told.reshape(len(prompts), count)
        rows = []
        for i, solutions, likely in zip(which, written, told, strict=True):
            known: dict[str, bool] = {}
            for j, ((text, tokens, ended), logp) in enumerate(zip(solutions, likely, strict=True)):
                given = self.form.read(text)
                if given is not None and given not in known:
                    known[given] = same_answer(all_of[i].answer, given)
                right = given is not None and known[given]
                rows.append((split, i, j, all_of[i].answer, given, right, tokens, float(logp), ended, text))
        columns = [
            "split",
            "problem",
            "sample",
            "reference",
            "answer",
            "right",
            "tokens",
            "logp",
            "ended",
            "text",
        ]
        return pd.DataFrame(rows, columns=columns).astype(
            {"problem": np.int16, "sample": np.int16, "tokens": np.int16, "logp": np.float32}
        )
