"""Placing pages: the source's prose around the kept outputs, and what stands at the head of every page.

Below its title a page gets a strip: how long it takes to read, and its verdicts, counted, unfolding into
the list. Verdict boxes stand where the cell checked them, three in a row at most; the others are in the
strip. A number that another page glued is written {glue:text}`CHAPTER/PAGE#name` and becomes a link.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import claims
from ..notebook import missing_data
from ..paths import digest, file_digest, root
from ..store import write_whole
from ..studies import study
from . import reference
from .chapters import (
    BuildError,
    chosen,
    code_cells,
    code_hash,
    executed_folder,
    names,
    read_records,
    source,
    source_path,
)
from .plain import plain, repository

if TYPE_CHECKING:
    import nbformat

IN_A_ROW = 3
"""Verdict boxes that stand together; more would be a wall."""

WORDS_A_MINUTE = 200


def page(name: str, profile: str) -> nbformat.NotebookNode:
    """What the site renders of a page. Metadata that changes by itself is dropped.

    Where data were missing, a line below the strip says so, and numbers from stored results are marked.
    Raises BuildError where the source's code is no longer what was executed, or a number of another page is
    not there.
    """
    import nbformat

    notebook, folder = source(name), executed_folder(name, profile)
    if json.loads((folder / "key.json").read_text())["code"] != code_hash(notebook):
        raise BuildError(f"notebooks/{name}.md was changed while the book was built: build again")
    outputs = code_cells(nbformat.read(folder / "notebook.ipynb", as_version=4))
    values = chosen(name, profile, notebook)
    short, code = name.replace("_", "-").replace("/", "-"), 0
    with_values(notebook, values)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"{short}-{index}"[-64:]
        if cell.cell_type != "code":
            cell.source = with_numbers(cell.source, name, profile)
            continue
        cell.outputs, cell.execution_count = outputs[code].outputs, code + 1
        code += 1
    _leave_out_bookkeeping(notebook)
    _fold_checks(notebook)
    shown = _fold_boxes(notebook)
    head = [("head", _strip(name, notebook, read_records(folder, "claims"), shown))]
    missing = sorted({d["name"] for d in read_records(folder, "datasets") if not d["available"]})
    if missing:
        note = f":::{{admonition}} Computed without some of its data\n:class: stored-note\n{missing_data(missing)}\n:::"
        head.append(("missing", note))
    opening = re.match(r"(.*?^# [^\n]*)\n*(.*)", notebook.cells[0].source, re.S | re.M)
    if opening is None:
        raise BuildError(f"notebooks/{name}.md: the first cell needs a title (# …)")
    notebook.cells[0].source, rest = opening.groups()
    for place, (what, text) in enumerate([*head, *([("text", rest)] if rest else [])], 1):
        cell = nbformat.v4.new_markdown_cell(text)
        cell["id"] = f"{short}-{what}"[-64:]
        notebook.cells.insert(place, cell)
    ends = []
    if rooms := _rooms(notebook):
        ends.append("In the library's reference: " + ", ".join(f"[`{room}`](/book/api/{room}.md)" for room in rooms) + ".")
    if behind := _studies(folder):
        links = ", ".join(f"{{ref}}`{name} <checklist-{name.replace('_', '-')}>`" for name in behind)
        ends.append(f"How the studies behind it were made, question by question: {links}.")
    if ends:
        last = nbformat.v4.new_markdown_cell("\n\n".join(ends))
        last["id"] = f"{short}-library"[-64:]
        notebook.cells.append(last)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("jupytext", None)
    return notebook


def _rooms(notebook: nbformat.NotebookNode) -> list[str]:
    """The rooms of the library that a page imports from and whose reference the book has, in their order."""
    toc = root() / "_toc.yml"
    listed = toc.read_text(encoding="utf-8") if toc.is_file() else ""
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    found = set(re.findall(r"^from scalinglaws\.(\w+)", code, re.M))
    for imported in re.findall(r"^from scalinglaws import ([\w, ]+)$", code, re.M):
        found |= {name.strip() for name in imported.split(",")}
    return [room for room in reference.ROOMS if room in found and f"book/api/{room}\n" in listed]


def _studies(folder: Path) -> list[str]:
    """The studies whose stored tables a page read, where the book has their checklist."""
    toc = root() / "_toc.yml"
    if not toc.is_file() or "book/checklist" not in toc.read_text(encoding="utf-8"):
        return []
    read = [Path(file) for entry in read_records(folder, "dependencies") for file in entry.get("files", {})]
    found = {p.name.rsplit("-", 1)[0] if p.parent.name == "runs" else p.parent.name for p in read if p.suffix == ".parquet"}
    return [name for name in study.names() if name in found]


_CLAIM = re.compile(r"\{claim\}`([^`]+)`")
_GLUED = re.compile(r"\{glue:text\}`([^`#]+)(?:#([^`]+))?`")


def with_numbers(text: str, name: str, profile: str) -> str:
    """Prose with numbers of other pages and verdicts ({claim}`ID`) put in as links, those from stored results marked.

    name: the page that the text is from, as CHAPTER/PAGE, or a page of prose, which has no numbers of its own.
    `reading-minutes` stands for a page's. Raises BuildError for a number or a page that is not there.
    """
    own = name in names()
    kept, where = (_kept(name, profile), f"notebooks/{name}.md") if own else (set(), f"{name}.md")

    def number(match):
        page, what = match[1], match[2]
        if what is None:
            return f"[{match[0]}]{{.stored}}" if page in kept else match[0]
        if page not in names():
            raise BuildError(f"{where}: there is no page {page!r}")
        if what == "reading-minutes":
            return f"{reading(source(page))['minutes']}"
        numbers = glued(page, profile)
        if what not in numbers:
            raise BuildError(f"{where}: the page {page!r} glues no {what!r}")
        value = re.sub(r"([\\`*_$\[\]<>~])", r"\\\1", numbers[what])
        mark = " .stored" if what in _kept(page, profile) else ""
        return f"[**{value}**](/book/chapters/{page}.ipynb){{.elsewhere{mark}}}"

    def verdict(match):
        for page in names():
            for record in read_records(executed_folder(page, profile), "claims"):
                if record["id"] == match[1]:
                    return f"[**{record['verdict']}**](/book/chapters/{page}.ipynb){{.elsewhere}}"
        raise BuildError(f"{where}: no page checks the claim {match[1]!r}")

    return _CLAIM.sub(verdict, _GLUED.sub(number, text))


def _kept(name: str, profile: str) -> set[str]:
    records = read_records(executed_folder(name, profile), "stored")
    return {n.replace("_", "-") for r in records for n in r["glue"]}


def glued(name: str, profile: str) -> dict[str, str]:
    """The numbers that a page named, by name with hyphens, as texts."""
    records = read_records(executed_folder(name, profile), "glue")
    return {k.replace("_", "-"): v for r in records for k, v in r.items()}


def with_values(notebook: nbformat.NotebookNode, values: dict) -> None:
    """Write a profile's values into the cell of parameters."""
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = "\n".join(_with_value(line, values) for line in cell.source.splitlines())


def _with_value(line: str, values: dict) -> str:
    """A line of the parameters cell with the value that the profile gave it."""
    name = line.split("=")[0].strip()
    if name not in values or "=" not in line:
        return line
    comment = line[line.index("#") :] if "#" in line else ""
    return f"{name} = {values[name]!r}  {comment}".rstrip()


def _leave_out_bookkeeping(notebook: nbformat.NotebookNode) -> None:
    """Folded cells that show nothing, as those that only name numbers, are in the notebook and not on the site."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "hide-input" in tags and all("scrapbook" in o.get("metadata", {}) for o in cell.outputs):
            cell.metadata["tags"] = ["remove-cell" if tag == "hide-input" else tag for tag in tags]


def _fold_checks(notebook: nbformat.NotebookNode) -> None:
    """Checks of exercises are folded under a line that says so; hidden ones are not in what readers download."""
    notebook.cells = [c for c in notebook.cells if "hidden-check" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        if "check" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = ["check", "hide-input"]
            cell.metadata["mystnb"] = {
                "code_prompt_show": "Check your answer",
                "code_prompt_hide": "Check your answer",
            }


def _fold_boxes(notebook: nbformat.NotebookNode) -> set[str]:
    """Take away the verdict boxes after the first three in a row. Returns the ids of the claims that stay."""
    import nbformat

    stay, row = set(), 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            row = 0
            continue
        outputs, folded = [], 0
        for output in cell.outputs:
            id = output.get("metadata", {}).get("scalinglaws", {}).get("claim")
            row += bool(id)
            if id and row > IN_A_ROW:
                folded += 1
                continue
            stay |= {id} if id else set()
            outputs.append(output)
        if folded:
            more = f'<p class="more-verdicts">{folded} more in the <a href="#verdicts">list above</a>.</p>'
            outputs.append(nbformat.v4.new_output("display_data", {"text/html": more}))
        cell.outputs = outputs
    return stay


def reading(notebook: nbformat.NotebookNode) -> dict[str, int]:
    """Words of prose (boxes in; code, hints and solutions out), figures shown, and the minutes they take.

    200 words a minute, half a minute a figure.
    """
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    text = re.sub(r"`{3,}\{solution-start\}.*?`{3,}\{solution-end\}\n`{3,}", "", text, flags=re.S)
    text = re.sub(r"^(`{3,})\{admonition\} Hint\n.*?^\1$", "", text, flags=re.S | re.M)
    text = re.sub(r"\$\$.*?\$\$", " x ", text, flags=re.S)
    text = re.sub(r"^(`{3,}|:{3,}|:\w+:|\(\S+\)=).*$|\{[a-z:]+\}", "", text, flags=re.M)
    count = len(re.findall(r"[^\W_][^\s]*", text))
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    figures = len(re.findall(r"\bfigures\.show\(", code))
    return {"words": count, "figures": figures, "minutes": round(count / WORDS_A_MINUTE + figures / 2 + 0.5)}


def _strip(name: str, notebook: nbformat.NotebookNode, records: list[dict], shown: set[str]) -> str:
    """The head of a page: its length, where to run it, and its verdicts; those without a box of their own in full."""
    size = reading(notebook)
    figures = f", {size['figures']} figure{'s' * (size['figures'] != 1)}" if size["figures"] else ""
    length = f"{size['minutes']} minutes · {size['words']:,} words{figures}"
    run = f"{{download}}`notebook <download/{name.split('/')[-1]}.ipynb>`"
    if base := repository():
        path = base.split("github.com/")[-1]
        run += f" · [source]({base}/blob/main/notebooks/{name}.md)"
        run += f" · [run on Colab](https://colab.research.google.com/github/{path}/blob/notebooks/{name}.ipynb)"
    strip = f":::{{container}} page-head\n{length} · {run}\n:::"
    if not records:
        return strip
    count = {v: sum(r["verdict"] == v for r in records) for v in claims.VERDICTS}
    counts = " · ".join(
        f'<span class="verdict-{v.split()[0]}">{n}\u00a0{v}</span>' for v, n in count.items() if n
    )
    items = "".join(f"<li>{_item(r, shown)}</li>" for r in records)
    return (
        f"{strip}\n\n"
        f'<details class="page-verdicts" id="verdicts"><summary>Verdicts: {counts}</summary><ul>{items}</ul></details>'
    )


def _item(record: dict, shown: set[str]) -> str:
    result = claims.from_record(record)
    if record["id"] not in shown:
        return result._repr_html_().replace("\n", " ")
    verdict = f'<span class="verdict-{result.verdict.split()[0]}">{html.escape(result.verdict)}</span>'
    link = f"#claim-{html.escape(record['id'], quote=True)}"
    return f'{verdict} <a href="{link}">{html.escape(result.claim.statement)}</a>'


def place(name: str, profile: str) -> None:
    """Write the page and its figures under book/chapters/, replacing what was there."""
    import nbformat

    target = (root() / "book" / "chapters" / f"{name}.ipynb").parent
    for folder in ("figures", "download"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    notebook = page(name, profile)
    text = nbformat.writes(notebook)
    nbformat.write(plain(notebook, glued(name, profile)), target / "download" / f"{name.split('/')[-1]}.ipynb")
    destination = target / f"{name.split('/')[-1]}.ipynb"
    temporary = destination.with_suffix(".ipynb.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(destination)
    for figure in sorted((executed_folder(name, profile) / "figures").iterdir()):
        shutil.copyfile(figure, target / "figures" / figure.name)


def _tree_hash(folder: Path, pattern: str = "*") -> str:
    files = sorted(p for p in folder.rglob(pattern) if p.is_file())
    return digest(
        b"".join(str(p.relative_to(folder)).encode() + digest(p.read_bytes()).encode() for p in files)
    )


def place_all(profile: str) -> bool:
    """Place every page and nothing else, so that no page or figure outlives its source.

    Returns False, having done nothing, when what stands under book/chapters/ is exactly what
    these sources, runs and this code would put there.
    """
    stored, placed = root() / "_build" / "placed.json", root() / "book" / "chapters"
    code = _tree_hash(root() / "src" / "scalinglaws" / "build", "*.py") + file_digest(Path(claims.__file__))
    key: dict = {"profile": profile, "code": code}
    for name in names():
        key[name] = [file_digest(source_path(name)), _tree_hash(executed_folder(name, profile))]
    with suppress(OSError, ValueError):
        if json.loads(stored.read_text()) == key | {"pages": _tree_hash(placed)}:
            return False
    stored.unlink(missing_ok=True)
    shutil.rmtree(placed, ignore_errors=True)
    for name in names():
        place(name, profile)
    write_whole(stored, json.dumps(key | {"pages": _tree_hash(placed)}).encode())
    return True
