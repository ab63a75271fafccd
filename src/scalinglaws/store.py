"""Files that are kept: written whole or not at all, and checked whenever they are read.

Tables are Parquet with a checksum a page; models are safetensors with the SHA-256 of what they hold
in the header; documents are JSON with the SHA-256 of their content. A damaged file is told with its
name and the remedy, never read as other numbers.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .paths import root

if TYPE_CHECKING:
    import pandas as pd
    import torch


class StoreError(Exception):
    """A kept file that cannot be read or written. One line, with the remedy."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name, synced, renamed.

    Raises StoreError when the disk is full or cannot be written; nothing half-written stays.
    """
    partial = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free some space (or make the folder writable) and start "
            "again, what is finished is kept"
        ) from None


def tidy(folder: Path) -> None:
    """Remove what killed processes of this machine left half-written below `folder`."""
    for path in folder.rglob(f"*.{socket.gethostname()}-*.part"):
        if not _alive(int(path.name.split("-")[-1].removesuffix(".part"))):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def exchange(new: Path, old: Path) -> None:
    """Put a finished folder in the place of another, which stands whole until then, in one step where Linux can.

    Afterwards what was `old` may lie at `new`; remove it.
    """
    if not old.exists():
        new.rename(old)
        return
    try:
        here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        if ctypes.CDLL(None, use_errno=True).renameat2(here, bytes(new), here, bytes(old), swap) == 0:
            return
    except AttributeError:  # no such call here
        pass
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Raise StoreError, before any work, where nothing could be stored in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "not writable"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise StoreError(f"cannot write {folder}: {reason}; make it writable or choose another place")


def table_bytes(frame: pd.DataFrame) -> bytes:
    """A table as Parquet: zstd, a checksum a page."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd", compression_level=19, write_page_checksum=True)
    return buffer.getvalue()


def read_table(path: Path) -> pd.DataFrame:
    """A kept table, every page checked. Raises FileNotFoundError, or StoreError where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, page_checksum_verification=True, partitioning=None).to_pandas()
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def tensor_bytes(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors as safetensors, with the SHA-256 of all that they hold in the header."""
    from safetensors.torch import save

    return save(tensors, (metadata or {}) | {"sha256": _content_digest(tensors, metadata or {})})


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """(tensors, metadata) of a kept model. Raises FileNotFoundError, or StoreError where it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    content = path.read_bytes()
    try:
        size = int.from_bytes(content[:8], "little")
        metadata, tensors = json.loads(content[8 : 8 + size])["__metadata__"], load(content)
        if metadata.pop("sha256") != _content_digest(tensors, metadata):
            raise ValueError("checksum")
        return tensors, metadata
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged(path, error) from None


def _content_digest(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> str:
    """Names, types, shapes, bytes and descriptions, in an order that no library chooses."""
    import torch

    known = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, t in sorted(tensors.items()):
        known.update(json.dumps([name, str(t.dtype), list(t.shape)]).encode())
        known.update(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return known.hexdigest()


def write_document(path: Path, content: dict) -> None:
    """A JSON document with its own checksum. Raises StoreError where it cannot be written."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    whole = {"sha256": hashlib.sha256(text.encode()).hexdigest()} | content
    write_whole(path, json.dumps(whole, indent=1, ensure_ascii=False).encode())


def read_document(path: Path) -> dict:
    """What `write_document` wrote. Raises FileNotFoundError, or StoreError where it was changed."""
    content = path.read_bytes()
    try:
        whole = json.loads(content)
        stated = whole.pop("sha256")
        text = json.dumps(whole, sort_keys=True, ensure_ascii=False)
        if hashlib.sha256(text.encode()).hexdigest() != stated:
            raise ValueError("checksum")
        return whole
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> StoreError:
    inside = path.is_relative_to(root() / "data")
    name = path.relative_to(root()) if inside else path
    remedy = f"restore it with `git checkout -- {name}`" if inside else "delete it; it is made again"
    return StoreError(f"{name} is damaged ({type(error).__name__}): {remedy}")
