"""`scalinglaws lint`: every static check of the repository."""

from __future__ import annotations

import subprocess
import sys

from ..paths import root

CHECKS = {
    "ruff": ["-m", "ruff", "check", "src", "tests", "book/_ext"],
    "ruff on notebooks": ["-m", "nbqa", "ruff", "notebooks", "--nbqa-process-cells=needs"],
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
    "workflow schema": [
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        ".github/workflows/book.yml",
    ],
    "zizmor": ["-m", "zizmor", "--offline", "--quiet", ".github/workflows/book.yml"],
}


def register(commands) -> None:
    """Add the subcommand."""
    commands.add_parser("lint", help="check code, notebooks, spelling and the workflow").set_defaults(run=run)


def run(options) -> int:
    """Run every check; exit with 1 if one fails. A check that cannot start fails."""
    failed = []
    for name, arguments in CHECKS.items():
        found = subprocess.run([sys.executable, *arguments], cwd=root(), capture_output=True, text=True)
        print(f"{'ok  ' if found.returncode == 0 else 'FAIL'} {name}")
        if found.returncode:
            failed.append(name)
            print(found.stdout + found.stderr)
    return 1 if failed else 0
