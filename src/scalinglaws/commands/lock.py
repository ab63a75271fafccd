"""`scalinglaws lock`: resolve pyproject.toml into a requirements.lock with hashes; install it anywhere.

`python -m scalinglaws.commands.lock` installs it into an environment that has nothing but pip yet.
"""

from __future__ import annotations

import json
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
# Exact versions and hashes of everything, for every platform, from `make lock`. Do not edit; change pyproject.toml.
# torch may be PyPI's build or a CPU build (+cpu); what only a CUDA build needs is marked extra == 'cuda'.
# `make setup` installs the build that pip finds, and with it what that one needs.
"""
_CUDA = re.compile(r"^(nvidia|triton|cuda)\b", re.I)
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def register(commands) -> None:
    """Add the subcommand."""
    commands.add_parser("lock", help="resolve pyproject.toml into requirements.lock").set_defaults(run=run)


def entries(lock: str) -> dict[str, set[str]]:
    """Requirement, with its marker → sha256 hashes, of every entry of a lock."""
    found: dict[str, set[str]] = {}
    for line in lock.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
            found[requirement] = set(hashes)
    return found


def written(found: dict[str, set[str]]) -> str:
    """The lock of such entries, in order; what only CUDA needs is marked so."""
    lines = [HEADER]
    for requirement in sorted(found):
        hashes = "".join(f" \\\n    --hash=sha256:{h}" for h in sorted(found[requirement]))
        name, _, marker = requirement.partition(" ; ")
        if _CUDA.match(name) and "extra ==" not in marker:
            marker = f"({marker}) and extra == 'cuda'" if marker else "extra == 'cuda'"
        lines.append(f"{name} ; {marker}{hashes}\n" if marker else f"{name}{hashes}\n")
    return "".join(lines)


def run(options) -> int:
    """Write the lock; versions that still fit stay as they are. Raises UserError where nothing fits."""
    path, project = root() / "requirements.lock", root() / "pyproject.toml"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        if subprocess.run([python, "-m", "pip", "install", "-q", "uv"]).returncode:
            raise UserError("uv, which resolves the lock, cannot be installed; see pip's message above")
        build, fresh = Path(folder, "build.in"), Path(folder, "requirements.lock")
        build.write_text(
            "\n".join(tomllib.loads(project.read_text(encoding="utf-8"))["build-system"]["requires"])
        )
        fresh.write_text(before, encoding="utf-8")  # uv keeps its versions where it can
        command = [
            python, "-m", "uv", "pip", "compile", str(project), str(build), "--all-extras", "--universal",
            "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "--quiet",
            "--output-file", str(fresh),
        ]  # fmt: skip
        if subprocess.run(command, cwd=folder).returncode:
            raise UserError("pyproject.toml does not resolve; see uv's message above")
        found = entries(fresh.read_text(encoding="utf-8"))
    (torch,) = (r for r in found if r.startswith("torch=="))
    # other builds of the same version: those known before, and the one that pip takes here
    found[torch] |= entries(before).get(torch, set()) | {_taken_here(torch)[1]}
    path.write_text(written(found), encoding="utf-8")
    print("requirements.lock written", file=sys.stderr)
    return 0


def _taken_here(requirement: str) -> tuple[str, str, list[str]]:
    """Version, sha256 and requirements of the file that pip would install; nothing is downloaded."""
    command = [
        *_PIP,
        "install",
        "-q",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--report",
        "-",
        requirement,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"pip finds no {requirement} for this machine; see its message above")
    (item,) = json.loads(done.stdout)["install"]
    about = item["metadata"]
    hashes = item["download_info"]["archive_info"]["hashes"]
    return about["version"], hashes["sha256"], about.get("requires_dist", [])


def chosen(lock: str, version: str, sha256: str, requires: list[str]) -> str:
    """The lock for one build of torch: that file alone, and what CUDA needs if it requires it.

    pip, left to itself, prefers files whose index tells their hash, and so never takes a build from a folder.
    Raises UserError for a build that the lock does not know.
    """
    found = entries(lock)
    (torch,) = (r for r in found if r.startswith("torch=="))
    if sha256 not in found.pop(torch):
        raise UserError(
            f"requirements.lock does not know the torch {version} that pip finds here: run `make lock`"
        )
    if any(map(_CUDA.match, requires)):
        found = {
            re.sub(r"\((.*)\) and extra == 'cuda'|extra == 'cuda'", r"\1", r): h for r, h in found.items()
        }
    lines = [
        f"{r.removesuffix(' ; ')} " + " ".join(f"--hash=sha256:{h}" for h in hs) for r, hs in found.items()
    ]
    return "\n".join([*lines, f"torch=={version} --hash=sha256:{sha256}", ""])


def install() -> None:
    """Install the lock into this environment: wheels only, each with its hash. Raises UserError."""
    lock = (root() / "requirements.lock").read_text(encoding="utf-8")
    (torch,) = (r for r in entries(lock) if r.startswith("torch=="))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requirements.lock")
        path.write_text(chosen(lock, *_taken_here(torch)), encoding="utf-8")
        command = [
            *_PIP,
            "install",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "-r",
            str(path),
        ]
        if subprocess.run(command).returncode:
            raise UserError("not everything in requirements.lock was installed; see pip's message above")


if __name__ == "__main__":
    try:
        install()
    except UserError as error:
        sys.exit(f"error: {error}")
