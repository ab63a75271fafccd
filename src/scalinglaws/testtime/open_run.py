"""A run of open models over a data set: what it costs, one stored result a problem, resumable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from .. import datasets
from ..studies.artefacts import ArtefactStore
from . import open_load, open_models
from .open_models import OpenEngine, Question
from .study import METHODS, outcome

DATA = {"math500": "test500.jsonl"}
"""Known data sets, by their file."""
UNGUIDED = ("best_of",)
"""Methods that make sense without a verifier: answers are voted."""


class DataError(Exception):
    """Questions that cannot be read. One line, with the remedy."""


def questions(data: str, limit: int | None = None) -> list[Question]:
    """The questions of "math500" (see `datasets`) or of a JSON-lines file with `problem` and `answer`.

    Raises DataError with the line and the remedy, datasets.DataError.
    """
    path = datasets.fetch(data)[DATA[data]] if data in DATA else Path(data)
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
    texts = [entry["problem"], entry["answer"]]
    for text in texts:
        if not isinstance(text, str | int | float):
            raise TypeError(f"a text or a number, not {text!r:.40}")
        str(text).encode()  # half a character is none
    return Question(*map(str, texts))


def check_room(model: str, prm: str | None, asked: list[Question], tokens: int) -> None:
    """Raise open_load.ModelError where a question and `tokens` of solution are more than model or verifier can read."""
    for name in filter(None, (model, prm)):
        spelt = lambda tokenizer: [open_models.asked(tokenizer, q.text) for q in asked]
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


def run(
    engine: OpenEngine, about: dict, method: str, budget: int, folder: Path, say=lambda text: None
) -> pd.DataFrame:
    """Search every question, one at a time; each result is stored before the next is begun.

    about: the model, verifier, data and settings that name the run. Returns the table of
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
        known = artefacts.has("searches", what)
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
    return pd.DataFrame([where | outcome(found, 0)])
