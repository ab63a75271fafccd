"""The scorecard: what the pages recorded, held against the ledger."""

from __future__ import annotations

from dataclasses import asdict

from .claims import NOT_RUN, ledger, ours, published
from .numbers import show


def compare(
    records: dict[str, list[dict]], allow_not_run: bool = True, other_runs: bool = False
) -> tuple[list[str], list[str]]:
    """Hold the recorded verdicts of pages against the ledger.

    records: page → its recorded checks. Returns (errors, notes): an error for a verdict
    other than `expected`, a claim that no page checked, or checked twice; "not run" is a
    note, or an error unless `allow_not_run`. With `other_runs` a changed verdict on models
    trained here is a note: the ledger's were reached on other runs.
    """
    errors: list[str] = []
    notes: list[str] = []
    for claim in ledger().values():
        found = [(page, r) for page, checks in records.items() for r in checks if r["id"] == claim.id]
        if len(found) != 1:
            pages = ", ".join(dict.fromkeys(page for page, _ in found))
            how = "never checked" if not found else f"checked {len(found)} times ({pages})"
            errors.append(f"{claim.id}: {how}")
            continue
        page, r = found[0]
        if r["verdict"] == NOT_RUN and claim.expected != NOT_RUN:
            (notes if allow_not_run else errors).append(f"{claim.id}: not run ({r['note']})")
        elif r["verdict"] != claim.expected:
            free = other_runs and "retrained here" in claim.evidence
            (notes if free else errors).append(
                f"{claim.id}: verdict {r['verdict']!r} where the ledger expects {claim.expected!r} "
                f"(ours {show(r['value'], r['interval'])}, published {show(claim.published)}); "
                f"explain it on the page {page} and change `expected` in the same commit"
            )
    return errors, notes


def rows(records: dict[str, list[dict]]) -> list[dict]:
    """The scorecard: every claim with its result and the page that checked it, for the pages in `records`."""
    results = {r["id"]: r | {"page": page} for page, checks in records.items() for r in checks}
    out = []
    for claim in ledger().values():
        r = results.get(
            claim.id,
            {"value": None, "interval": None, "evidence": None, "verdict": NOT_RUN, "note": "", "page": None},
        )
        shown = {
            "published_text": published(claim),
            "ours_text": ours(claim, r["value"], r["interval"]),
        }
        out.append({**asdict(claim), "decades": claim.decades, "stored": None, **r, **shown})
    return out
