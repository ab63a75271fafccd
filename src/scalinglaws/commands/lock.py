"""`scalinglaws lock`: resolve pyproject.toml into a requirements.lock that installs anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from ..paths import root
from . import UserError

HEADER = """\
# Exact versions of everything, from `make lock`. Do not edit; change pyproject.toml.
# Local version labels (torch's +cpu) are cut off, so that every platform finds its own build.
"""


def register(commands) -> None:
    """Add the subcommand."""
    commands.add_parser("lock", help="resolve pyproject.toml into requirements.lock").set_defaults(run=run)


def portable(frozen: str) -> str:
    """The lines of `pip freeze` without what ties them to this machine.

    Local version labels, editable and direct references, and the CUDA libraries that torch
    asks for by itself where they exist.
    """
    kept = []
    for line in frozen.splitlines():
        if not re.match(r"^[A-Za-z0-9._-]+==", line) or re.match(
            r"^(nvidia-|triton|cuda-|scalinglaws)", line, re.I
        ):
            continue
        kept.append(re.sub(r"\+[A-Za-z0-9.]+$", "", line.strip()))
    return HEADER + "\n".join(sorted(kept, key=str.lower)) + "\n"


def requirements() -> list[str]:
    """Every requirement of pyproject.toml, those of the extras included."""
    project = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]


def run(options) -> int:
    """Install every extra into a fresh environment and freeze it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        if subprocess.run([python, "-m", "pip", "install", "-q", *requirements()]).returncode:
            raise UserError("pyproject.toml does not resolve; see pip's message above")
        if subprocess.run([python, "-m", "pip", "check"]).returncode:
            raise UserError("the resolved packages contradict each other; see pip's message above")
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
        ).stdout
    (root() / "requirements.lock").write_text(portable(frozen))
    print("requirements.lock written", file=sys.stderr)
    return 0
