"""Every page as a plain notebook, for the branch that Colab and classrooms read (see `plain`)."""

from __future__ import annotations

from pathlib import Path

from . import chapters, pages
from .plain import plain


def write(folder: str | Path, profile: str) -> list[Path]:
    """NAME.ipynb (no outputs) and executed/NAME.ipynb for every page. Returns the paths."""
    import nbformat

    folder, written = Path(folder), []
    for name in chapters.names():
        page, glued = pages.page(name, profile), pages.glued(name, profile)
        for path, bare in ((folder / "executed" / f"{name}.ipynb", False), (folder / f"{name}.ipynb", True)):
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(plain(page, glued, bare), path)
            written.append(path)
    return written
