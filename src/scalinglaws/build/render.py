"""Rendering the site with Jupyter Book, every warning fatal."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

from .. import claims
from ..paths import root
from . import chapters
from .chapters import BuildError
from .publish import repository


def site():
    """The folder of the rendered site."""
    return root() / "_build" / "html"


def write_scorecard(profile: str) -> dict[str, list[dict]]:
    """book/scorecard_data.json: the ledger joined with what the chapters recorded, and their passports."""
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
            {**row, "line": lines.get(row["chapter"], {}).get(row["id"])} for row in claims.rows(records)
        ],
    }
    (root() / "book" / "scorecard_data.json").write_text(
        json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    return records


def source_lines(name: str) -> dict[str, int]:
    """The line of a chapter's source at which each claim is checked."""
    text = (root() / "notebooks" / f"{name}.md").read_text(encoding="utf-8")
    return {
        m.group(1): text.count("\n", 0, m.start()) + 1
        for m in re.finditer(r"check\(\s*[\"']([^\"']+)[\"']", text)
    }


def _inputs_key() -> dict[str, str]:
    base = root()
    files = [base / "_config.yml", base / "_toc.yml", base / "requirements.lock"]
    files += [p for p in (base / "book").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    files += [*(base / "src/scalinglaws/build").glob("*.py"), base / "src/scalinglaws/claims.py"]
    key = {str(p.relative_to(base)): chapters._hash(p.read_bytes()) for p in sorted(files)}
    return key | {"repository": repository() or ""}


def _rendered() -> list[str]:
    return sorted(str(p.relative_to(site())) for p in site().rglob("*") if p.is_file())


def render(say=print) -> bool:
    """Render if an input changed since the last success. The site is built anew, so no stale page survives."""
    stored = root() / "_build" / "render.json"
    key = _inputs_key()
    try:
        if json.loads(stored.read_text()) == {"inputs": key, "files": _rendered()}:
            return False
    except (OSError, ValueError):
        pass
    stored.unlink(missing_ok=True)
    for folder in ("html", ".doctrees", ".jupyter_cache"):
        shutil.rmtree(root() / "_build" / folder, ignore_errors=True)
    say("rendering the site …")
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        str(root()),
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
    stored.write_text(json.dumps({"inputs": key, "files": _rendered()}))
    return True
