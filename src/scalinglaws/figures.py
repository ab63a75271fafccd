"""Figures with a caption, an alternative text, the data behind them and a passport.

`show` draws a figure twice, for light and dark pages, and writes

    ID.light.svg  ID.dark.svg  ID.csv  ID.json

to the folder `SCALINGLAWS_FIGURES` (default `_build/figures` of the checkout). A figure
without caption, alternative text or data is refused.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .paths import noted, record, root
from .provenance import passport

# A colour means one thing through the whole book. Roles are places in matplotlib's colour cycle, so a drawing
# function names a role and `style` gives it the shade of a light or a dark page; without `style`, as in a
# reader's own notebook, matplotlib's own blue, orange, green and grey stand in.
OURS, PAPER, OTHER, REFERENCE = "C0", "C1", "C2", "C7"
"""Our results; what the chapter's paper printed, fitted or predicts; third works; identities, floors, faint curves."""
KINDS = ("C4", "C3", "C9", "C8", "C5")
"""Kinds of one thing within a figure, where none of the roles fits; markers and dashes differ as well."""
METHODS: dict[str, dict] = {
    "best": {"color": "C4", "ls": "--", "marker": "o", "mfc": "none"},
    "weighted": {"color": "C4", "ls": "-", "marker": "o"},
    "beam": {"color": "C3", "ls": "-", "marker": "s"},
    "beam_sqrt": {"color": "C3", "ls": "--", "marker": "s", "mfc": "none"},
    "dvts": {"color": "C9", "ls": "-", "marker": "^"},
    "mcts": {"color": "C9", "ls": "--", "marker": "^", "mfc": "none"},
    "lookahead_1": {"color": "C8", "ls": "-", "marker": "D"},
    "lookahead_3": {"color": "C8", "ls": "--", "marker": "D", "mfc": "none"},
    "majority": {"color": "C5", "ls": "-.", "marker": "v"},
}
"""Method → how its line looks; a hue is a family of methods."""
_SHADES = {  # of each role, light and dark; as grey the four differ, and C6 is left to whoever needs one more
    "C0": ("#08519c", "#8cc8ff"),
    "C1": ("#dc650a", "#f08a24"),
    "C2": ("#147d46", "#2f9e67"),
    "C3": ("#b5174f", "#ff7096"),
    "C4": ("#7b2d9b", "#c792ea"),
    "C5": ("#6d4c41", "#bfa094"),
    "C6": ("#a0468c", "#e29ac4"),
    "C7": ("#7f868e", "#8b949e"),
    "C8": ("#8a6a00", "#e0b83c"),
    "C9": ("#007f8a", "#4dd0e1"),
}
# Ordered things run along viridis from near the page to far from it, so more is stronger in both modes.
_ORDER = {"light": (0.56, 0.0), "dark": (0.36, 1.0)}
_MODES = {
    "light": {"text": "#1f2328", "grid": "#8c959f", "page": "#ffffff"},
    "dark": {"text": "#e6edf3", "grid": "#6e7681", "page": "#14181e"},
}
WIDTH = 6.4
"""Inches of a figure that fills the text: on a phone of 390 px its smallest text, `SMALL`, is 7 px high."""
SMALL = 9.0
"""Points of the smallest text."""


class FigureError(ValueError):
    """A figure lacks what the book requires of it."""


class Figure:
    """A saved figure, displayed as a numbered figure on the site and inline in Jupyter.

    stored: where a figure comes from that was not drawn now (its data are not here).
    """

    def __init__(self, id: str, caption: str, alt: str, folder: Path, stored: str = ""):
        self.id, self.caption, self.alt, self.folder, self.stored = id, caption, alt, folder, stored

    def _repr_mimebundle_(self, include=None, exclude=None):
        svg = base64.b64encode((self.folder / f"{self.id}.light.svg").read_bytes()).decode()
        mark = f" ({html.escape(self.stored)})" if self.stored else ""
        inline = (
            f'<figure><img alt="{html.escape(self.alt, quote=True)}" src="data:image/svg+xml;base64,{svg}"/>'
            f"<figcaption>{html.escape(self.caption)}{mark}</figcaption></figure>"
        )
        shown = {
            "text/html": inline,
            "text/markdown": directive(self.id, self.caption, self.alt, self.stored),
        }
        return shown, {"scalinglaws": {"figure": self.id, "caption": self.caption, "alt": self.alt}}


def directive(id: str, caption: str, alt: str, stored: str = "") -> str:
    """The MyST source of a saved figure; the page's dark variant is added when the book is rendered."""
    end = (
        f"[{stored[:1].upper()}{stored[1:]}]{{.stored-mark}}"
        if stored
        else f"{{download}}`Data <figures/{id}.csv>`"
    )
    return (
        f"```{{figure}} figures/{id}.light.svg\n---\nname: fig-{id}\nalt: {json.dumps(alt, ensure_ascii=False)}\n---\n"
        f"{caption} {end}\n```\n"
    )


def folder() -> Path:
    """Where figures are saved: `SCALINGLAWS_FIGURES`, by default `_build/figures` of the checkout."""
    return Path(os.environ.get("SCALINGLAWS_FIGURES") or root() / "_build" / "figures")


def show(
    id: str,
    plot: Callable,
    *args,
    caption: str,
    alt: str,
    data: pd.DataFrame,
    size: tuple[float, float] = (WIDTH, 3.4),
    **kwargs,
) -> Figure:
    """Draw, save and return a figure.

    plot(fig, *args, **kwargs) draws on an empty matplotlib figure of `size` inches, once a
    mode. caption: one to three sentences. alt: what is drawn, for readers who do not see it.
    data: the table behind the figure. Raises FigureError when one is missing.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id):
        raise FigureError(f"figure id {id!r}: use lower-case words joined by hyphens")
    for name, text in (("caption", caption), ("alternative text (alt)", alt)):
        if not (text or "").strip():
            raise FigureError(f"figure {id}: {name} is missing")
    if not isinstance(data, pd.DataFrame) or data.empty:
        raise FigureError(f"figure {id}: data must be the non-empty table behind the figure")
    target = folder()
    target.mkdir(parents=True, exist_ok=True)
    for mode in _MODES:
        (target / f"{id}.{mode}.svg").write_bytes(_svg(id, mode, plot, args, kwargs, size))
    data.to_csv(target / f"{id}.csv", index=False)
    facts = passport(
        id=id, caption=caption, alt=alt, plot=f"{plot.__module__}.{plot.__qualname__}", rows=len(data)
    )
    (target / f"{id}.json").write_text(json.dumps(facts, indent=1))
    record("figures", {"id": id, "rows": len(data), "numbers": _summary(data)})
    return Figure(id, caption, alt, target)


def _summary(data: pd.DataFrame) -> dict[str, list[float]]:
    """Mean and standard deviation of each column of numbers: whether two figures show the same, without the data."""
    numbers = data.select_dtypes("number").astype(float)
    pairs = {str(c): [float(v.mean()), float(v.std(ddof=0))] for c, v in numbers.items()}
    return {c: [float(f"{v:.6g}") for v in pair] for c, pair in pairs.items()}


def style(mode: str = "light") -> dict:
    """matplotlib settings of the book for a light or dark page: seaborn's ticks, book.mplstyle, the mode's colours."""
    import matplotlib as mpl
    import seaborn as sns
    from cycler import cycler

    tone, number = _MODES[mode], list(_MODES).index(mode)
    if (order := f"scalinglaws-{mode}") not in mpl.colormaps:
        shades = sns.color_palette("viridis", as_cmap=True)(np.linspace(*_ORDER[mode], 256))
        mpl.colormaps.register(mpl.colors.ListedColormap(shades), name=order)
    book = mpl.rc_params_from_file(
        noted(Path(__file__).with_name("book.mplstyle")), use_default_template=False
    )
    colours = {
        "axes.prop_cycle": cycler(color=[shade[number] for shade in _SHADES.values()]),
        "image.cmap": order,
        "patch.edgecolor": tone["page"],
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), tone["text"]),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), tone["grid"]),
        **dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "none"),
    }
    return sns.plotting_context("paper") | sns.axes_style("ticks") | dict(book) | colours


def write(
    path: str | Path, plot: Callable, *args, size: tuple[float, float] = (WIDTH, 3.4), **kwargs
) -> None:
    """Draw one figure on white and write it to `path`, in the format of its suffix.

    For a reader's own file, outside the book. Raises OSError or ValueError as matplotlib does.
    """
    import matplotlib as mpl

    opaque = {"savefig.facecolor": "white", "savefig.transparent": False}
    with mpl.rc_context(style("light") | opaque):
        _drawn(plot, args, kwargs, size).savefig(path)


def _drawn(plot, args, kwargs, size):
    from matplotlib.figure import Figure as Canvas

    fig = Canvas(figsize=size, layout="constrained")
    plot(fig, *args, **kwargs)
    return fig


def _svg(id, mode, plot, args, kwargs, size) -> bytes:
    import matplotlib as mpl

    with mpl.rc_context(style(mode) | {"svg.hashsalt": id}):
        buffer = io.BytesIO()
        _drawn(plot, args, kwargs, size).savefig(
            buffer, format="svg", metadata={"Date": None, "Creator": None}
        )
    return buffer.getvalue()


def tidy(lines: Mapping, names: Sequence[str]) -> pd.DataFrame:
    """Labelled curves as the table behind a figure, with a row a point.

    lines: label, or tuple of labels → (x, y), sequences of the same length. names: the columns, for the labels and
    then for x and y. Raises ValueError where x and y differ in length.
    """
    rows = []
    for label, (x, y) in lines.items():
        labels = label if isinstance(label, tuple) else (label,)
        rows += [(*labels, a, b) for a, b in zip(x, y, strict=True)]
    return pd.DataFrame(rows, columns=list(names))
