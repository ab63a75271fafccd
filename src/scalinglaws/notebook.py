"""What a chapter needs from Jupyter: numbers in sentences, tables, and cells that need data.

    %load_ext scalinglaws.notebook

A cell that starts with `%%needs DATASET` runs only if the dataset can be had. If not, it says
plainly what is missing, its claims are recorded as "not run", and the numbers and figures it
would have made read "not run" too, so the page still builds.
"""

from __future__ import annotations

import ast
import html

import pandas as pd

from . import claims, datasets
from .paths import record

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


class Table:
    """A data frame as an accessible HTML table with a caption."""

    def __init__(self, frame: pd.DataFrame, caption: str):
        if not caption.strip():
            raise ValueError("a table needs a caption")
        self.frame, self.caption = frame, caption

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in self.frame.columns)
        body = "".join(
            "<tr>"
            + "".join(
                f'<th scope="row">{html.escape(str(v))}</th>' if i == 0 else f"<td>{html.escape(str(v))}</td>"
                for i, v in enumerate(row)
            )
            + "</tr>"
            for row in self.frame.itertuples(index=False)
        )
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
    from IPython.display import HTML, Markdown, display

    missing = []
    for name in line.split():
        try:
            datasets.fetch(name, progress=False)
            record("datasets", {"name": name, "available": True})
        except datasets.DataMissing as error:
            record("datasets", {"name": name, "available": False})
            missing.append(str(error))
    if not missing:
        outcome = get_ipython().run_cell(cell)
        if not outcome.success:  # IPython has shown the error; stop the chapter as a plain cell would
            raise outcome.error_before_exec or outcome.error_in_exec
        return
    reason = " ".join(missing)
    display(HTML(f'<div class="missing-data" role="note">This part was not run: {html.escape(reason)}</div>'))
    made = products(cell)
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
