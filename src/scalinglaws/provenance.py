"""Passports: where a number came from, on what machine, from which commit."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from .paths import digest, file_digest, files_read, record, root

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib", "torch")
_started = time.monotonic()


@cache
def commit() -> str:
    """The checkout's commit, 12 digits, with "+changes" if tracked files differ.

    A copy without its history is told by SCALINGLAWS_COMMIT; else it is "unknown".
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError, FileNotFoundError):
        return os.environ.get("SCALINGLAWS_COMMIT", "unknown")[:12]


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root(), capture_output=True, text=True, check=True
    ).stdout.strip()


@cache
def hardware() -> dict[str, str | int]:
    """Processor, cores, memory in GiB and GPU ("none" without one)."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _memory(),
        "gpu": gpu() or "none",
    }


def gpu() -> str | None:
    """Name of the first NVIDIA GPU that the driver reports, or None."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.splitlines()[0].strip() if found.returncode == 0 and found.stdout.strip() else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (ValueError, OSError, AttributeError):
        return 0


def packages() -> dict[str, str]:
    """Versions of the packages a result depends on; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def passport(**extra) -> dict:
    """Commit, date (UTC), hardware, package versions and profile, plus what the caller adds."""
    return {
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": os.environ.get("SCALINGLAWS_PROFILE", "interactive"),
        "hardware": hardware(),
        "packages": packages(),
        **extra,
    }


def dependencies() -> dict[str, str]:
    """Files of the checkout that this process has used, relative to the root, with their digests.

    A `data_file` has the digest of the moment it was first read, an imported module that of now.
    """
    base = root()
    loaded = [
        getattr(m, "__file__", None) for name, m in sys.modules.items() if name.split(".")[0] == "scalinglaws"
    ]
    found = {Path(f): file_digest(Path(f)) for f in loaded if f} | files_read()
    inside = {p.resolve(): known for p, known in found.items() if p.suffix != ".pyc"}
    return {str(p.relative_to(base)): d for p, d in sorted(inside.items()) if p.is_relative_to(base)}


@cache
def code_digest(module: str) -> str:
    """A digest of a module's source and of all of this library that it imports, at any depth.

    module: dotted name below the library, as in "lm.train". What a kept result depends on besides its settings.
    """
    package = Path(__file__).parent
    found: dict[Path, None] = {}
    waiting = [package.joinpath(*module.split(".")).with_suffix(".py")]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found[path] = None
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                for target in (base, *(base / a.name for a in node.names)):
                    waiting += [target.with_suffix(".py"), target / "__init__.py"]
    parts = [f"{p.relative_to(package)} {file_digest(p)}" for p in sorted(found)]
    return digest("\n".join(parts))


def made(profile: str, artefacts) -> str:
    """A line for the last cell of a page: of how many artefacts a stored study consists, and what made them.

    artefacts: a table with a row an artefact and columns date, seconds, processor.
    """
    days, hours = artefacts["date"].str[:10], artefacts["seconds"].sum() / 3600
    return (
        f"{profile}: {len(artefacts)} artefacts made {days.min()} to {days.max()} "
        f"in {hours:.1f} core hours on {artefacts['processor'].iloc[0]}"
    )


def stamp(**extra):
    """The last cell of a chapter: display the passport and record what the run depended on."""
    from IPython.display import HTML

    facts = passport(seconds=round(time.monotonic() - _started, 1), **extra)
    record("passport", facts)
    record("dependencies", {"files": dependencies()})
    machine = facts["hardware"]
    rows = {
        "commit": facts["commit"],
        "date (UTC)": facts["date"],
        "profile": facts["profile"],
        "run time": f"{facts['seconds']} s",
        "hardware": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, GPU: {machine['gpu']}",
        "packages": ", ".join(f"{k} {v}" for k, v in facts["packages"].items()),
    } | {k: str(v) for k, v in extra.items()}
    body = "".join(f'<tr><th scope="row">{k}</th><td>{v}</td></tr>' for k, v in rows.items())
    return HTML(
        f'<table class="passport"><caption>How this page was computed</caption><tbody>{body}</tbody></table>'
    )
