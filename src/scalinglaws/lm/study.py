"""Studies: a YAML file that multiplies out into a list of runs.

data/studies/NAME.yaml:

    question: one line
    defaults: {field: value, …}            # fields of `Run`
    profiles:
      cpu:
        - {shape: [2x32x1, 4x64x2], budget: [1e11, 3e11], learning_rate: [.005, .01]}
        - …

Every entry of a profile is a grid: lists multiply. Besides the fields of `Run` there are
`shape` (LAYERSxWIDTHxHEADS), `budget` (FLOPs; sets `tokens` to budget/6·N_total), `tokens_per_N`
(sets `tokens` to that many a non-embedding parameter), `rate_by_shape` (a mapping shape →
learning rate, or to a list of them), `measurements` (that many held-out evaluations, spaced
geometrically over the last ten doublings), `warmup_share` (of the tokens), `warmup_per_N_total`
(warm-up tokens a parameter, embeddings counted, at most a quarter of the tokens) and `keep: {tokens: [low, high], steps: [low, high]}`
(drops the runs outside). `branches` and `evaluate_at` take one list for all runs of the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

from ..datasets import DataError
from ..studies.study import StudyError, known, read, section
from .config import ConfigError, Run
from .corpus import same_tokens, vocabulary

SPECIAL = (
    "shape", "budget", "tokens_per_N", "rate_by_shape", "measurements", "keep", "warmup_share", "warmup_per_N_total",
)  # fmt: skip
TUPLES = ("branches", "evaluate_at")
PROFILES = ("smoke", "cpu", "gpu")
ALIASES = {
    "lr": "learning_rate", "max_lr": "learning_rate", "batch_size": "batch", "seq_len": "context",
    "block_size": "context", "n_layers": "n_layer", "n_heads": "n_head", "n_embd": "d_model", "width": "d_model",
    "wd": "weight_decay", "seeds": "seed", "dataset": "corpus",
}  # fmt: skip
"""What other trainers call a field: suggested, not accepted."""


@dataclass(frozen=True)
class Study:
    """A named list of runs."""

    name: str
    profile: str
    question: str
    runs: tuple[Run, ...]


def load(name: str, profile: str = "cpu", path: Path | None = None) -> Study:
    """Read a study of data/studies, or any file whose name ends in .yaml; `path` gives a file and leaves the name.

    Raises StudyError for an unknown study, profile or key, or a run that cannot be trained.
    """
    found, content = read(str(path or name))
    file, name = f"{found}.yaml", name if path else found
    _known(file, "", content, ("question", "checklist", "defaults", "profiles"))
    grids = section(file, content, profile)
    if not isinstance(grids, list):
        raise StudyError(f"{file}: profile {profile} must be a list of grids")
    runs: dict[str, Run] = {}
    for number, grid in enumerate(grids, 1):
        where = f"{file}, {profile}, entry {number}"
        if not isinstance(grid, dict):
            raise StudyError(f"{where}: must be a mapping of fields, got {grid!r}")
        entry = (content.get("defaults") or {}) | grid
        _known(file, f"{profile}, entry {number}", entry, (*(f.name for f in fields(Run)), *SPECIAL))
        for run in _expand(entry, where):
            runs.setdefault(run.hash, run)
    return Study(name, profile, str(content.get("question", "")), tuple(runs.values()))


def _known(file: str, place: str, entry: dict, allowed) -> None:
    known(file, place, entry, allowed, ALIASES)


def _expand(entry: dict, where: str) -> list[Run]:
    """The runs of one grid."""
    fixed = {k: entry[k] for k in (*TUPLES, "keep", "rate_by_shape") if k in entry}
    axes = {k: v if isinstance(v, list) else [v] for k, v in entry.items() if k not in fixed}
    runs = []
    for values in product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        rates = _rates(fixed.get("rate_by_shape"), point, where)
        for rate in rates:
            run = described(point | rate | {k: fixed[k] for k in TUPLES if k in fixed}, where)
            if _kept(run, fixed.get("keep"), where):
                runs.append(run)
    return runs


def _rates(table: dict | None, point: dict, where: str) -> list[dict]:
    if table is None:
        return [{}]
    if not isinstance(table, dict):
        raise StudyError(f"{where}: rate_by_shape must map shapes to learning rates, got {table!r}")
    shape = point.get("shape")
    if shape not in table:
        raise StudyError(f"{where}: rate_by_shape has no entry for shape {shape!r}")
    rates = table[shape]
    return [
        {"learning_rate": _number(r, "rate_by_shape", where)}
        for r in (rates if isinstance(rates, list) else [rates])
    ]


def described(point: dict, where: str) -> Run:
    """The run of one point of a grid: fields of `Run` and those of this format. Raises StudyError, which begins with `where`."""
    point = dict(point)
    try:
        if "shape" in point:
            shape = str(point.pop("shape")).split("x")
            if len(shape) != 3 or not all(s.isdecimal() for s in shape):
                raise ConfigError(f"shape must be LAYERSxWIDTHxHEADS, like 2x32x1, got {'x'.join(shape)!r}")
            point |= dict(zip(("n_layer", "d_model", "n_head"), map(int, shape), strict=True))
        budget, ratio = point.pop("budget", None), point.pop("tokens_per_N", None)
        measurements, share = point.pop("measurements", 0), point.pop("warmup_share", None)
        per_parameter = point.pop("warmup_per_N_total", None)
        for name in ("tokens", "learning_rate", "unique_tokens", "warmup"):
            if name in point:
                point[name] = _number(point[name], name, where)
        for name in ("tokens", "unique_tokens", "warmup"):
            if name in point:
                point[name] = round(point[name])
        for name in TUPLES:
            if name in point:
                entries = point[name] if isinstance(point[name], list) else [point[name]]
                point[name] = [round(_number(e, name, where)) for e in entries]
        draft = Run.from_dict(
            {"tokens": 1} | point | dict.fromkeys(TUPLES, ()) | {"patience": 0, "noise_batches": 0}
        )
        if draft.transfer:
            same_tokens(draft.corpus, draft.transfer)
        size = draft.size(vocabulary(draft.corpus))
        if budget is not None:
            point["tokens"] = round(_number(budget, "budget", where) / (6 * size["N_total"]))
        if ratio is not None:
            point["tokens"] = round(_number(ratio, "tokens_per_N", where) * size["N"])
        if share is not None:
            point["warmup"] = round(_number(share, "warmup_share", where) * point["tokens"])
        if per_parameter is not None:
            warmup = _number(per_parameter, "warmup_per_N_total", where) * size["N_total"]
            point["warmup"] = round(min(warmup, point["tokens"] / 4))
        if measurements:
            point["evaluate_at"] = spaced(
                point["tokens"], round(_number(measurements, "measurements", where))
            )
        return Run.from_dict(point)
    except KeyError as error:
        raise StudyError(f"{where}: {error.args[0]} is missing") from None
    except (ConfigError, DataError, TypeError, OverflowError, AttributeError) as error:
        raise StudyError(f"{where}: {error}") from None


def spaced(tokens: int, count: int) -> tuple[int, ...]:
    """`count` token counts up to `tokens`, spaced geometrically, `count` of them in ten doublings."""
    return tuple(round(tokens * 2 ** (-10 * (1 - (i + 1) / count))) for i in range(count))


def _kept(run: Run, keep: dict | None, where: str) -> bool:
    if not isinstance(keep or {}, dict):
        raise StudyError(f"{where}: keep takes tokens: [low, high] and steps: [low, high], got {keep!r}")
    for name, bounds in (keep or {}).items():
        if name not in ("tokens", "steps") or not isinstance(bounds, list) or len(bounds) != 2:
            raise StudyError(f"{where}: keep takes tokens: [low, high] and steps: [low, high]")
        low, high = (_number(b, "keep", where) for b in bounds)
        if not low <= getattr(run, name) <= high:
            return False
    return True


def _number(value, name: str, where: str) -> float:
    """YAML reads 1e12 as a string; take it as the number it is."""
    try:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (TypeError, ValueError):
        raise StudyError(f"{where}: {name} must be a number, got {value!r}") from None
