"""The run store: one finished run is one small Parquet file, written whole or not at all.

STORE/STUDY-PROFILE/HASH.parquet holds one row: the run's fields, its results, and where, when and
on what it was computed. STORE/STUDY-PROFILE.parquet is the same rows in one table, the form that is
committed and that chapters read. What is done is the union of both, so that a study goes on
from a fresh clone; a run in both counts once, because a row's key is its run's hash.
"""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..paths import data_file, root
from ..store import StoreError, tidy, write_whole
from .config import Run

RESULTS = (
    "status", "loss", "N", "N_total", "D", "C", "flops", "steps_trained", "seconds", "position_loss",
    "transfer_final", "curve_tokens", "curve_loss", "evaluation_tokens_seen", "evaluation_loss",
    "transfer_loss", "noise_gradient", "noise_trace", "branch_tokens", "branch_loss",
)  # fmt: skip
PROVENANCE = ("commit", "date", "processor", "gpu", "torch", "replicas", "compiled")
COLUMNS = ("hash", *(f.name for f in fields(Run)), *RESULTS, *PROVENANCE)


class Store:
    """The finished runs of one study and profile under `folder` (default: data/runs of the checkout)."""

    def __init__(self, study: str, profile: str, folder: Path | None = None):
        self.name = f"{study}-{profile}"
        self.folder = Path(folder) if folder else root() / "data" / "runs"
        self.loose = self.folder / self.name

    @property
    def table_path(self) -> Path:
        """The committed table."""
        return self.folder / f"{self.name}.parquet"

    def path(self, hash: str) -> Path:
        """The file of one finished run."""
        return self.loose / f"{hash}.parquet"

    def done(self) -> set[str]:
        """Hashes of the finished runs. Damaged files are set aside as NAME.damaged and do not count."""
        return set(self.table()["hash"])

    def table(self) -> pd.DataFrame:
        """All finished runs, one row each, ordered by hash; columns as in `COLUMNS`.

        Raises StoreError if the committed table is damaged.
        """
        parts = []
        if self.table_path.is_file():
            parts.append(read_table(self.table_path))
        for path in sorted(self.loose.glob("*.parquet")):
            part = self._read_loose(path)
            if part is not None:
                parts.append(part)
        if not parts:
            return pd.DataFrame(columns=COLUMNS)
        whole = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        whole = whole.drop_duplicates("hash", keep="last").sort_values("hash", ignore_index=True)
        return whole[list(COLUMNS)]

    def _read_loose(self, path: Path) -> pd.DataFrame | None:
        try:
            part = _read(path)
            if list(part["hash"]) != [path.stem]:
                raise KeyError("hash")
            return part
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException, KeyError) as error:
            if getattr(error, "errno", None):  # the file may be sound: no permission, too many open files, …
                raise StoreError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from None
            path.replace(path.with_suffix(".damaged"))
            return None

    def put(self, run: Run, result: dict, provenance: dict) -> None:
        """Store a finished run: written under a temporary name, synced, renamed.

        Raises StoreError when the disk is full or cannot be written; nothing half-written stays.
        """
        row = {"hash": run.hash} | run.to_dict() | {k: result[k] for k in RESULTS}
        row |= {k: provenance[k] for k in PROVENANCE}
        _write(pd.DataFrame([row]), self.path(run.hash))

    def tidy(self) -> None:
        """Remove what killed processes of this machine left half-written."""
        tidy(self.loose)

    def pack(self) -> Path:
        """Write all finished runs into the one table that is committed."""
        _write(self.table(), self.table_path)
        return self.table_path

    @contextmanager
    def claim(self, hash: str):
        """Hold a run while it is trained; yields False if another process holds it or it is done.

        The lock is the kernel's, so it is released however the process ends.
        """
        import fcntl

        self.loose.mkdir(parents=True, exist_ok=True)
        lock = self.loose / f"{hash}.lock"
        with lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield not self.path(hash).exists()
        lock.unlink(missing_ok=True)


def read_table(path: Path) -> pd.DataFrame:
    """A committed table, every byte checked. Raises FileNotFoundError, or StoreError if it is damaged."""
    try:
        return _read(path)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, KeyError) as error:
        raise StoreError(
            f"{path} is damaged or no table of runs ({type(error).__name__}): restore it with "
            f"`git checkout -- {path.name}` in its folder, or delete it to train its runs again"
        ) from None


def load_runs(study: str, profile: str = "cpu") -> pd.DataFrame:
    """A study's committed table as a chapter reads it: one row a run, list columns for curves.

    The file is noted, so that a chapter is rerun when it changes. Raises StoreError where there is none.
    """
    name = f"{study}-{profile}.parquet"
    path = data_file("runs", name)
    if not path.is_file():
        raise StoreError(
            f"no stored runs data/runs/{name}: train them with "
            f"`python -m scalinglaws sweep {study} --profile {profile}`"
        )
    return read_table(path)


def _schema() -> pa.Schema:
    kinds = {
        "int": pa.int64(),
        "float": pa.float64(),
        "str": pa.string(),
        "tuple[int, ...]": pa.list_(pa.int64()),
    }
    types = {"hash": pa.string()} | {f.name: kinds[str(f.type)] for f in fields(Run)}
    for name in RESULTS:
        types[name] = pa.float64()
        if name in ("N", "N_total", "D", "steps_trained"):
            types[name] = pa.int64()
        if name.endswith(("_tokens", "_seen")):
            types[name] = pa.list_(pa.int64())
        elif name.endswith("_loss") or name.startswith("noise_"):
            types[name] = pa.list_(pa.float32() if name == "position_loss" else pa.float64())
    types |= {"status": pa.string()} | dict.fromkeys(PROVENANCE, pa.string())
    types |= {"replicas": pa.int64(), "compiled": pa.bool_()}
    return pa.schema([(name, types[name]) for name in COLUMNS])


def _write(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame[list(COLUMNS)], schema=_schema(), preserve_index=False)
    table = table.replace_schema_metadata({"format": json.dumps({"scalinglaws-runs": 1})})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    write_whole(path, buffer.getvalue())


def _read(path: Path) -> pd.DataFrame:
    """A store file, its pages verified; fields of `Run` that are newer than the file at their default.

    Raises KeyError for a column or type that no version ever wrote.
    """
    table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    expected = _schema()
    for column in table.schema:
        if column.name not in expected.names or expected.field(column.name).type != column.type:
            raise KeyError(column.name)
    frame = table.to_pandas()
    defaults = {f.name: f.default for f in fields(Run) if f.default is not MISSING}
    for name in set(COLUMNS) - set(frame):
        frame[name] = [defaults[name]] * len(frame)
    return frame
