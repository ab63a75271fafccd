"""Executing pages, and knowing when one must run again.

A chapter is a folder of pages, notebooks/CHAPTER/PAGE.md (jupytext MyST), each executed alone. An
execution is kept in _build/executed/PROFILE/CHAPTER/PAGE/: the executed notebook, figures, what it
recorded, and a key. The key holds what the outputs depend on: the code cells, the profile's
parameters, the lock file, and the hash of every file the kernel read or imported, as the page itself
reported at its end. Prose is not part of it: a page is the source's prose around the kept outputs
(see `pages`), so a changed sentence needs no execution and a changed number always does.
"""

from __future__ import annotations

import ast
import json
import multiprocessing as mp
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from .. import datasets, stored
from ..datasets import registry
from ..paths import digest as _hash
from ..paths import file_digest, root
from ..processes import deaf_to_interrupts, end_with
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
    """All pages as CHAPTER/PAGE, each chapter's lecture first."""
    folder = root() / "notebooks"
    found = [p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("[!.]*.md")]
    found = [name for name in found if not name.startswith(".") and "/." not in name]  # Jupyter's checkpoints
    return sorted(found, key=lambda name: (name.split("/")[0], not name.endswith("/lecture"), name))


def source_path(name: str) -> Path:
    """A page's source."""
    return root() / "notebooks" / f"{name}.md"


def source(name: str) -> nbformat.NotebookNode:
    """The page as a notebook without outputs."""
    import jupytext

    return jupytext.read(source_path(name))


def parameters(name: str, profile: str) -> dict:
    """The profile's parameters for a page: those of its chapter. Raises BuildError for an unknown profile."""
    if profile not in PROFILES:
        raise BuildError(f"PROFILE={profile}: choose one of {', '.join(PROFILES)}")
    profiles = (
        yaml.safe_load((root() / "notebooks" / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8"))
        or {}
    )
    return profiles.get(name.split("/")[0]) or {}


def executed_folder(name: str, profile: str) -> Path:
    """Where a page's last successful execution is kept."""
    return root() / "_build" / "executed" / profile / name


def _file_hash(relative: str) -> str:
    return file_digest(root() / relative)


def code_hash(notebook: nbformat.NotebookNode) -> str:
    """A digest of a notebook's code cells and their tags."""
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
    """Why a page must run, or None if its kept execution is valid."""
    folder = executed_folder(name, profile)
    try:
        kept = json.loads((folder / "key.json").read_text())
    except (OSError, ValueError):
        return "never executed"
    # Unchanged text needs no parsing; changed text may still have the same code.
    text_is_kept = kept.get("source") == file_digest(source_path(name))
    known = _outer_key(name, profile) | ({} if text_is_kept else {"code": code_hash(source(name))})
    for part, value in known.items():
        if kept.get(part) != value:
            return {
                "code": "its code changed",
                "parameters": f"the {profile} profile changed",
                "lock": "requirements.lock changed",
                "packages": "other package versions",
            }[part]
    if not text_is_kept:
        kept["source"] = file_digest(source_path(name))
        write_whole(folder / "key.json", json.dumps(kept, indent=1).encode())
    for path, digest in kept["files"].items():
        if _file_hash(path) != digest:
            return f"{path} changed"
    for dataset, available in kept["datasets"].items():
        if datasets.registry.present(dataset) != available:
            return f"dataset {dataset} {'disappeared' if available else 'became available'}"
    return None


def execute(name: str, profile: str, cell_limit: int = CELL_LIMIT) -> dict:
    """Run a page under a profile; keep the result only if every cell succeeds. Returns its passport.

    cell_limit: seconds that one cell may take. Raises BuildError with one line for a kernel that died or a cell
    that ran out of time, with the traceback for a cell that failed.
    """
    import nbformat

    text_before = file_digest(source_path(name))
    notebook = source(name)
    values = chosen(name, profile, notebook)
    key = _outer_key(name, profile) | {"code": code_hash(notebook), "source": text_before}
    # modules are imported while the page runs: what they are is what they were before it began
    modules = {str(p.relative_to(root())): file_digest(p) for p in (root() / "src").rglob("*.py")}
    final = executed_folder(name, profile)
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(
        f".{final.name}-*"
    ):  # by a build that was killed; only one builds at a time
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{final.name}-", dir=final.parent) as temporary:
        work = Path(temporary, "run")
        (work / "figures").mkdir(parents=True)
        # An IPython profile of our own: no start-up files of the user's, no notices in the output.
        (work / "ipython" / "profile_default").mkdir(parents=True)
        (work / "ipython" / "profile_default" / "ipython_kernel_config.py").write_text(
            "c.IPKernelApp.log_level = 50\n"  # nor of a kernel that is shut down in the middle of a reply
        )
        nbformat.write(notebook, work / "input.ipynb")
        _papermill(name, profile, work, values, cell_limit)
        (work / "input.ipynb").unlink()
        shutil.rmtree(work / "ipython")
        key["files"] = {path: modules.get(path, known) for path, known in _dependencies(work).items()}
        key["datasets"] = {d["name"]: d["available"] for d in read_records(work, "datasets")}
        (work / "key.json").write_text(json.dumps(key, indent=1))
        exchange(work, final)
    passports = read_records(final, "passport")
    return passports[-1] if passports else {}


def _papermill(name: str, profile: str, work: Path, values: dict, cell_limit: int) -> None:
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
            parameters=values,
            kernel_name="python3",
            cwd=str(root() / "notebooks"),
            progress_bar=sys.stderr.isatty() and mp.parent_process() is None,
            log_output=False,
            execution_timeout=cell_limit,
        )
    except PapermillExecutionError as error:
        raise BuildError(
            f"page {name}, cell {error.exec_count}: {error.ename}: {error.evalue}\n"
            + "\n".join(error.traceback)
        ) from None
    except CellTimeoutError:
        raise BuildError(
            f"page {name}: a cell took more than {cell_limit} s and was stopped; --cell-limit allows more"
        ) from None
    except DeadKernelError:
        raise BuildError(
            f"page {name}: the kernel died (killed, or out of memory); nothing of this run is kept, the last one is"
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


def defaults(notebook: nbformat.NotebookNode) -> dict:
    """The parameters of a page, as its cell tagged `parameters` sets them."""
    cell = next((c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])), None)
    assigned = [] if cell is None else [n for n in ast.parse(cell.source).body if isinstance(n, ast.Assign)]
    return {ast.unparse(n.targets[0]): ast.literal_eval(n.value) for n in assigned}


def chosen(name: str, profile: str, notebook: nbformat.NotebookNode) -> dict:
    """The profile's values of the parameters that a page has.

    Raises BuildError for a parameter that no page of the chapter has.
    """
    chapter, known = name.split("/")[0], defaults(notebook)
    values = parameters(name, profile)
    if strange := set(values) - set(known):
        pages = [n for n in names() if n.split("/")[0] == chapter]
        everywhere = set().union(*(defaults(source(n)) for n in pages))
        if unknown := sorted(strange - everywhere):
            raise BuildError(
                f"notebooks/profiles/{profile}.yaml: {chapter} has no parameter {unknown[0]!r} "
                f"(it has {', '.join(sorted(everywhere))})"
            )
    return {k: v for k, v in values.items() if k in known}


def _dependencies(work: Path) -> dict[str, str]:
    """Files that a run has used, with the digests they had when it read them."""
    reported = read_records(work, "dependencies")
    if reported:
        return reported[-1]["files"]
    # A page that does not say what it used depends on everything.
    base = root()
    found = [p for folder in ("src", "data") for p in sorted((base / folder).rglob("*"))]
    return {str(p.relative_to(base)): file_digest(p) for p in found if p.is_file() and p.suffix != ".pyc"}


def read_records(folder: Path, kind: str) -> list[dict]:
    """What a run recorded under `kind`."""
    path = folder / f"{kind}.jsonl"
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    )


def run_all(profile: str, say=print, cell_limit: int = CELL_LIMIT, workers: int | None = None) -> list[str]:
    """Execute every stale page, several at a time (default: one a core). Returns the names executed.

    Only stored tables can be read by several pages at once: at toy size pages of a chapter train the same models, and
    there is one GPU, so these profiles go page by page.
    A page whose inputs changed while it ran is run again; BuildError if they change a third time.
    """
    everything, done, started = names(), [], time.monotonic()
    workers = workers or (1 if profile != "cpu" else len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
    for _ in range(3):
        if not (reasons := {name: reason for name in everything if (reason := stale(name, profile))}):
            break

        def begin(name, reasons=reasons):
            say(f"page {everything.index(name) + 1} of {len(everything)}, {name}: executing ({reasons[name]}) …")

        def end(name, took):
            so_far = time.monotonic() - started
            say(f"page {everything.index(name) + 1} of {len(everything)}, {name}: {took:.1f} s ({so_far:.0f} s so far)")
            done.append(name)

        _run(list(reasons), profile, cell_limit, min(workers, len(reasons)), begin, end)
    else:
        for name in everything:
            if reason := stale(name, profile):
                raise BuildError(f"page {name}: {reason} each time it ran; build again when it is at rest")
    registry.forget_missing()
    return sorted(set(done), key=everything.index)


def _timed(name: str, profile: str, cell_limit: int) -> float:
    """Seconds of a page's execution. Raises BuildError."""
    began = time.monotonic()
    execute(name, profile, cell_limit)
    return time.monotonic() - began


def _run(pages: list[str], profile: str, cell_limit: int, workers: int, begin, end) -> None:
    """Execute pages in this order, `workers` at a time, each of these a process. The first failure ends all others."""
    if workers == 1:
        for name in pages:
            begin(name)
            end(name, _timed(name, profile, cell_limit))
        return
    waiting, running = iter(pages), {}
    context = mp.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=end_with, initargs=(os.getpid(),)) as pool:

        def submit(name):
            begin(name)
            running[pool.submit(_timed, name, profile, cell_limit)] = name

        try:
            with deaf_to_interrupts():  # Ctrl-C is answered here alone
                for name in islice(waiting, workers):
                    submit(name)
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    end(running.pop(future), future.result())
                    for name in islice(waiting, 1):
                        submit(name)
        except BaseException as error:
            for process in mp.active_children():
                process.kill()
            if isinstance(error, BrokenProcessPool):
                raise BuildError("a process that executes pages was killed (out of memory?); what was finished is kept") from None
            raise


def results(name: str, profile: str) -> tuple[dict, dict[str, str]] | None:
    """What `stored` keeps of a page's last execution; None if it has no cell that needs data, or lacked them."""
    import nbformat

    folder = executed_folder(name, profile)
    needs, key = read_records(folder, "needs"), json.loads((folder / "key.json").read_text())
    if not needs or not all(key["datasets"].values()):
        return None
    notebook = source(name)
    executed = code_cells(nbformat.read(folder / "notebook.ipynb", as_version=4))
    sources = [c.source for c in code_cells(notebook)]
    outputs = {stored.cell_digest(s): c.outputs for s, c in zip(sources, executed, strict=True)}
    values = defaults(notebook) | chosen(name, profile, notebook)
    passport = read_records(folder, "passport")[-1]
    return stored.gather(folder / "figures", key, sources, outputs, needs, values, passport)
