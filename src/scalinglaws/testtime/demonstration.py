"""The models of one study seed, kept in half precision, so that a chapter can search before the reader's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..lm import examples
from ..lm.store import StoreError
from ..paths import data_file, root
from ..studies import study
from ..studies.artefacts import provenance
from . import plan
from .proposer import Proposer
from .search import Models
from .study import Study
from .verifier import Verifier
from .world import Problem, World
from .worlds import worlds


@dataclass
class Demonstration:
    """A world, its proposer, verifier and reviser (weights), with the sizes they were built in."""

    world: World
    size: examples.Size
    head: str
    weights: dict

    def proposer(self, seed: int = 0) -> Proposer:
        """The base proposer."""
        return Proposer(self.world, self.size.transformer(len(self.world.tokens)), self.weights["base"], seed)

    def reviser(self, seed: int = 0) -> Proposer:
        """The proposer that was finetuned on its own attempts."""
        return Proposer(
            self.world, self.size.transformer(len(self.world.tokens)), self.weights["reviser"], seed
        )

    def verifier(self) -> Verifier:
        """The process verifier."""
        return Verifier(self.world, self.size, self.head, self.weights["verifier"])

    def engine(self, problems: Sequence[Problem], seed: int = 0) -> Models:
        """Proposer and verifier before these problems, ready for `search` and `tree`."""
        return Models(self.proposer(seed), self.verifier(), problems)


def _study(profile: str, world: str, folder: Path | None) -> Study:
    chosen = plan.load(profile)[world]
    return Study(chosen, chosen.seeds[0], study.load("testtime", profile).store(folder))


def _of(own: Study) -> Demonstration:
    judge = own.plan.revision["verifier"]
    keep = own.plan.revision["chains"][0][0]
    weights = {
        "base": own.weights(),
        "verifier": own.verifier(judge).flat,
        "reviser": own.revision_weights(keep),
    }
    return Demonstration(own.world, own.plan.sizes["base"], own.plan.verifiers[judge].head, weights)


def publish(profile: str, world: str = "chain", folder: Path | None = None) -> Path:
    """Write the models of the first seed to data/testtime/models-PROFILE.safetensors, making what is missing."""
    own = _study(profile, world, folder)
    found = _of(own)
    about = {
        "world": world,
        "seed": own.seed,
        "size": asdict(found.size),
        "head": found.head,
        **provenance(),
    }
    path = root() / "data" / "testtime" / f"models-{profile}.safetensors"
    examples.save(path, found.weights, about)
    return path


def models(profile: str, world: str = "chain") -> Demonstration:
    """The published models; for "smoke" those of the toy study. Raises StoreError where there are none."""
    if profile == "smoke":
        return _of(_study(profile, world, None))
    path = data_file("testtime", f"models-{profile}.safetensors")
    if not path.is_file():
        raise StoreError(
            f"no models data/testtime/{path.name}: make them with `python -m scalinglaws study testtime --profile {profile}`"
        )
    weights, about = examples.load(path)
    return Demonstration(worlds()[about["world"]], examples.Size(**about["size"]), about["head"], weights)
