"""Open language models behind the interface of `search.Engine`: the same search code, text for tokens.

A step is what ends with a blank line, or as the form says. Solutions are text; answers are read as the form says (`answers`) and
compared with math-verify, and each problem numbers the distinct ones, the right one 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from . import open_load
from .answers import Form, Question, asked, distinct


class Writer(Protocol):
    """A language model: continues each text until `stop` (None: its end) or `limit` tokens.

    Returns for each (what it wrote, stop included; tokens; whether it ended by itself).
    """

    tokenizer: Any

    def write(
        self, texts: Sequence[str], temperature: float, stop: str | None, limit: int
    ) -> list[tuple]: ...


class Transformers:
    """A `Writer` by transformers: left-padded batches. Raises open_load.ModelError."""

    def __init__(
        self, name: str, batch: int = 16, dtype: str = "auto", seed: int = 0, device: str | None = None
    ):
        import torch

        self.tokenizer = open_load.tokenizer(name, padding_side="left")
        self.model = open_load.model(name, dtype, device)
        self.device, self.batch = self.model.device, batch
        torch.manual_seed(seed)

    @property
    def parameters(self) -> int:
        """Parameters of the model."""
        return sum(p.numel() for p in self.model.parameters())

    def write(self, texts, temperature, stop, limit):
        import torch

        out: list[tuple] = []
        for i in range(0, len(texts), self.batch):
            some = list(texts[i : i + self.batch])
            fed = self.tokenizer(some, return_tensors="pt", padding=True, add_special_tokens=False)
            fed = {k: fed[k].to(self.device) for k in ("input_ids", "attention_mask")}
            how = {"do_sample": temperature > 0} | ({"temperature": temperature} if temperature else {})
            if stop is not None:
                how |= {"stop_strings": [stop], "tokenizer": self.tokenizer}
            with torch.no_grad():
                new = self.model.generate(
                    **fed, max_new_tokens=limit, pad_token_id=self.tokenizer.pad_token_id, **how
                )[:, fed["input_ids"].shape[1] :]
            out += [self._read(row.tolist(), stop) for row in new]
        return out

    def _read(self, ids: list[int], stop: str | None) -> tuple[str, int, bool]:
        """The row up to its own end: the end-of-text token, or the stop string."""
        end = self.tokenizer.eos_token_id
        ended = end in ids
        ids = ids[: ids.index(end)] if ended else ids
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        if stop is not None and stop in text:
            ended, text = False, text[: text.index(stop) + len(stop)]
            # padding after a stop that came early was not written by the model
            while len(ids) > 1 and stop in self.tokenizer.decode(ids[:-1], skip_special_tokens=True):
                ids = ids[:-1]
        return text, len(ids) + ended, ended


class VLLM:
    """A `Writer` by vLLM, whose cache of prefixes makes steps after a long prefix cheap."""

    batch = 256

    def __init__(self, name: str, dtype: str = "auto", seed: int = 0):
        self.model = open_load.vllm(name, dtype, seed)
        self.tokenizer = open_load.tokenizer(name)

    def write(self, texts, temperature, stop, limit):
        from vllm import SamplingParams

        how = SamplingParams(
            temperature=temperature, max_tokens=limit, stop=stop, include_stop_str_in_output=True
        )
        found = (r.outputs[0] for r in self.model.generate(list(texts), how, use_tqdm=False))
        return [
            (o.text, len(o.token_ids), o.finish_reason == "stop" and o.stop_reason is None) for o in found
        ]


@dataclass
class TextRows:
    """Solutions side by side, as `proposer.Rows`, in text. answer [n]: number of the answer, −1 without one."""

    problem: np.ndarray
    texts: list[str]
    length: np.ndarray
    finished: np.ndarray
    answer: np.ndarray
    spent: Any = None  # [n] tokens written, where the rows are whole solutions

    def __len__(self) -> int:
        return len(self.problem)

    def select(self, index) -> TextRows:
        """These rows in this order."""
        index = np.asarray(index, np.int64)
        return TextRows(
            self.problem[index], [self.texts[i] for i in index], self.length[index], self.finished[index],
            self.answer[index],
        )  # fmt: skip

    def solution(self, row: int) -> str:
        """The row's text."""
        return self.texts[row]


class OpenEngine:
    """A writer and a verifier that face questions: an `Engine` for every method of `search` and `tree`.

    verifier: `scores(question, steps) -> [P of each step]` (see `open_verifiers`), or `last(question, solutions) ->
    [P of each]`, or None. temperature: multiplies
    the method's own.
    """

    def __init__(
        self,
        writer: Writer,
        verifier,
        questions: Sequence[Question],
        most=2048,
        longest_step=512,
        temperature=1.0,
        form: Form = Form(),  # noqa: B008
    ):
        self.writer, self.verifier, self.questions = writer, verifier, list(questions)
        self.most, self.longest_step, self.temperature, self.form = most, longest_step, temperature, form
        self.prompts = [asked(writer.tokenizer, form, q.text) for q in self.questions]
        self.known: list[list[str]] = [[q.answer] for q in self.questions]

    def longest(self, problem: int) -> int:
        """Tokens of one generation at most."""
        return self.most

    def begin(self, problems, prefixes=None) -> TextRows:
        n = len(problems)
        texts = list(prefixes) if prefixes is not None else [""] * n
        texts = [t or "" for t in texts]
        length = np.array([self._count(t) for t in texts])
        return TextRows(np.array(problems), texts, length, np.zeros(n, bool), np.full(n, -1))

    def _count(self, text: str) -> int:
        return len(self.writer.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    def advance(self, rows: TextRows, temperature: float = 1.0, steps: int = 1) -> None:
        for _ in range(steps):
            self._write(rows, temperature, self.form.step, self.longest_step)

    def complete(self, problems, samples, temperature, prefixes=None) -> TextRows:
        rows = self.begin(problems, prefixes).select(np.repeat(np.arange(len(problems)), samples))
        before = rows.length.copy()
        self._write(rows, temperature, None, self.most)
        rows.spent = rows.length - before
        return rows

    def _write(self, rows: TextRows, temperature: float, stop: str | None, most: int) -> None:
        """Continue every unfinished row up to `stop`, by at most so many tokens."""
        live = np.flatnonzero(~rows.finished & (rows.length < self.most))
        groups: dict[int, list[int]] = {}
        for r in live.tolist():
            groups.setdefault(min(int(self.most - rows.length[r]), most), []).append(r)
        for limit, some in groups.items():
            texts = [self.prompts[rows.problem[r]] + rows.texts[r] for r in some]
            written = self.writer.write(texts, temperature * self.temperature, stop, limit)
            for r, (text, tokens, ended) in zip(some, written, strict=True):
                rows.texts[r] += text
                rows.length[r] += tokens
                if ended:
                    rows.answer[r] = self.number(int(rows.problem[r]), rows.texts[r])
                    rows.finished[r] = True

    def number(self, problem: int, solution: str) -> int:
        """Which of the problem's distinct answers the solution gives: 0 is the right one, −1 where none can be read."""
        given = self.form.read(solution)
        if given is None:
            return -1
        known = self.known[problem]
        which = distinct(known, given)
        if which == len(known):
            known.append(given)
        return which

    def score(self, rows: TextRows) -> np.ndarray:
        """log P of the last step of each row; one reading for equal texts."""
        if self.verifier is None:
            return np.zeros(len(rows))
        read: dict[tuple[int, str], float] = {}
        for problem in np.unique(rows.problem).tolist():
            texts = list(dict.fromkeys(rows.texts[r] for r in np.flatnonzero(rows.problem == problem)))
            question = self.questions[problem].text
            if hasattr(self.verifier, "last"):  # reads all solutions of a question together
                found = self.verifier.last(question, texts)
            else:
                steps = [split_steps(text, self.form.step) for text in texts]
                found = [self.verifier.scores(question, s)[-1] if s else 0.5 for s in steps]
            read |= {(problem, t): float(np.log(max(p, 1e-12))) for t, p in zip(texts, found, strict=True)}
        return np.array([read[int(p), t] for p, t in zip(rows.problem, rows.texts, strict=True)])


def split_steps(text: str, step: str = "\n\n") -> list[str]:
    """The steps of a solution, empty ones left out: a score never belongs to nothing."""
    return [s.strip() for s in text.split(step) if s.strip()]
