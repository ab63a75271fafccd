"""`scalinglaws lint`: every static check of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..paths import root

CHECKS = {
    "ruff": ["-m", "ruff", "check", "src", "tests", "book/_ext"],
    "ruff on notebooks": ["-m", "nbqa", "ruff", "notebooks", "--nbqa-process-cells=needs"],
    "types": ["-m", "mypy"],
    "codespell": [
        "-m",
        "codespell_lib",
        "README.md",
        "CONTRIBUTING.md",
        "book",
        "notebooks",
        "src",
        "tests",
        "data/claims",
    ],
    "British spelling": ["-m", "scalinglaws.commands.spelling"],
    "workflow schema": [
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        ".github/workflows/book.yml",
    ],
    "zizmor": ["zizmor", "--offline", "--quiet", ".github/workflows/book.yml"],
}


def register(commands) -> None:
    """Add the subcommand."""
    commands.add_parser("lint", help="check code, notebooks, spelling and the workflow").set_defaults(run=run)


def _environment() -> dict[str, str]:
    """This environment with the interpreter's own programs first in the path."""
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    }


def run(options) -> int:
    """Run every check; exit with 1 if one fails. A check that cannot start fails."""
    failed = []
    for name, arguments in CHECKS.items():
        program = [sys.executable] if arguments[0] == "-m" else []
        found = subprocess.run(
            [*program, *arguments], cwd=root(), capture_output=True, text=True, env=_environment()
        )
        print(f"{'ok  ' if found.returncode == 0 else 'FAIL'} {name}")
        if found.returncode:
            failed.append(name)
            print(found.stdout + found.stderr)
    return 1 if failed else 0
