"""The lineage of a paper as a timeline."""

from __future__ import annotations

from typing import Any

from matplotlib import rcParams
from matplotlib.patches import FancyArrowPatch

from ..figures import OTHER, PAPER, REFERENCE, SMALL


def lineage(fig, arrows, centre: str):
    """Works by year, a column a year, with an arrow from each to what it cites; strong where it touches `centre`.

    arrows: from `lineage.around`. Works of one year stand below each other, those with most arrows in the middle.
    """
    ax = fig.subplots()
    years: dict[str, int] = {}
    for end in ("citing", "cited"):
        years |= dict(zip(arrows[end], arrows[f"year_{end}"], strict=True))
    columns = sorted(set(years.values()))
    weight = arrows["citing"].value_counts().add(arrows["cited"].value_counts(), fill_value=0)
    place = {}
    for x, year in enumerate(columns):
        here = sorted((w for w in years if years[w] == year), key=lambda w: (w != centre, -weight[w], w))
        for i, work in enumerate(here):  # 0, 1, −1, 2, −2 …; columns in turn a little higher and lower
            place[work] = (x, (i + 1) // 2 * (-1) ** i + 0.25 * (-1) ** x)
    for row in arrows.itertuples():
        near = centre in (row.citing, row.cited)
        look: dict[str, Any] = {"color": PAPER if near else REFERENCE, "lw": 1.2 if near else 0.5, "zorder": 2 if near else 1}
        bow = 0.12 if row.year_citing != row.year_cited else 0.45
        ax.add_patch(
            FancyArrowPatch(
                place[row.citing], place[row.cited], arrowstyle="-|>", mutation_scale=8, shrinkA=16, shrinkB=16,
                connectionstyle=f"arc3,rad={bow}", **look,
            )
        )  # fmt: skip
    for work, (x, y) in place.items():
        name = work.rsplit(" ", 1)[0]
        box = {"boxstyle": "round,pad=.25", "fc": rcParams["patch.edgecolor"], "ec": OTHER, "lw": 0.6}  # the page's colour
        if work == centre:
            box |= {"ec": PAPER, "lw": 1.6}
        ax.text(x, y, name, ha="center", va="center", fontsize=SMALL, bbox=box, zorder=3)
    low, high = min(y for _, y in place.values()), max(y for _, y in place.values())
    ax.set(xlim=(-0.6, len(columns) - 0.4), ylim=(low - 0.6, high + 0.6), yticks=[])
    ax.set_xticks(range(len(columns)), columns)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
