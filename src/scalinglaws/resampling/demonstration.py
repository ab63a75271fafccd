"""Two models of the study, kept in half precision, so that a chapter can let them write before the reader's eyes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ..lm import examples
from ..lm.store import StoreError
from ..paths import data_file, root
from ..studies import study as studies
from ..studies.artefacts import provenance
from . import plan
from .study import Study
from .writing import Writer

ROOM = "resampling"


def _first(profile: str, folder: Path | None) -> Study:
    chosen = plan.load(profile)
    return Study(chosen, chosen.seeds[0], studies.load(ROOM, profile).store(folder))


def publish(profile: str, folder: Path | None = None) -> Path:
    """Write the shown models of the first seed to data/resampling/models-PROFILE.safetensors, making what is missing."""
    study = _first(profile, folder)
    shown = study.plan.shown
    sizes = {name: asdict(study.plan.models[name].size) for name in shown}
    path = root() / "data" / ROOM / f"models-{profile}.safetensors"
    examples.save(
        path,
        {name: study.weights(name) for name in shown},
        {"seed": study.seed, "sizes": sizes, **provenance()},
    )
    return path


def writers(profile: str, seed: int = 0) -> dict[str, Writer]:
    """The shown models by name, the smaller first; for "smoke" those of the toy study. Raises StoreError where there are none."""
    if profile == "smoke":
        study = _first(profile, None)
        return {
            name: Writer(study.plan.models[name].size, study.weights(name), seed) for name in study.plan.shown
        }
    path = data_file(ROOM, f"models-{profile}.safetensors")
    if not path.is_file():
        raise StoreError(
            f"no models data/{ROOM}/{path.name}: make them with `python -m scalinglaws study resampling --profile {profile}`"
        )
    weights, about = examples.load(path)
    sizes = {name: examples.Size(**size) for name, size in about["sizes"].items()}
    return {n: Writer(sizes[n], weights[n], seed) for n in sorted(sizes, key=lambda n: sizes[n].N)}
