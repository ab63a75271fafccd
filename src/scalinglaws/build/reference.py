"""The API reference: a page a room, written from the docstrings without importing anything.

autodoc2 and autoapi would do it too, but they infer types through torch's sources, which takes minutes a build.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ..paths import root
from ..store import write_whole

ROOMS = {
    "laws": "Laws", "flops": "FLOPs", "store": "The store", "fit": "Fitting", "datasets": "Datasets", "studies": "Studies", "lm": "The engine",
    "pretraining": "Pretraining, read out",
    "testtime": "Test-time search", "resampling": "Resampling", "real": "A real model", "claims": "The ledger", "notebook": "What a page needs",
}  # fmt: skip
"""The rooms that people import from, and what their pages are called."""


def folder() -> Path:
    """Where the pages are written; they are not committed."""
    return root() / "book" / "api"


def write() -> list[Path]:
    """Write book/api/ROOM.md for every room; a page whose text is the same is not touched."""
    written = []
    for room, title in ROOMS.items():
        text = "\n\n".join([f"# {title}", *_room(room)]) + "\n"
        path = folder() / f"{room}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text.encode())
        written.append(path)
    return written


def _room(room: str) -> Iterator[str]:
    package = Path(__file__).resolve().parents[1]
    whole = package / room
    for path in sorted(whole.glob("*.py")) if whole.is_dir() else [package / f"{room}.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [
            n
            for n in tree.body
            if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
        ]
        if not public and path.stem == "__init__" and not ast.get_docstring(tree):
            continue
        name = ".".join(["scalinglaws", *path.relative_to(package).with_suffix("").parts]).removesuffix(
            ".__init__"
        )
        yield f"## `{name}`"
        yield from _text(tree)
        for node in public:
            yield from _entry(node)


def _entry(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """One function, or a class with its fields and public methods."""
    if isinstance(node, ast.FunctionDef):
        yield f"### `{node.name}`"
        yield f"```python\ndef {node.name}{_signature(node)}: ...\n```"
        yield from _text(node)
        return
    bases = ", ".join(ast.unparse(b) for b in node.bases)
    yield f"### class `{node.name}`{f' ({bases})' if bases else ''}"
    yield from _text(node)
    fields = [
        n for n in node.body if isinstance(n, ast.AnnAssign) and not ast.unparse(n.target).startswith("_")
    ]
    if fields:
        yield "\n".join(f"- `{ast.unparse(n)}`" for n in fields)
    for n in node.body:
        if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"):
            property_ = any(ast.unparse(d).endswith("property") for d in n.decorator_list)
            yield f"**`{n.name}{'' if property_ else _signature(n)}`**"
            yield from _text(n)


def _signature(node: ast.FunctionDef) -> str:
    """What stands between the parentheses of a call, and what comes back."""
    taken = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args))
    return f"({taken})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")


def _text(node: ast.AST) -> Iterator[str]:
    """The docstring's paragraphs as Markdown: only code in backticks means something, all else is meant literally."""
    found = ast.get_docstring(node)  # type: ignore[arg-type]
    for paragraph in re.split(r"\n\s*\n", found or ""):
        if not paragraph:
            continue
        if all(line.startswith("    ") for line in paragraph.splitlines()):
            yield f"```text\n{paragraph}\n```"
        else:
            parts = re.split(r"(`[^`]*`)", paragraph)
            yield "".join(
                p if p.startswith("`") else re.sub(r"([\\*_\[\]{}<>$|#~@])", r"\\\1", p) for p in parts
            )
