"""Rendering the site with Jupyter Book, every warning fatal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

from .. import claims, scorecard
from ..paths import root
from ..store import exchange, write_whole
from . import chapters, checklist, reference
from .chapters import BuildError
from .plain import repository


def site():
    """The folder of the rendered site."""
    return root() / "_build" / "html"


def write_scorecard(profile: str) -> dict[str, list[dict]]:
    """book/scorecard_data.json: the ledger joined with what the pages recorded, and their passports."""
    records = {
        name: chapters.read_records(chapters.executed_folder(name, profile), "claims")
        for name in chapters.names()
    }
    passports = {
        name: (chapters.read_records(chapters.executed_folder(name, profile), "passport") or [{}])[-1]
        for name in chapters.names()
    }
    lines = {name: source_lines(name) for name in chapters.names()}
    data = {
        "profile": profile,
        "papers": claims.papers(),
        "passports": passports,
        "claims": [
            {**row, "line": lines.get(row["page"], {}).get(row["id"])} for row in scorecard.rows(records)
        ],
    }
    write_whole(
        root() / "book" / "scorecard_data.json", json.dumps(data, indent=1, ensure_ascii=False).encode()
    )
    return records


def source_lines(name: str) -> dict[str, int]:
    """The line of a page's source at which each claim is checked: where its id stands, whoever hands it on."""
    text, known = chapters.source_path(name).read_text(encoding="utf-8"), claims.ledger()
    named = [m for m in re.finditer(r"[\"']([\w.+-]+)[\"']", text) if m.group(1) in known]
    return {m.group(1): text.count("\n", 0, m.start()) + 1 for m in named}


def _inputs_key() -> dict[str, str]:
    base = root()
    files = [base / "_config.yml", base / "_toc.yml", base / "requirements.lock"]
    files += [p for p in (base / "book").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    files += [
        *(base / "src/scalinglaws/build").glob("*.py"),
        *(base / f"src/scalinglaws/{name}.py" for name in ("claims", "scorecard")),
    ]
    key = {str(p.relative_to(base)): chapters._hash(p.read_bytes()) for p in sorted(files)}
    return key | {"repository": repository() or ""}


def _rendered() -> list[str]:
    return sorted(str(p.relative_to(site())) for p in site().rglob("*") if p.is_file())


def render(say=print) -> bool:
    """Render if an input changed since the last success. The site is built anew, so no stale page survives."""
    stored = root() / "_build" / "render.json"
    listed = (root() / "_toc.yml").read_text(encoding="utf-8")
    if "book/api/" in listed:
        reference.write()
    if "book/checklist" in listed:
        checklist.write()
    key = _inputs_key()
    try:
        if json.loads(stored.read_text()) == {"inputs": key, "files": _rendered()}:
            return False
    except (OSError, ValueError):
        pass
    stored.unlink(missing_ok=True)
    beside = root() / "_build" / "rendering"
    shutil.rmtree(beside, ignore_errors=True)
    say("rendering the site …")
    command = [
        sys.executable,
        "-c",
        # a renderer whose build was killed must not write into the next one's folder
        f"from scalinglaws.processes import end_with; end_with({os.getpid()}); "
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(root()),
        "--path-output",
        str(beside),
        "-W",
        "-n",
        "--keep-going",
        "--quiet",
    ]
    found = subprocess.run(
        command, cwd=root(), capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"}
    )
    if found.returncode:
        log = "\n".join(
            line
            for line in (found.stdout + found.stderr).splitlines()
            if re.search(r"WARNING|ERROR|error", line)
        )
        raise BuildError(
            f"the site has warnings, which are errors here:\n{log or found.stdout + found.stderr}"
        )
    exchange(beside / "_build" / "html", site())
    shutil.rmtree(beside, ignore_errors=True)
    write_whole(stored, json.dumps({"inputs": key, "files": _rendered()}).encode())
    return True


@contextmanager
def alone(say=print):
    """One build of a checkout at a time: a second one says who holds it, and waits. The kernel frees the lock."""
    import fcntl

    path = root() / "_build" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            say(f"waiting for another build of this checkout ({handle.read().strip() or 'starting'}) …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.truncate(0)
        handle.write(f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}")
        handle.flush()
        yield
