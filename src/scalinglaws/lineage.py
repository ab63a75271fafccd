"""Who builds on whom: the book's bibliography as a graph.

`book/references.bib` says in the field `cites` which of its works a work builds on or argues with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .paths import noted, root


@dataclass(frozen=True)
class Work:
    """An entry of the bibliography: its key, what it is called here, its year, and the keys that it cites."""

    key: str
    label: str
    year: int
    cites: tuple[str, ...]


def works(path: Path | None = None) -> dict[str, Work]:
    """The bibliography (default: the book's) by key. Raises ValueError for a cited key that is not in it, or a later one."""
    from pybtex.database import parse_file

    path = path or root() / "book" / "references.bib"
    entries = parse_file(str(noted(path)), bib_format="bibtex").entries
    found = {}
    for key, entry in entries.items():
        people = entry.persons.get("author", [])
        name = " ".join(str(part) for part in people[0].rich_last_names) if people else key
        cites = tuple(re.findall(r"\w+", entry.fields.get("cites", "")))
        found[key] = Work(key, f"{name} {entry.fields['year']}", int(entry.fields["year"]), cites)
    for work in found.values():
        for cited in work.cites:
            if cited not in found:
                raise ValueError(f"{path.name}: {work.key} cites {cited}, which is not in the list")
            if found[cited].year > work.year:
                raise ValueError(f"{path.name}: {work.key} cites {cited}, which is younger")
    return found


def around(all_works: Mapping[str, Work], key: str) -> pd.DataFrame:
    """The lineage of one work: what it cites, what that cites, and what cites it.

    A row an arrow: citing, cited (labels), year_citing, year_cited, generation (−2 and −1 towards the ancestors, 1
    towards the descendants). Raises KeyError for an unknown key.
    """
    old = set(all_works[key].cites)
    new = {w.key for w in all_works.values() if key in w.cites}
    arrows = {(key, cited): -1 for cited in old} | {(citing, key): 1 for citing in new}
    for parent in old:
        for cited in all_works[parent].cites:
            arrows.setdefault((parent, cited), -2)
    rows = [
        {
            "citing": all_works[a].label,
            "cited": all_works[b].label,
            "year_citing": all_works[a].year,
            "year_cited": all_works[b].year,
            "generation": generation,
        }
        for (a, b), generation in arrows.items()
    ]
    return pd.DataFrame(rows).sort_values(["year_citing", "year_cited", "citing", "cited"], ignore_index=True)
