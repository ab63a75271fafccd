"""A run of open models over a data set: what it costs, one stored result a problem, resumable."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from .. import datasets
from ..studies.artefacts import ArtefactStore
from . import answers, open_load
from .answers import Form, Question, plain
from .open_models import OpenEngine
from .study import METHODS, outcome

DATA = {"math500": ("test500.jsonl", "boxed"), "gsm8k": ("test.jsonl", "hashes")}
"""Known data sets: their file, and how their answers are written unless told otherwise."""
TEXTS = 3
"""Solutions of a problem that are kept as they were written."""
UNGUIDED = ("best_of",)
"""Methods that make sense without a verifier: answers are voted."""


class DataError(Exception):
    """Questions that cannot be read. One line, with the remedy."""


def questions(data: str, limit: int | None = None) -> list[Question]:
    """The questions of a data set of DATA (see `datasets`), or of a JSON-lines file with `problem` and `answer`.

    A `solution` is kept, for worked examples. GSM8K's entries (`question`, an `answer` that ends in ####) are read too.

    Raises DataError with the line and the remedy, datasets.DataError.
    """
    path = datasets.fetch(data)[DATA[data][0]] if data in DATA else Path(data)
    if not path.is_file():
        raise DataError(f"--data {data}: no such file; known data sets are {', '.join(DATA)}")
    found = []
    with path.open("rb") as lines:  # as bytes, lines end at line feeds only: text may hold other separators
        for number, line in enumerate(lines, 1):
            try:
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                    found.append(_question(json.loads(text)))
            except UnicodeDecodeError:
                raise DataError(f"{path.name}, line {number}: not UTF-8; save the file as UTF-8") from None
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                said = f"no {error}" if isinstance(error, KeyError) else str(error)
                raise DataError(
                    f"{path.name}, line {number}: needs JSON with problem and answer ({said})"
                ) from None
    if not found:
        raise DataError(f"{path.name} holds no questions")
    return found[:limit]


def _question(entry: dict) -> Question:
    if "problem" not in entry and "question" in entry:
        work, _, answer = str(entry["answer"]).rpartition("####")
        entry = {"problem": entry["question"], "answer": plain(answer.strip()), "solution": re.sub(r"<<.*?>>", "", work)}
    texts = [entry["problem"], entry["answer"], entry.get("solution", "")]
    for text in texts:
        if not isinstance(text, str | int | float):
            raise TypeError(f"a text or a number, not {text!r:.40}")
        str(text).encode()  # half a character is none
    return Question(*map(str, texts))


def form(data: str, asked: list[Question], answer: str | None, prompt: str | None, shots: int) -> tuple[Form, list[Question]]:
    """How the questions are put, and those that are left when the last `shots` of them serve as worked examples.

    answer, prompt: None for the data set's own way. Raises DataError for a way that is none, a prompt without a place
    for the problem, or more examples than there are questions.
    """
    if shots and shots >= len(asked):
        raise DataError(f"--shots {shots}: the {len(asked)} questions leave none to ask")
    own = DATA[data][1] if data in DATA else "boxed"
    try:
        made = Form(answer or own, prompt or "", tuple(asked[len(asked) - shots :]))
    except ValueError as error:
        raise DataError(str(error)) from None
    return made, asked[: len(asked) - shots]


def check_room(model: str, prm: str | None, asked: list[Question], tokens: int, form: Form) -> None:
    """Raise open_load.ModelError where a question and `tokens` of solution are more than model or verifier can read."""
    for name in filter(None, (model, prm)):
        spelt = lambda tokenizer: [answers.asked(tokenizer, form, q.text) for q in asked]
        open_load.check_room(name, spelt, tokens, "--tokens")


@dataclass(frozen=True)
class Price:
    """What a run costs at most: tokens written, FLOPs of model and verifier, bytes of weights in bf16."""

    tokens: float
    flops: float
    memory: float

    def hours(self, flops_per_second: float) -> float:
        """Hours at a sustained rate."""
        return self.flops / flops_per_second / 3600


def parameters(name: str) -> int:
    """Parameters of a model from its configuration alone; no weights are loaded. Raises open_load.ModelError."""
    return sum(p.numel() for p in open_load.skeleton(name).parameters())


def price(parameters: float, verifier: float, problems: int, budget: int, tokens: int = 512) -> Price:
    """2·N FLOPs a token written and a token read, `tokens` a generation, weights in two bytes each.

    The verifier reads every token once; the cache of keys and values comes on top of the memory.
    """
    written = float(problems) * budget * tokens
    return Price(written, 2 * (parameters + verifier) * written, 2 * (parameters + verifier))


def rate(writer, text: str, sequences: int, tokens: int = 24) -> float:
    """Tokens a second that a writer writes here, after a first call that warms it up; `sequences` at once, greedy, so that no chance is used up."""
    writer.write([text] * sequences, 0.0, None, 2)
    started = time.perf_counter()
    written = sum(count for _, count, _ in writer.write([text] * sequences, 0.0, None, tokens))
    return max(written, 1) / (time.perf_counter() - started)


def run(
    engine: OpenEngine, about: dict, method: str, budget: int, folder: Path, say=lambda text: None, first=lambda: None
) -> pd.DataFrame:
    """Search every question, one at a time; each result is stored before the next is begun.

    about: the model, verifier, data and settings that name the run. first: called before the first question that is
    not stored yet. Returns the table of
    `searches` (see `Study.searched`). The same call goes on after an interruption.
    """
    artefacts, parts = ArtefactStore("open", folder, "testtime", ("searches",)), []
    for i, question in enumerate(engine.questions):
        what = about | {
            "method": method,
            "budget": budget,
            "problem": i,
            "question": [question.text, question.answer],
        }
        if not (known := artefacts.has("searches", what)):
            first()
            first = lambda: None
        parts.append(artefacts.table("searches", what, partial(_one, engine, about, method, budget, i)))
        if not known:
            say(f"problem {i + 1} of {len(engine.questions)}: right {parts[-1]['right'].iloc[0]:.2f}")
    table = pd.concat(parts, ignore_index=True)
    artefacts.pack(folder)
    return table


def _one(engine, about, method, budget, i) -> pd.DataFrame:
    (found,) = METHODS[method](engine, [i], budget)
    where = {
        "world": about["data"],
        "seed": about["seed"],
        "proposer": about["model"],
        "verifier": about["prm"] or "",
        "method": method,
        "budget": budget,
        "problem": i,
    }
    unread = float(np.mean([a < 0 for a in found.answers])) if found.answers else 0.0
    texts = [str(text) for text in dict.fromkeys(found.solutions)][:TEXTS]
    return pd.DataFrame([where | outcome(found, 0) | {"unread": unread, "texts": texts}])
