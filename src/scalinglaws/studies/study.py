"""What a study is: a YAML file in data/studies that asks a question and gives sizes, and a module that lists its jobs.

data/studies/NAME.yaml:

    question: one line
    checklist: {form: …, fit: …, …}  # what a reader needs to judge it (`build.checklist`)
    made_by: package.module        # has `jobs(sizes, store) -> list[Job]`, and perhaps `publish(profile)`
    tables: [kind, …]              # what is packed into data/NAME/KIND-PROFILE.parquet
    profiles:
      cpu: …                       # sizes only: handed to `jobs` as they are

A study without `made_by` is a list of training runs (`lm.study` has its format). A file of one's own may name a
module that lies beside it.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd
import yaml

from ..paths import data_file, root
from ..processes import one_thread
from ..provenance import code_digest, file_digest
from .artefacts import ArtefactStore, packed
from .jobs import Job, in_processes, work_off

LIBRARY = __name__.partition(".")[0]
KEYS = ("question", "checklist", "made_by", "tables", "profiles")


class StudyError(ValueError):
    """A study file that does not say what to make. One line: file, place, remedy."""


@dataclass(frozen=True)
class Study:
    """A study at one profile. sizes: the profile's section of the file; source: a name, or the path of a file."""

    name: str
    profile: str
    question: str
    made_by: str
    tables: tuple[str, ...]
    sizes: dict
    source: str

    @property
    def module(self):
        """The module that lists the jobs. Raises StudyError where there is none."""
        if self.source != self.name and (beside := str(Path(self.source).resolve().parent)) not in sys.path:
            sys.path.insert(0, beside)
        try:
            found = import_module(self.made_by)
        except ModuleNotFoundError as error:
            raise StudyError(f"{self.name}.yaml: made_by: {self.made_by}: {error}") from None
        if not callable(getattr(found, "jobs", None)):
            raise StudyError(f"{self.name}.yaml: made_by: {self.made_by} has no function jobs(sizes, store)")
        return found

    def store(self, folder: Path | None = None) -> ArtefactStore:
        """Where its artefacts are kept: `folder`, by default _build/NAME/PROFILE of the checkout.

        Of a module of one's own the digest covers that file; of the library's all that it imports.
        """
        name, file = self.module.__name__, self.module.__file__
        own = name.startswith(f"{LIBRARY}.")
        code = code_digest(name.removeprefix(f"{LIBRARY}.")) if own else file_digest(Path(str(file)))
        return ArtefactStore(self.profile, folder, self.name, self.tables, code)

    def jobs(self, store: ArtefactStore) -> list[Job]:
        """Everything it makes, what others need first. Raises StudyError for sizes that cannot be."""
        return self.module.jobs(self.sizes, store)

    def run(self, workers: int | None = None, folder: Path | None = None) -> list[Path]:
        """Make what is missing with several processes of one thread each, then pack the tables into data/NAME.

        Raises StudyError, RuntimeError when a job failed twice: what was finished stays, the same call goes on.
        """
        self.jobs(self.store(folder))  # a broken file is told before any process is started
        in_processes(work, (self.source, self.profile, folder), workers)
        written = work(self.source, self.profile, folder).pack()
        publish: Callable | None = getattr(self.module, "publish", None)
        return [*written, publish(self.profile)] if publish else written


def work(
    source: str,
    profile: str,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
    share: tuple[int, int] = (0, 1),
) -> ArtefactStore:
    """Make whatever is not made and not being made elsewhere; returns the store. See `jobs.work_off`."""
    study = load(source, profile)
    store = study.store(folder)
    return work_off(study.jobs(store), store, say, share)


def tables(name: str, profile: str) -> dict[str, pd.DataFrame]:
    """A study's tables by kind, as a chapter wants them, and under "provenance" who made what.

    "smoke" makes them now, in this process, on one thread; the others read what is committed.
    Raises StoreError with the remedy where nothing is.
    """
    study = load(name, profile)
    if profile != "smoke":
        return {kind: packed(kind, profile, name) for kind in (*study.tables, "provenance")}
    with one_thread():
        store = work(name, profile, say=lambda text: None)
    return {kind: store.whole(kind) for kind in study.tables} | {"provenance": store.notes()}


def names() -> list[str]:
    """The studies in data/studies."""
    return sorted(p.stem for p in (root() / "data" / "studies").glob("*.yaml"))


def read(source: str) -> tuple[str, dict]:
    """Name and content of a study of data/studies, or of any file whose name ends in .yaml. Raises StudyError."""
    if source.endswith((".yaml", ".yml")):
        path, name = Path(source), Path(source).stem
        if not path.is_file():
            raise StudyError(f"no study file {path}")
    else:
        name = source
        if name not in names():
            raise StudyError(
                f"no study {name!r} in data/studies{suggest(name, names())}; there are: {', '.join(names())}"
            )
        path = data_file("studies", f"{name}.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise StudyError(f"{path.name}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(content, dict):
        raise StudyError(f"{path.name}: must be a mapping with question and profiles")
    for key in ("profiles", "defaults"):
        if not isinstance(content.get(key) or {}, dict):
            raise StudyError(f"{path.name}: {key} must be a mapping, got {content[key]!r}")
    return name, content


def section(file: str, content: dict, profile: str):
    """A profile's part of a study. Raises StudyError."""
    found = (content.get("profiles") or {}).get(profile)
    if not found:
        have = ", ".join(content.get("profiles") or {})
        raise StudyError(f"{file}: no profile {profile!r}; it has: {have}")
    return found


def of_runs(content: dict) -> bool:
    """Whether a study is a list of training runs."""
    return "made_by" not in content


def load(source: str, profile: str = "cpu") -> Study:
    """A study whose jobs a module lists. Raises StudyError for an unknown study, profile or key."""
    name, content = read(source)
    file = f"{name}.yaml"
    known(file, "", content, KEYS)
    if not isinstance(content.get("made_by"), str):
        raise StudyError(f"{file}: made_by must name the module that lists the jobs")
    kinds = content.get("tables") or []
    if not isinstance(kinds, list) or not all(isinstance(k, str) and k for k in kinds):
        raise StudyError(f"{file}: tables must be a list of names, got {kinds!r}")
    sizes = section(file, content, profile)
    question, made_by = str(content.get("question", "")), content["made_by"]
    source = source if source == name else str(Path(source).resolve())  # holds wherever a task runs
    return Study(name, profile, question, made_by, tuple(kinds), sizes, source)


def known(file: str, place: str, entry: dict, allowed, aliases=None) -> None:
    """Raise StudyError for a key that is not allowed, with the one that was meant."""
    for key in entry:
        if key not in allowed:
            where = f"{file}, {place}" if place else file
            raise StudyError(f"{where}: unknown key {key!r}{suggest(key, allowed, aliases)}")


def suggest(word, choices, aliases=None) -> str:
    """ "; did you mean …?" where a choice is close, or what an alias stands for; nothing otherwise."""
    meant = (aliases or {}).get(str(word))
    near = difflib.get_close_matches(str(word), [str(c) for c in choices], 1)
    close = [meant] if meant in choices else near
    return f"; did you mean {close[0]!r}?" if close else ""
