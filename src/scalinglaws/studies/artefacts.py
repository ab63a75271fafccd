"""Where finished artefacts of a study are kept: models, data and tables, each under the hash of what made it.

An artefact is written whole or not at all, and an artefact that another process is making is waited for,
so that a study can be killed at any moment and be worked on by several processes. What the book
reads are the packed tables in data/NAME; the models stay in the build folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ..paths import data_file, root
from ..provenance import commit, gpu, hardware, packages
from ..store import StoreError, check_writable, read_table, table_bytes, tidy, write_whole


class ArtefactStore:
    """Artefacts of one profile under `folder` (default: _build/NAME/PROFILE of the checkout).

    An artefact is known by what it is asked to be, with what its inputs were asked to be, and by `code`, a digest of
    the modules that make it: nothing that older code made is ever taken for new. kinds: the tables that are packed.
    """

    def __init__(self, profile: str, folder: Path | None, name: str, kinds: Sequence[str], code: str = ""):
        self.profile, self.name, self.kinds, self.code = profile, name, tuple(kinds), code
        self.folder = Path(folder) if folder else root() / "_build" / name / profile
        self.asked: dict[Path, str] = {}
        self._inner = 0.0

    def table(self, kind: str, about: dict, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table that `about` describes, made and stored if it is not there or damaged."""
        return self._obtain(kind, about, ".parquet", lambda: table_bytes(make()), read_table)

    def artefact(self, kind: str, about: dict, make: Callable[[], object]):
        """Any other artefact (a model, labels), pickled with a checksum: read back by this program only."""
        name = self._path(kind, about, ".pickle").stem
        return self._obtain(
            kind, about, ".pickle", lambda: _sealed(pickle.dumps(make(), protocol=5), name), _unsealed
        )

    def has(self, kind: str, about: dict) -> bool:
        """Whether the artefact is there."""
        return any(self._path(kind, about, end).is_file() for end in (".parquet", ".pickle"))

    def _path(self, kind: str, about: dict, end: str) -> Path:
        text = json.dumps(about, sort_keys=True) + self.code
        return self.folder / kind / (hashlib.sha256(text.encode()).hexdigest()[:16] + end)

    def _obtain(
        self, kind: str, about: dict, end: str, make: Callable[[], bytes], read: Callable[[Path], object]
    ):
        """The artefact, read and checked; a damaged one is set aside as NAME.damaged and made again."""
        path = self._path(kind, about, end)
        self.asked[path] = json.dumps(about, sort_keys=True)
        if path.is_file():
            try:
                return read(path)
            except StoreError:
                path.replace(path.with_suffix(".damaged"))
        with self._held(path) as mine:
            if mine:
                check_writable(path.parent)  # before the hours, not after
                outer, self._inner, started = self._inner, 0.0, time.monotonic()
                content = make()
                took = time.monotonic() - started
                own, self._inner = took - self._inner, outer + took
                note = {
                    "kind": kind,
                    "artefact": path.stem,
                    "about": json.dumps(about, sort_keys=True),
                    "seconds": round(own, 1),  # without the artefacts that were made on the way
                    "code": self.code,
                    **provenance(),
                }
                write_whole(path.with_suffix(".json"), json.dumps(note).encode())
                write_whole(path, content)
        return read(path)

    @contextmanager
    def _held(self, path: Path) -> Iterator[bool]:
        """Wait for the artefact's lock; yields whether the artefact is still to be made. The kernel frees it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield not path.is_file()

    def _ordered(self) -> list[Path]:
        """What was asked for, in an order that other code would keep: rows of packed tables stay where they are."""
        return sorted(self.asked, key=lambda p: (p.parent.name, self.asked[p]))

    def notes(self) -> pd.DataFrame:
        """Provenance of every artefact that was asked for, one row each."""
        found = [p.with_suffix(".json") for p in self._ordered() if p.is_file()]
        return pd.DataFrame([json.loads(p.read_text()) for p in found])

    def whole(self, kind: str) -> pd.DataFrame:
        """All artefacts of a kind that were asked for, as one table: what older plans left behind stays out."""
        parts = [read_table(p) for p in self._ordered() if p.parent.name == kind and p.is_file()]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def pack(self, folder: Path | None = None) -> list[Path]:
        """Write every table's artefacts as one file, and the notes: what is committed and what chapters read."""
        folder = Path(folder) if folder else root() / "data" / self.name
        tidy(folder)
        written = []
        for kind in self.kinds:
            table = self.whole(kind)
            if len(table):
                written.append(folder / f"{kind}-{self.profile}.parquet")
                write_whole(written[-1], table_bytes(table))
        written.append(folder / f"provenance-{self.profile}.parquet")
        write_whole(written[-1], table_bytes(self.notes()))
        return written


def packed(kind: str, profile: str, name: str) -> pd.DataFrame:
    """A committed table; noted, so that a chapter is rerun when it changes. Raises StoreError where there is none."""
    path = data_file(name, f"{kind}-{profile}.parquet")
    if not path.is_file():
        raise StoreError(
            f"no stored table data/{name}/{path.name}: make it with "
            f"`python -m scalinglaws study {name} --profile {profile}`"
        )
    return read_table(path)


def provenance() -> dict[str, str]:
    """Commit, date, processor, GPU and torch of an artefact made now."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": str(hardware()["processor"]),
        "gpu": gpu() or "",
        "torch": packages().get("torch", ""),
    }


def _sealed(content: bytes, name: str) -> bytes:
    return content + hashlib.sha256(name.encode() + content).digest()


def _unsealed(path: Path):
    whole = path.read_bytes()
    content, digest = whole[:-32], whole[-32:]
    if hashlib.sha256(path.stem.encode() + content).digest() != digest:
        raise StoreError(f"{path} is damaged or another artefact: delete it; it is made again")
    try:
        return pickle.loads(content)
    except (ImportError, AttributeError) as error:  # made before a class was moved or renamed
        raise StoreError(f"{path} was made by other code ({error}): delete it; it is made again") from None
