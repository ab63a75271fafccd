"""What a chapter needs from Jupyter: numbers in sentences, tables, and cells that need data.

    %load_ext scalinglaws.notebook

A cell that starts with `%%needs DATASET` runs only if the dataset can be had. If not, it shows what
it showed when it last ran with the data, marked as such, as long as everything that this follows
from is unchanged (see `stored`). Else its claims are recorded as "not run", and the numbers and
figures it would have made read "not run" too, so the page still builds.
"""

from __future__ import annotations

import ast
import html
import os
import re
from collections.abc import Sequence

# Small arrays gain nothing from BLAS threads, which spin on a shared machine: one, as in the build, unless the reader
# says otherwise. Must be set before NumPy loads; the extension is the first thing that a page loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import pandas as pd

from . import claims, datasets, figures, stored
from .paths import record, recorded

MISSING = "not run"


def glue(**values: str) -> None:
    """Name texts for use in sentences as {glue:text}`name`. Values must be formatted strings.

    Emits what myst-nb's glue emits, without needing myst-nb in the reader's environment.
    Raises TypeError for anything but a string: a number must be formatted on purpose.
    """
    from IPython.display import display

    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"glue({name}=…) takes a formatted string, got {type(value).__name__}")
        record("glue", {name: value})
        key = f"{name}".replace("_", "-")
        # quoted, or myst-nb would read "0.50" as a number and drop the zero
        display(
            {"application/papermill.record/text/plain": repr(value)},
            raw=True,
            metadata={"scrapbook": {"name": key, "mime_prefix": "application/papermill.record/"}},
        )


_NUMBER = re.compile(r"([≥≤<>×]? ?[−+-]?[\d,]*)(?:\.\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?(?: ?[%kMBT])?(?: \(.*\)| ±.*)?")
_FIGURE_SPACE = "\u2007"


def aligned(column: Sequence[str]) -> list[str]:
    """A column's cells, padded on the left so that numbers stand with their decimal points below each other.

    A cell may carry a sign, a power of ten, a letter (400 M) and an interval behind its number. A column in which
    anything but a dash is no number comes back as it is.
    """
    wholes = [_NUMBER.fullmatch(cell) for cell in column]
    if not all(m and re.search(r"\d", cell) for m, cell in zip(wholes, column, strict=True) if cell not in ("", "—")):
        return list(column)
    widths = [len(m[1]) if m else 0 for m in wholes]
    return [_FIGURE_SPACE * (max(widths) - w) + cell for w, cell in zip(widths, column, strict=True)]


class Table:
    """A data frame as an accessible HTML table with a caption; numbers are aligned at the point (`aligned`).

    mark: the first cell, or several, of the rows that matter. Raises ValueError for an empty caption or a row to
    mark that is not there. On the site a table of ten rows or more can be sorted by any column.
    """

    def __init__(self, frame: pd.DataFrame, caption: str, mark: str | Sequence[str] = ()):
        if not caption.strip():
            raise ValueError("a table needs a caption")
        self.frame, self.caption = frame, caption
        self.mark = [mark] if isinstance(mark, str) else [str(m) for m in mark]
        known = frame.iloc[:, 0].astype(str).tolist()
        if unknown := [m for m in self.mark if m not in known]:
            raise ValueError(f"no row {unknown[0]!r} to mark in the table {caption!r}")

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.frame.to_string(index=False)}"

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in self.frame.columns)
        columns = [aligned([str(v) for v in self.frame.iloc[:, i]]) for i in range(self.frame.shape[1])]
        rows = []
        for first, *rest in zip(*columns, strict=True):
            row = f'<th scope="row">{html.escape(first)}</th>' + "".join(f"<td>{html.escape(v)}</td>" for v in rest)
            marked = ' class="row-mark"' if first.strip(_FIGURE_SPACE) in self.mark else ""
            rows.append(f"<tr{marked}>{row}</tr>")
        body = "".join(rows)
        return (
            f'<div class="book-table" role="region" tabindex="0" aria-label="{html.escape(self.caption, quote=True)}">'
            f"<table><caption>{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def products(source: str) -> dict[str, list[str]]:
    """What a cell would make, read from its source: claim ids, glue names, figure ids (literals only)."""
    found: dict[str, list[str]] = {"claims": [], "glue": [], "figures": []}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if name == "check" and isinstance(first, str):
            found["claims"].append(first)
        elif name == "show" and isinstance(first, str):
            found["figures"].append(first)
        elif name == "glue":
            found["glue"] += [k.arg for k in node.keywords if k.arg]
    return found


def needs(line: str, cell: str) -> None:
    """The cell magic `%%needs DATASET …` (see the module's docstring)."""
    from IPython import get_ipython

    shell, missing = get_ipython(), []
    for name in line.split():
        try:
            datasets.fetch(name, progress=False)
        except datasets.DataMissing:
            missing.append(name)
        if not any(
            e == {"name": name, "available": name not in missing} for k, e in recorded if k == "datasets"
        ):
            record("datasets", {"name": name, "available": name not in missing})
    source = f"%%needs {line}\n{cell}"
    if not missing:
        _run(shell, line, cell, source)
        return
    _tell(missing)
    executed = {stored.cell_digest(c) for c in shell.history_manager.input_hist_raw}
    found = stored.find(source, executed, shell.user_ns)
    if found:
        _replay(*found)
    else:
        _not_run(line, cell)


def _run(shell, line: str, cell: str, source: str) -> None:
    """Run a cell whose data are there, and record what it made, for `make freeze`."""
    before = len(recorded)
    outcome = shell.run_cell(cell)
    if not outcome.success:  # IPython has shown the error; stop the chapter as a plain cell would
        raise outcome.error_before_exec or outcome.error_in_exec
    made = recorded[before:]
    entries = lambda kind: [e for k, e in made if k == kind]
    record(
        "needs",
        {
            "cell": stored.cell_digest(source),
            "datasets": line.split(),
            "claims": entries("claims"),
            "glue": {k: v for e in entries("glue") for k, v in e.items()},
            "figures": entries("figures"),
        },
    )


_told: set[str] = set()


def _tell(missing: list[str]) -> None:
    """Say once what is missing, and the remedy. On a page of the book the build says it."""
    from IPython.display import HTML, display

    new = [name for name in missing if name not in _told]
    _told.update(new)
    if new and "SCALINGLAWS_RECORD" not in os.environ:
        display(HTML(f'<div class="missing-data" role="note">{html.escape(missing_data(new))}</div>'))


def missing_data(names: list[str]) -> str:
    """One line for the reader: which data are not here, what stands in their place, and the remedy."""
    few = len(names) == 1
    get = f"`make data DATASET={names[0]}`" if few else "`make data`"
    return (
        f"The data {' and '.join(names)} {'is' if few else 'are'} not on this machine. What was computed from "
        f"{'it' if few else 'them'} is shown from the last run that had {'it' if few else 'them'} (marked, "
        f"numbers by a dotted line), or reads “{MISSING}”. {get} fetches {'it' if few else 'them'}; then build again."
    )


def _replay(result: dict, known: dict) -> None:
    """Show and record what a cell showed when it last ran with the data."""
    from IPython.display import HTML, display

    origin = {"date": known["date"], "datasets": {d: known["datasets"][d] for d in result["datasets"]}}
    where, folder = claims.came_from(origin), figures.folder()
    glue(**result["glue"])
    checks = {r["id"]: claims.replayed(r, origin) for r in result["claims"]}
    record("stored", {"cell": result["cell"], "glue": list(result["glue"]), **origin})
    for item in result["shown"]:
        if "claim" in item:
            display(checks[item["claim"]])
        elif "figure" in item:
            stored.place_figure(item["figure"], known, folder)
            record("figures", {"id": item["figure"]})
            display(figures.Figure(item["figure"], item["caption"], item["alt"], folder, where))
        else:
            data = item.get("data") or {"text/html": f"<pre>{html.escape(item['text'])}</pre>"}
            display(data, raw=True)
            display(HTML(f'<p class="stored-mark">{html.escape(where.capitalize())}</p>'))


def _not_run(line: str, cell: str) -> None:
    """Put "not run" in the place of everything that the cell would have made."""
    from IPython.display import HTML, Markdown, display

    made = products(cell)
    if not any(made.values()):
        display(HTML(f'<p class="stored-mark">Not run: it needs {html.escape(line.strip())}</p>'))
    for id in made["claims"]:
        display(claims.not_run(id, f"data missing: {line.strip()}"))
    glue(**dict.fromkeys(made["glue"], MISSING))
    for id in made["figures"]:
        display(
            Markdown(
                f'```{{figure}} /book/_static/not-run.svg\n---\nname: fig-{id}\nalt: "Not drawn: data missing"\n---\n'
                f"Not drawn: the data ({line.strip()}) are missing.\n```\n"
            )
        )


def load_ipython_extension(ipython) -> None:
    """`%load_ext scalinglaws.notebook`."""
    ipython.register_magic_function(needs, magic_kind="cell")
