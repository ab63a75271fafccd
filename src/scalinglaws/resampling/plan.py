"""What the resampling study consists of, read from data/studies/resampling.yaml: sizes only, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

from ..lm.examples import Recipe, Size
from ..studies import study
from ..studies.study import StudyError
from .tasks import Mix


@dataclass(frozen=True)
class ModelPlan:
    """A model of the ladder: its size, how many training examples it sees, how often each, and its recipe."""

    name: str
    size: Size
    examples: int
    epochs: int
    recipe: Recipe


@dataclass(frozen=True)
class Plan:
    """A profile's study: see data/studies/resampling.yaml for what each number means."""

    mix: Mix
    depths: tuple[float, ...]
    examples: int
    samples: int
    temperature: float
    seeds: tuple[int, ...]
    models: dict[str, ModelPlan]
    shown: tuple[str, ...]


def load(profile: str) -> Plan:
    """The plan of a profile of data/studies/resampling.yaml. Raises StudyError."""
    return plan(study.load("resampling", profile).sizes)


def plan(entry: dict) -> Plan:
    """The plan of a profile's sizes. Raises StudyError."""
    try:
        splits = {k.replace(" ", "_"): tuple(map(tuple, v.items())) for k, v in entry["tasks"].items()}
        training = entry["training"]
        if unknown := set(entry["shown"]) - set(entry["models"]):
            raise StudyError(f"resampling.yaml: shown names no model {sorted(unknown)[0]!r}")
        return Plan(
            Mix(**splits),
            tuple(training["depths"]),
            training["examples"],
            entry["samples"],
            entry["temperature"],
            tuple(entry["seeds"]),
            {name: _model(name, v, training["examples"]) for name, v in entry["models"].items()},
            tuple(entry["shown"]),
        )
    except KeyError as error:
        raise StudyError(f"resampling.yaml: {error.args[0]!r} is missing") from None
    except TypeError as error:
        raise StudyError(f"resampling.yaml: {error}") from None


def _model(name: str, entry: dict, most: int) -> ModelPlan:
    known = {"shape", "examples", "epochs", "learning_rate", "batch"}
    if unknown := set(entry) - known:
        raise StudyError(f"resampling.yaml, model {name}: unknown field {sorted(unknown)[0]!r}")
    if entry["examples"] > most:
        raise StudyError(
            f"resampling.yaml, model {name}: {entry['examples']} examples of {most} that are made"
        )
    epochs = entry.get("epochs", 1)
    recipe = Recipe(
        steps=entry["examples"] * epochs // entry["batch"],
        batch=entry["batch"],
        learning_rate=entry["learning_rate"],
    )
    return ModelPlan(name, Size(*entry["shape"]), entry["examples"], epochs, recipe)
