"""Where the project's files are, which of them a computation has read, and what it records.

A chapter's kernel runs with `SCALINGLAWS_RECORD` naming a folder. What the chapter checks,
draws and reads is appended there, and `make book` keeps it only if the whole run succeeds.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

_read: dict[Path, str] = {}
recorded: list[tuple[str, dict]] = []
"""What this process has recorded so far, as (kind, entry)."""


def root() -> Path:
    """The checkout: `SCALINGLAWS_ROOT`, else the folder above `src/`, else the working directory's checkout.

    Raises FileNotFoundError when none holds data/registry.toml (the package was installed
    without the repository).
    """
    here = Path(__file__).resolve()
    candidates = [os.environ.get("SCALINGLAWS_ROOT"), here.parents[2], Path.cwd(), *Path.cwd().parents]
    for folder in candidates:
        if folder and (Path(folder) / "data" / "registry.toml").is_file():
            return Path(folder)
    raise FileNotFoundError(
        "no checkout of the book found: run inside it or set SCALINGLAWS_ROOT to its folder"
    )


def data_file(*parts: str) -> Path:
    """A file under data/, noted as read: `make book` reruns a chapter when one of its files changes."""
    return noted(root().joinpath("data", *parts))


def noted(path: Path) -> Path:
    """The path, noted as read, with the digest that its content has now."""
    _read.setdefault(path, file_digest(path))
    return path


def files_read() -> dict[Path, str]:
    """Every path noted in this process and its digest when it was first noted."""
    return dict(sorted(_read.items()))


def file_digest(path: Path) -> str:
    """Twenty hex digits of the content's SHA-256; "absent" where there is no such file."""
    try:
        return digest(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return "absent"


def digest(content: bytes | str) -> str:
    """Twenty hex digits of the SHA-256 of bytes or of a text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:20]


def record(kind: str, entry: dict) -> None:
    """Keep `entry` under `kind`: in this process, and in KIND.jsonl of the run that `make book` records."""
    recorded.append((kind, entry))
    folder = os.environ.get("SCALINGLAWS_RECORD")
    if folder:
        with open(Path(folder, f"{kind}.jsonl"), "a", encoding="utf-8") as handle:
            handle.write(json.dumps(entry) + "\n")
