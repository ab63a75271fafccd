"""A run of open models over a data set: what it costs, one stored result a problem, resumable."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .open_models import OpenEngine, Question
from .shelf import Shelf
from .study import METHODS, outcome

DATA = {"math500": ("HuggingFaceH4/MATH-500", "test.jsonl")}


class DataError(Exception):
    """Questions that cannot be read. One line, with the remedy."""


def questions(data: str, limit: int | None = None) -> list[Question]:
    """The questions of "math500" (downloaded) or of a JSON-lines file with `problem` and `answer`.

    Raises DataError with the line and the remedy.
    """
    path = Path(data)
    if data in DATA:
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(*DATA[data], repo_type="dataset"))
        except Exception as error:  # whatever kind of failed download
            raise DataError(
                f"--data {data}: cannot be downloaded ({type(error).__name__}); give a JSON-lines file instead"
            ) from None
    if not path.is_file():
        raise DataError(f"--data {data}: no such file; known data sets are {', '.join(DATA)}")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found.append(Question(str(entry["problem"]), str(entry["answer"])))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(
                f"{path.name}, line {number}: needs JSON with problem and answer ({error})"
            ) from None
    if not found:
        raise DataError(f"{path.name} holds no questions")
    return found[:limit]


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
    """Parameters of a model from its configuration alone; no weights are loaded. Raises OSError or ValueError."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name))
    return sum(p.numel() for p in model.parameters())


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
    shelf, parts = Shelf("open", folder), []
    for i, question in enumerate(engine.questions):
        what = about | {
            "method": method,
            "budget": budget,
            "problem": i,
            "question": [question.text, question.answer],
        }
        known = shelf.has("searches", what)
        parts.append(shelf.table("searches", what, lambda i=i: _one(engine, about, method, budget, i)))
        if not known:
            say(f"problem {i + 1} of {len(engine.questions)}: right {parts[-1]['right'].iloc[0]:.2f}")
    table = pd.concat(parts, ignore_index=True)
    shelf.pack(folder)
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
