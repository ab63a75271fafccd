"""Stored results: what the cells that need external data showed when they last ran with them.

`make freeze` writes data/stored/CHAPTER/PAGE.json from an execution that had the data: for every
`%%needs` cell its tables, figures, glued numbers and claims, and what they follow from: the
data sets' hashes, the code of the cells up to this one, the parameters, every file of the
library and of data/ that the page used, and the ledger's entries. Where the data cannot be
had, a cell shows these results, marked; where any of what they follow from has changed, it
does not, and reads "not run". No table behind a figure is stored: it would hold the data.
"""

from __future__ import annotations

import json
import lzma
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path

from .claims import ledger
from .datasets import registry
from .paths import data_file, digest, file_digest, noted, root
from .store import StoreError, read_document, write_document, write_whole

TIMED = re.compile(r"_(ms|s|seconds)$")
"""Names of glued numbers that are run times: no two runs agree on them."""


def cell_digest(source: str) -> str:
    """A code cell, white space at its ends aside."""
    return digest(source.strip())


def dataset_digest(name: str) -> str:
    """The registered SHA-256 of a data set: of its file, or of its files' taken together."""
    entry = registry.describe(name)
    listed = [entry["archive"]] if "archive" in entry else []
    shas = [f["sha256"] for f in entry.get("files") or listed] or [f.sha256 for f in registry.manifest(name)]
    return shas[0] if len(shas) == 1 else digest("".join(shas))


def claim_digest(id: str) -> str:
    """A ledger entry, whole."""
    return (
        digest(json.dumps(asdict(ledger()[id]), sort_keys=True, default=str)) if id in ledger() else "absent"
    )


def _library(files: dict[str, str]) -> dict[str, str]:
    # the ledger counts by the entries that a cell checks, not by the files they stand in
    return {k: v for k, v in files.items() if not k.startswith(("data/claims/", "data/stored/"))}


def path(page: str) -> Path:
    """Where a page's stored results are; the figures lie beside them."""
    return root() / "data" / "stored" / f"{page}.json"


@cache
def pages() -> dict[str, dict]:
    """All stored results by page, each file noted as read. Raises StoreError for a damaged one."""
    folder = root() / "data" / "stored"
    names = sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.json"))
    return {n: read_document(data_file("stored", f"{n}.json")) for n in names}


@cache
def _current(files: tuple[tuple[str, str], ...]) -> bool:
    return all(file_digest(root() / name) == known for name, known in files)


def find(cell: str, executed: set[str], values: dict) -> tuple[dict, dict] | None:
    """(cell's results, page's facts) that still hold for the cell with this source, or None.

    executed: digests of the cells run so far in this session; values: its variables, to compare the parameters.
    """
    wanted = cell_digest(cell)
    for name, known in pages().items():
        result = next((c for c in known["cells"] if c["cell"] == wanted), None)
        if result is None:
            continue
        before = known["code"][: known["code"].index(wanted)]
        holds = (
            executed.issuperset(before)
            and all(values.get(k) == v for k, v in known["parameters"].items())
            and all(dataset_digest(d) == known["datasets"][d] for d in result["datasets"])
            and all(claim_digest(id) == known["claims"][id] for id in (r["id"] for r in result["claims"]))
            and _current(tuple(known["files"].items()))
        )
        if holds:  # pages may have a cell in common
            return result, known | {"page": name}
    return None


@cache
def _figures(page: str) -> dict[str, str]:
    file = noted(path(page).with_suffix(".figures.xz"))
    try:
        content = file.read_bytes()
        if digest(content) != pages()[page]["figures"]:
            raise ValueError
        return json.loads(lzma.decompress(content))
    except (OSError, ValueError, lzma.LZMAError):
        name = file.relative_to(root())
        raise StoreError(f"{name} is missing or damaged: restore it with `git checkout -- {name}`") from None


def place_figure(id: str, known: dict, folder: Path) -> None:
    """Write a stored figure's two drawings and its passport where `figures.show` would have."""
    folder.mkdir(parents=True, exist_ok=True)
    for mode in ("light", "dark"):
        (folder / f"{id}.{mode}.svg").write_text(_figures(known["page"])[f"{id}.{mode}"], encoding="utf-8")
    facts = {k: known[k] for k in ("commit", "date", "hardware", "packages")}
    (folder / f"{id}.json").write_text(json.dumps({"id": id, "stored": True} | facts, indent=1))


# ---- freezing, and comparing ---------------------------------------------------------------------------------


def gather(
    folder: Path,
    key: dict,
    source_cells: list[str],
    outputs: dict[str, list],
    needs: list[dict],
    parameters: dict,
    passport: dict,
) -> tuple[dict, dict[str, str]]:
    """(results, drawings) of an execution: what `freeze` writes and `differences` compares.

    source_cells: the page's code cells; outputs: those of the executed cells by digest; needs: what the
    `%%needs` cells recorded; folder: holds the figures.
    """  # fmt: skip
    drawings, cells = {}, []
    for entry in needs:
        shown = [s for o in outputs[entry["cell"]] if (s := _shown(o))]
        for item in shown:
            if id := item.get("figure"):
                for mode in ("light", "dark"):
                    drawings[f"{id}.{mode}"] = (folder / f"{id}.{mode}.svg").read_text(encoding="utf-8")
        cells.append({**entry, "shown": shown})
    results = {
        **{k: passport[k] for k in ("commit", "date", "hardware", "packages")},
        "parameters": parameters,
        "datasets": {d: dataset_digest(d) for d in sorted({d for c in cells for d in c["datasets"]})},
        "claims": {r["id"]: claim_digest(r["id"]) for c in cells for r in c["claims"]},
        "code": [cell_digest(c) for c in source_cells],
        "files": _library(key["files"]),
        "cells": cells,
    }
    return results, drawings


def _shown(output: dict) -> dict | None:
    """An output as it is stored: a reference to a claim or figure, else its text or HTML."""
    if output["output_type"] == "stream":
        return {"text": output["text"]} if output["name"] == "stdout" else None
    known = output.get("metadata", {}).get("scalinglaws")
    if known:
        return known
    if "scrapbook" in output.get("metadata", {}):
        return None  # glued again from its record
    # the plain text beside HTML may be a default representation, with an address in memory
    kind = next((k for k in ("text/html", "text/plain") if k in output["data"]), None)
    return {"data": {kind: output["data"][kind]}} if kind else None


def write(page: str, results: dict, drawings: dict[str, str]) -> None:
    """Write a page's stored results and drawings. Raises StoreError where it cannot."""
    path(page).parent.mkdir(parents=True, exist_ok=True)
    packed = lzma.compress(json.dumps(drawings).encode(), preset=9)
    write_whole(path(page).with_suffix(".figures.xz"), packed)
    write_document(path(page), results | {"figures": digest(packed)})


def differences(page: str, fresh: dict) -> list[str]:
    """How the stored results of a page differ from those just computed: out of date, or beyond rounding."""
    try:
        known = read_document(path(page))
    except FileNotFoundError:
        return [f"{page}: no stored results"]
    found = []
    for part in ("parameters", "datasets", "claims", "code", "files"):
        if known[part] != fresh[part]:
            changed = _changed(known[part], fresh[part])
            found.append(f"{page}: stored results are out of date ({part}: {changed})")
    if found:
        return found
    for old, new in zip(known["cells"], fresh["cells"], strict=True):
        found += [f"{page}: stored {what}" for what in _unequal(old, new)]
    return found


def _changed(old, new) -> str:
    if isinstance(old, dict):
        return ", ".join(sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))[:3])
    return "cells of the page"


def _unequal(old: dict, new: dict) -> list[str]:
    found = []
    for name, text in old["glue"].items():
        if not TIMED.search(name) and not same_text(text, new["glue"].get(name, "")):
            found.append(f"{name} = {text}, now {new['glue'].get(name)}")
    for a, b in zip(old["claims"], new["claims"], strict=True):
        if a["verdict"] != b["verdict"] or not same_text(
            json.dumps([a["value"], a["interval"]]), json.dumps([b["value"], b["interval"]])
        ):
            found.append(f"claim {a['id']}: {a['value']} ({a['verdict']}), now {b['value']} ({b['verdict']})")
    for a, b in zip(old["figures"], new["figures"], strict=True):
        if not same_text(json.dumps(a), json.dumps(b)):
            found.append(f"figure {a['id']} is drawn from other numbers now")
    for a, b in zip(old["shown"], new["shown"], strict=True):
        if not same_text(json.dumps(a), json.dumps(b)):
            found.append(f"table or text differs: {_first_difference(json.dumps(a), json.dumps(b))}")
    return found


_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def same_text(a: str, b: str) -> bool:
    """Equal but for rounding: each number within one unit of its last printed digit, or within a part in a thousand."""
    if a == b:
        return True
    if _NUMBER.sub("#", a) != _NUMBER.sub("#", b):
        return False
    return all(_close(x, y) for x, y in zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True))


def _close(a: str, b: str) -> bool:
    x, y = (float(t.replace("−", "-")) for t in (a, b))
    return abs(x - y) <= max(1.001 * max(_unit(a), _unit(b)), 1e-3 * max(abs(x), abs(y)))


def _unit(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _first_difference(a: str, b: str) -> str:
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"…{a[max(0, at - 30) : at + 30]}… now …{b[max(0, at - 30) : at + 30]}…"
