"""Executing chapters, and knowing when one must run again.

A chapter's source is notebooks/NAME.md (jupytext MyST). Its execution is kept in
_build/executed/PROFILE/NAME/: the executed notebook, figures, what it recorded, and a key.
The key holds what the outputs depend on: the code cells, the profile's parameters, the lock
file, and the hash of every file the kernel read or imported, as the chapter itself reported
at its end. Prose is not part of it: a page is the source's prose around the kept outputs, so
a changed sentence needs no execution and a changed number always does.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from .. import datasets, stored
from ..datasets import registry
from ..notebook import missing_data
from ..paths import digest as _hash
from ..paths import file_digest, root
from ..provenance import packages
from ..store import exchange, write_whole

if TYPE_CHECKING:
    import nbformat

# jupytext and nbformat take two seconds to import: a build with nothing to do must not.
PROFILES = ("smoke", "cpu", "gpu")
CELL_LIMIT = 4 * 3600
"""Seconds that one cell may take unless the builder says otherwise."""


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


def _file_hash(relative: str) -> str:
    return file_digest(root() / relative)


def _code_hash(notebook: nbformat.NotebookNode) -> str:
    cells = [(c.source, sorted(c.metadata.get("tags", []))) for c in code_cells(notebook)]
    return _hash(json.dumps(cells))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook, without the parameters that papermill puts in."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    return [c for c in code if "injected-parameters" not in c.metadata.get("tags", [])]


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
    known = _outer_key(name, profile) | ({} if text_is_kept else {"code": _code_hash(source(name))})
    for part, value in known.items():
        if kept.get(part) != value:
            return {
                "code": "its code changed",
                "parameters": f"the {profile} profile changed",
                "lock": "requirements.lock changed",
                "packages": "other package versions",
            }[part]
    if not text_is_kept:
        kept["source"] = _file_hash(f"notebooks/{name}.md")
        write_whole(folder / "key.json", json.dumps(kept, indent=1).encode())
    for path, digest in kept["files"].items():
        if _file_hash(path) != digest:
            return f"{path} changed"
    for dataset, available in kept["datasets"].items():
        if datasets.registry.present(dataset) != available:
            return f"dataset {dataset} {'disappeared' if available else 'became available'}"
    return None


def execute(name: str, profile: str, cell_limit: int = CELL_LIMIT) -> dict:
    """Run a chapter under a profile; keep the result only if every cell succeeds. Returns its passport.

    cell_limit: seconds that one cell may take. Raises BuildError with one line for a kernel that died or a cell
    that ran out of time, with the traceback for a cell that failed.
    """
    import nbformat

    chosen = parameters(name, profile)
    text_before = _file_hash(f"notebooks/{name}.md")
    notebook = source(name)
    _check_parameters(name, profile, notebook, chosen)
    key = _outer_key(name, profile) | {"code": _code_hash(notebook), "source": text_before}
    # modules are imported while the chapter runs: what they are is what they were before it began
    modules = {str(p.relative_to(root())): file_digest(p) for p in (root() / "src").rglob("*.py")}
    final = executed_folder(name, profile)
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f".{name}-*"):  # by a build that was killed; only one builds at a time
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=final.parent) as temporary:
        work = Path(temporary, "run")
        (work / "figures").mkdir(parents=True)
        # An IPython profile of our own: no start-up files of the user's, no notices in the output.
        (work / "ipython" / "profile_default").mkdir(parents=True)
        (work / "ipython" / "profile_default" / "ipython_kernel_config.py").write_text(
            "c.IPKernelApp.log_level = 50\n"  # nor of a kernel that is shut down in the middle of a reply
        )
        nbformat.write(notebook, work / "input.ipynb")
        _papermill(name, profile, work, chosen, cell_limit)
        (work / "input.ipynb").unlink()
        shutil.rmtree(work / "ipython")
        key["files"] = {path: modules.get(path, known) for path, known in _dependencies(work).items()}
        key["datasets"] = {d["name"]: d["available"] for d in read_records(work, "datasets")}
        (work / "key.json").write_text(json.dumps(key, indent=1))
        exchange(work, final)
    passports = read_records(final, "passport")
    return passports[-1] if passports else {}


def _papermill(name: str, profile: str, work: Path, chosen: dict, cell_limit: int) -> None:
    """Execute work/input.ipynb as work/notebook.ipynb. Raises BuildError."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

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
            execution_timeout=cell_limit,
        )
    except PapermillExecutionError as error:
        raise BuildError(
            f"chapter {name}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            + "\n".join(error.traceback)
        ) from None
    except CellTimeoutError:
        raise BuildError(
            f"chapter {name}: a cell took more than {cell_limit} s and was stopped; --cell-limit allows more"
        ) from None
    except DeadKernelError:
        raise BuildError(
            f"chapter {name}: the kernel died (killed, or out of memory); nothing of this run is kept, the last one is"
        ) from None
    finally:
        for variable, value in before.items():
            os.environ.pop(variable, None) if value is None else os.environ.__setitem__(variable, value)


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


def _dependencies(work: Path) -> dict[str, str]:
    """Files that a run has used, with the digests they had when it read them."""
    reported = read_records(work, "dependencies")
    if reported:
        return reported[-1]["files"]
    # A chapter that does not say what it used depends on everything.
    base = root()
    found = [p for folder in ("src", "data") for p in sorted((base / folder).rglob("*"))]
    return {str(p.relative_to(base)): file_digest(p) for p in found if p.is_file() and p.suffix != ".pyc"}


def read_records(folder: Path, kind: str) -> list[dict]:
    """What a run recorded under `kind`."""
    path = folder / f"{kind}.jsonl"
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    )


def page(name: str, profile: str) -> nbformat.NotebookNode:
    """The source's cells with the kept outputs: what the site renders. Metadata that changes by itself is dropped.

    Where data were missing, a line below the title says so, and numbers from stored results are marked.
    Raises BuildError where the source's code is no longer what was executed.
    """
    import nbformat

    notebook, folder = source(name), executed_folder(name, profile)
    if json.loads((folder / "key.json").read_text())["code"] != _code_hash(notebook):
        raise BuildError(f"notebooks/{name}.md was changed while the book was built: build again")
    outputs = code_cells(nbformat.read(folder / "notebook.ipynb", as_version=4))
    chosen = parameters(name, profile)
    kept = {n.replace("_", "-") for r in read_records(folder, "stored") for n in r["glue"]}
    code = 0
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{name.replace('_', '-')}-{index}"[:64]
        if cell.cell_type != "code":
            cell.source = _GLUED.sub(lambda m: f"[{m[0]}]{{.stored}}" if m[1] in kept else m[0], cell.source)
            continue
        cell.outputs, cell.execution_count = outputs[code].outputs, code + 1
        if "parameters" in cell.metadata.get("tags", []) and chosen:
            cell.source = "\n".join(_with_value(line, chosen) for line in cell.source.splitlines())
        code += 1
    missing = sorted({d["name"] for d in read_records(folder, "datasets") if not d["available"]})
    if missing:
        note = f":::{{admonition}} Computed without some of its data\n:class: stored-note\n{missing_data(missing)}\n:::"
        said = nbformat.v4.new_markdown_cell(note)
        said["id"] = f"{name.replace('_', '-')}-missing"[:64]
        notebook.cells.insert(1, said)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    return notebook


_GLUED = re.compile(r"\{glue:text\}`([^`]+)`")


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
    key: dict = {"profile": profile, "code": _tree_hash(root() / "src" / "scalinglaws" / "build", "*.py")}
    for name in names():
        run = _tree_hash(executed_folder(name, profile))
        key[name] = [_file_hash(f"notebooks/{name}.md"), run]
    with suppress(OSError, ValueError):
        if json.loads(stored.read_text()) == key | {"pages": _tree_hash(pages)}:
            return False
    stored.unlink(missing_ok=True)
    shutil.rmtree(pages, ignore_errors=True)
    for name in names():
        place(name, profile)
    write_whole(stored, json.dumps(key | {"pages": _tree_hash(pages)}).encode())
    return True


def run_all(profile: str, say=print, cell_limit: int = CELL_LIMIT) -> list[str]:
    """Execute every stale chapter in turn (one GPU, one kernel at a time). Returns the names executed.

    A chapter whose inputs changed while it ran is run again; BuildError if they change a third time.
    """
    done, everything = [], names()
    started = time.monotonic()
    for number, name in enumerate(everything, 1):
        for _ in range(3):
            reason = stale(name, profile)
            if reason is None:
                break
            say(f"chapter {number} of {len(everything)}, {name}: executing ({reason}) …")
            began = time.monotonic()
            execute(name, profile, cell_limit)
            now = time.monotonic()
            say(
                f"chapter {number} of {len(everything)}, {name}: {now - began:.1f} s ({now - started:.0f} s so far)"
            )
            done.append(name)
        else:
            if reason := stale(name, profile):
                raise BuildError(f"chapter {name}: {reason} each time it ran; build again when it is at rest")
    registry.forget_missing()
    return list(dict.fromkeys(done))


def results(name: str, profile: str) -> tuple[dict, dict[str, str]] | None:
    """What `stored` keeps of a chapter's last execution; None if it has no cell that needs data, or lacked them."""
    import nbformat

    folder = executed_folder(name, profile)
    needs, key = read_records(folder, "needs"), json.loads((folder / "key.json").read_text())
    if not needs or not all(key["datasets"].values()):
        return None
    notebook = source(name)
    executed = code_cells(nbformat.read(folder / "notebook.ipynb", as_version=4))
    sources = [c.source for c in code_cells(notebook)]
    outputs = {stored.cell_digest(s): c.outputs for s, c in zip(sources, executed, strict=True)}
    cell = next((c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), None)
    assigned = [] if cell is None else [n for n in ast.parse(cell.source).body if isinstance(n, ast.Assign)]
    defaults = {ast.unparse(n.targets[0]): ast.literal_eval(n.value) for n in assigned}
    passport = read_records(folder, "passport")[-1]
    return stored.gather(
        folder / "figures", key, sources, outputs, needs, defaults | parameters(name, profile), passport
    )
