"""What a study consists of, read from data/studies/testtime.yaml: sizes only, no behaviour. A section a profile and world."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..lm.examples import Recipe, Size
from ..studies import study
from ..studies.study import StudyError
from .verifier import HEADS


@dataclass(frozen=True)
class VerifierPlan:
    """A verifier: head, kind of labels, training solutions (0: all), share of flipped labels, recipe."""

    name: str
    head: str
    labels: str
    recipe: Recipe
    solutions: int = 0
    flip: float = 0.0
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One world's study: see data/studies/testtime.yaml for what each number means."""

    world: str
    seeds: tuple[int, ...]
    problems: int
    samples: int
    difficulty: int
    sizes: dict[str, Size]
    proposers: dict[str, Recipe]
    proposer_seeds: dict[str, tuple[int, ...]]
    labels: dict
    verifiers: dict[str, VerifierPlan]
    searches: list[dict]
    revision: dict


def plans(sizes: dict) -> dict[str, Plan]:
    """The plans of a profile's sizes by world. Raises StudyError."""
    return {world: _plan(world, entry) for world, entry in sizes.items()}


def load(profile: str) -> dict[str, Plan]:
    """The plans of a profile of data/studies/testtime.yaml. Raises StudyError."""
    return plans(study.load("testtime", profile).sizes)


def _plan(world: str, entry: dict) -> Plan:
    try:
        sizes = {k: Size(*v["shape"]) for k, v in entry["proposers"].items()}
        recipes = {k: _recipe(v, world, "shape", "seeds") for k, v in entry["proposers"].items()}
        seeds = {k: tuple(v["seeds"]) for k, v in entry["proposers"].items()}
        verifiers = {}
        for name, v in entry["verifiers"].items():
            own = {k: v[k] for k in ("solutions", "flip") if k in v}
            own["seeds"] = tuple(v.get("seeds", seeds["base"]))
            verifiers[name] = VerifierPlan(
                name,
                v["head"],
                v["labels"],
                _recipe(v, world, "head", "labels", "solutions", "flip", "seeds"),
                **own,
            )
            if v["head"] not in HEADS:
                raise StudyError(f"testtime.yaml, {world}, verifier {name}: head {v['head']!r} is unknown")
        turn = dict(entry.get("revision", {}))
        if turn:
            turn["recipe"] = _recipe(turn["recipe"], world)
        return Plan(
            world, seeds["base"], entry["problems"], entry["samples"], entry["difficulty"], sizes, recipes, seeds,
            entry["labels"], verifiers, entry["searches"], turn,
        )  # fmt: skip
    except KeyError as error:
        raise StudyError(f"testtime.yaml, {world}: {error.args[0]!r} is missing") from None


def _recipe(entry: dict, world: str, *others: str) -> Recipe:
    own = {k: v for k, v in entry.items() if k not in others}
    unknown = set(own) - {f.name for f in fields(Recipe)}
    if unknown:
        raise StudyError(f"testtime.yaml, {world}: unknown field {sorted(unknown)[0]!r}")
    return Recipe(**own)
