"""A page as a plain notebook, for Jupyter, Colab and classrooms without jupytext or MyST.

Roles and directives that only the site understands become ordinary Markdown, outputs go, and a first cell
installs the library where it is missing.
"""

from __future__ import annotations

import copy
import os
import re
import subprocess
from typing import TYPE_CHECKING

from ..paths import root

if TYPE_CHECKING:
    import nbformat

_ROLE = re.compile(r"\{(?P<role>[a-z:]+)\}`(?P<text>[^`]+)`")
_FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[a-z-]+)\}[ ]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ ]*$",
    re.S | re.M,
)


def repository() -> str | None:
    """https URL of the repository: from CI's environment or the git remote; None if neither tells."""
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    try:
        found = subprocess.run(
            ["git", "remote", "get-url", "origin"], cwd=root(), capture_output=True, text=True
        )
    except OSError:  # no git
        return None
    match = re.fullmatch(
        r"(?:https://|git@)(github\.com|gitlab\.com)[/:]([^/]+/[^/]+?)(?:\.git)?/?", found.stdout.strip()
    )
    return f"https://{match[1]}/{match[2]}" if match else None


def plain_markdown(text: str, glued: dict[str, str]) -> str:
    """MyST prose as ordinary Markdown: glued numbers in place, citations in brackets, boxes as quotations."""

    def role(match):
        kind, body = match["role"], match["text"]
        label = re.sub(r"\s*<[^>]+>$", "", body)
        if kind.startswith("glue"):
            return glued.get(body, "…")
        if kind.startswith("cite"):
            return f"[{body}]"
        if kind == "eq":
            return f"({body})"
        if kind in ("numref", "prf:ref"):
            return f"*{label.replace('%s', '').strip() or body}*"
        return label

    def fence(match):
        body = "\n".join(
            line for line in match["body"].splitlines() if not re.match(r"^(:[a-z-]+:|---$)", line)
        )
        body = _FENCE.sub(fence, body + "\n").strip("\n")
        if match["name"] == "math":
            return f"$$\n{body}\n$$"
        title = match["title"].strip() or match["name"].replace("-", " ").capitalize()
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{title}**\n>\n{quoted}"

    text = re.sub(r"\[(\{glue:text\}`[^`]+`)\]\{\.stored\}", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\(/book/api/[^)]*\)", r"\1", text)
    text = re.sub(r"\[(\*\*[^\]]*\*\*)\]\(/book/[^)]*\)\{[^}]*\}", r"\1", text)
    text = _FENCE.sub(fence, text)
    text = re.sub(r"^\([a-z0-9-]+\)=\n", "", text, flags=re.M)
    return _ROLE.sub(role, text)


def _first_cell() -> str:
    url = repository()
    fetch = (
        f"    !git clone --depth 1 {url} scaling-laws-book\n    %cd scaling-laws-book/notebooks\n"
        if url
        else ""
    )
    return (
        "# Where the library is not installed (Colab, a bare hub), fetch and install it.\n"
        "try:\n    import scalinglaws\nexcept ImportError:\n" + fetch + "    %pip install -q -e .."
    )


def plain(page: nbformat.NotebookNode, glued: dict[str, str], bare: bool = True) -> nbformat.NotebookNode:
    """A placed page (`pages.page`) as a plain notebook; glued: its numbers by name; bare: without outputs."""
    import nbformat

    notebook = copy.deepcopy(page)
    notebook.cells = [c for c in notebook.cells if not c["id"].endswith("-head")]  # made for the site
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain_markdown(cell.source, glued)
        elif bare:
            cell.outputs, cell.execution_count = [], None
    first = nbformat.v4.new_code_cell(_first_cell())
    first["id"] = "install"
    notebook.cells.insert(0, first)
    nbformat.validate(notebook)
    return notebook
