"""Executing chapters, and knowing when one must run again.

A chapter's source is notebooks/NAME.md (jupytext MyST). Its execution is kept in
_build/executed/PROFILE/NAME/: the executed notebook, figures, what it recorded, and a key.
The key holds what the outputs depend on: the code cells, the profile's parameters, the lock
file, and the hash of every file the kernel read or imported, as the chapter itself reported
at its end. Prose is not part of it: a page is the source's prose around the kept outputs, so
a changed sentence needs no execution and a changed number always does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from .. import datasets
from ..datasets import registry
from ..paths import root
from ..provenance import packages

if TYPE_CHECKING:
    import nbformat

# jupytext and nbformat take two seconds to import: a build with nothing to do must not.
PROFILES = ("smoke", "cpu", "gpu")


class BuildError(Exception):
    """The book cannot be built; one line or the failing cell's traceback."""


def names() -> list[str]:
    """Chapters in the order of the table of contents' sources."""
    return sorted(p.stem for p in (root() / "notebooks").glob("*.md"))


def source(name: str) -> nbformat.NotebookNode:
    """The chapter as a notebook without outputs."""
    import jupytext

    return jupytext.read(root() / "notebooks" / f"{name}.md")


def parameters(name: str, profile: str) -> dict:
    """The profile's parameters for a chapter. Raises BuildError for an unknown profile."""
    if profile not in PROFILES:
        raise BuildError(f"PROFILE={profile}: choose one of {', '.join(PROFILES)}")
    profiles = (
        yaml.safe_load((root() / "notebooks" / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8"))
        or {}
    )
    return profiles.get(name) or {}


def executed_folder(name: str, profile: str) -> Path:
    """Where a chapter's last successful execution is kept."""
    return root() / "_build" / "executed" / profile / name


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:20]


def _file_hash(relative: str) -> str:
    path = root() / relative
    return _hash(path.read_bytes()) if path.is_file() else "absent"


def _code_hash(name: str) -> str:
    cells = [
        (c.source, sorted(c.metadata.get("tags", []))) for c in source(name).cells if c.cell_type == "code"
    ]
    return _hash(json.dumps(cells).encode())


def _outer_key(name: str, profile: str) -> dict:
    """The parts of the key that need no parsing."""
    return {
        "parameters": parameters(name, profile),
        "lock": _file_hash("requirements.lock"),
        "packages": packages(),
    }


def stale(name: str, profile: str) -> str | None:
    """Why a chapter must run, or None if its kept execution is valid."""
    folder = executed_folder(name, profile)
    try:
        kept = json.loads((folder / "key.json").read_text())
    except (OSError, ValueError):
        return "never executed"
    # Unchanged text needs no parsing; changed text may still have the same code.
    text_is_kept = kept.get("source") == _file_hash(f"notebooks/{name}.md")
    known = _outer_key(name, profile) | ({} if text_is_kept else {"code": _code_hash(name)})
    for part, value in known.items():
        if kept.get(part) != value:
            return {
                "code": "its code changed",
                "parameters": f"the {profile} profile changed",
                "lock": "requirements.lock changed",
                "packages": "other package versions",
            }[part]
    if not text_is_kept:
        (folder / "key.json").write_text(
            json.dumps(kept | {"source": _file_hash(f"notebooks/{name}.md")}, indent=1)
        )
    for path, digest in kept["files"].items():
        if _file_hash(path) != digest:
            return f"{path} changed"
    for dataset, available in kept["datasets"].items():
        if datasets.registry.present(dataset) != available:
            return f"dataset {dataset} {'disappeared' if available else 'became available'}"
    return None


def execute(name: str, profile: str) -> dict:
    """Run a chapter under a profile; keep the result only if every cell succeeds. Returns its passport."""
    import nbformat
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    chosen = parameters(name, profile)
    notebook = source(name)
    _check_parameters(name, profile, notebook, chosen)
    key = _outer_key(name, profile) | {"code": _code_hash(name), "source": _file_hash(f"notebooks/{name}.md")}
    final = executed_folder(name, profile)
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=final.parent) as temporary:
        work = Path(temporary, "run")
        (work / "figures").mkdir(parents=True)
        # An IPython profile of our own: no start-up files of the user's, no notices in the output.
        (work / "ipython" / "profile_default").mkdir(parents=True)
        (work / "ipython" / "profile_default" / "ipython_kernel_config.py").write_text(
            "c.IPKernelApp.log_level = 40\n"
        )
        nbformat.write(notebook, work / "input.ipynb")
        before = {k: os.environ.get(k) for k in _kernel_environment(work, profile)}
        os.environ.update(_kernel_environment(work, profile))
        try:
            execute_notebook(
                str(work / "input.ipynb"),
                str(work / "notebook.ipynb"),
                parameters=chosen,
                kernel_name="python3",
                cwd=str(root() / "notebooks"),
                progress_bar=sys.stderr.isatty(),
                log_output=False,
            )
        except PapermillExecutionError as error:
            raise BuildError(
                f"chapter {name}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
                + "\n".join(error.traceback)
            ) from None
        finally:
            for variable, value in before.items():
                os.environ.pop(variable, None) if value is None else os.environ.__setitem__(variable, value)
        (work / "input.ipynb").unlink()
        shutil.rmtree(work / "ipython")
        used = _dependencies(work)
        key["files"] = {path: _file_hash(path) for path in used}
        key["datasets"] = {d["name"]: d["available"] for d in read_records(work, "datasets")}
        (work / "key.json").write_text(json.dumps(key, indent=1))
        if final.exists():
            shutil.rmtree(final)
        work.rename(final)
    passports = read_records(final, "passport")
    return passports[-1] if passports else {}


def _kernel_environment(work: Path, profile: str) -> dict[str, str]:
    # One BLAS thread: small arrays gain nothing from more, and the CPU times printed mean something.
    return {
        "SCALINGLAWS_RECORD": str(work),
        "IPYTHONDIR": str(work / "ipython"),
        "SCALINGLAWS_FIGURES": str(work / "figures"),
        "SCALINGLAWS_PROFILE": profile,
        "SCALINGLAWS_ROOT": str(root()),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(root() / "src"), os.environ.get("PYTHONPATH")])),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def _check_parameters(name, profile, notebook, chosen):
    cell = next((c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), None)
    defined = (
        set()
        if cell is None
        else {line.split("=")[0].strip() for line in cell.source.splitlines() if "=" in line}
    )
    if unknown := sorted(set(chosen) - defined):
        raise BuildError(
            f"notebooks/profiles/{profile}.yaml: {name} has no parameter {unknown[0]!r} (it has {', '.join(sorted(defined))})"
        )


def _dependencies(work: Path) -> list[str]:
    reported = read_records(work, "dependencies")
    if reported:
        return reported[-1]["files"]
    # A chapter that does not say what it used depends on everything.
    base = root()
    return [
        str(p.relative_to(base))
        for folder in ("src", "data")
        for p in sorted((base / folder).rglob("*"))
        if p.is_file() and p.suffix != ".pyc"
    ]


def read_records(folder: Path, kind: str) -> list[dict]:
    """What a run recorded under `kind`."""
    path = folder / f"{kind}.jsonl"
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    )


def page(name: str, profile: str) -> nbformat.NotebookNode:
    """The source's cells with the kept outputs: what the site renders. Metadata that changes by itself is dropped."""
    import nbformat

    notebook = source(name)
    executed = nbformat.read(executed_folder(name, profile) / "notebook.ipynb", as_version=4)
    outputs = [
        c
        for c in executed.cells
        if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])
    ]
    chosen = parameters(name, profile)
    code = 0
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{name.replace('_', '-')}-{index}"[:64]
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = outputs[code].outputs, code + 1
        if "parameters" in cell.metadata.get("tags", []) and chosen:
            cell.source = "\n".join(_with_value(line, chosen) for line in cell.source.splitlines())
        code += 1
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    return notebook


def _with_value(line: str, chosen: dict) -> str:
    """A line of the parameters cell with the value that the profile gave it."""
    name = line.split("=")[0].strip()
    if name not in chosen or "=" not in line:
        return line
    comment = line[line.index("#") :] if "#" in line else ""
    return f"{name} = {chosen[name]!r}  {comment}".rstrip()


def place(name: str, profile: str) -> None:
    """Write the page and its figures under book/chapters/, replacing what was there."""
    import nbformat

    target = root() / "book" / "chapters"
    (target / "figures").mkdir(parents=True, exist_ok=True)
    text = nbformat.writes(page(name, profile))
    destination = target / f"{name}.ipynb"
    temporary = destination.with_suffix(".ipynb.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(destination)
    for figure in sorted((executed_folder(name, profile) / "figures").iterdir()):
        shutil.copyfile(figure, target / "figures" / figure.name)


def _tree_hash(folder: Path, pattern: str = "*") -> str:
    files = sorted(p for p in folder.rglob(pattern) if p.is_file())
    return _hash(
        b"".join(str(p.relative_to(folder)).encode() + _hash(p.read_bytes()).encode() for p in files)
    )


def place_all(profile: str) -> bool:
    """Place every chapter and nothing else, so that no page or figure outlives its source.

    Returns False, having done nothing, when what stands under book/chapters/ is exactly what
    these sources, runs and this code would put there.
    """
    stored, pages = root() / "_build" / "placed.json", root() / "book" / "chapters"
    key = {"profile": profile, "code": _tree_hash(root() / "src" / "scalinglaws" / "build", "*.py")}
    for name in names():
        run = _tree_hash(executed_folder(name, profile))
        key[name] = [_file_hash(f"notebooks/{name}.md"), run]
    if stored.is_file() and json.loads(stored.read_text()) == key | {"pages": _tree_hash(pages)}:
        return False
    stored.unlink(missing_ok=True)
    shutil.rmtree(pages, ignore_errors=True)
    for name in names():
        place(name, profile)
    stored.write_text(json.dumps(key | {"pages": _tree_hash(pages)}))
    return True


def run_all(profile: str, say=print) -> list[str]:
    """Execute every stale chapter in turn (one GPU, one kernel at a time). Returns the names executed."""
    done = []
    for name in names():
        reason = stale(name, profile)
        if reason is None:
            continue
        say(f"chapter {name}: executing ({reason}) …")
        started = time.monotonic()
        execute(name, profile)
        say(f"chapter {name}: {time.monotonic() - started:.1f} s")
        done.append(name)
    registry.forget_missing()
    return done
