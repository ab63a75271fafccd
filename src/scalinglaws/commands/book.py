"""`scalinglaws book`: execute what changed, check the ledger, render the site."""

from __future__ import annotations

import os
import sys
import time

from . import UserError


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser("book", help="build the book (see also: make book)")
    p.add_argument("--profile", default="cpu", choices=["smoke", "cpu", "gpu"])
    p.add_argument("--no-missing-data", action="store_true", help='fail on claims that read "not run"')
    p.add_argument(
        "--notebooks", metavar="FOLDER", help="also write plain .ipynb files (executed and not) to FOLDER"
    )
    p.add_argument(
        "--freeze", action="store_true", help="store what needs external data, for readers without them"
    )
    p.add_argument(
        "--cell-limit", type=int, metavar="SECONDS", help="stop a cell that takes longer (default: 4 h)"
    )
    p.set_defaults(run=run)


def run(options) -> int:
    """Build; exit with 1 on a failing cell, a changed verdict or a warning of the renderer."""
    from ..build import render

    with render.alone():
        return _build(options)


def _build(options) -> int:
    from .. import claims, scorecard, store, stored
    from ..build import chapters, pages, publish, render

    started = time.monotonic()
    strict = options.no_missing_data or bool(os.environ.get("SCALINGLAWS_REQUIRE_DATA"))
    try:
        executed = chapters.run_all(options.profile, cell_limit=options.cell_limit or chapters.CELL_LIMIT)
        old = [] if options.profile != "cpu" else _stored(chapters, stored, options.freeze)
        pages.place_all(options.profile)
        records = render.write_scorecard(options.profile)
        errors, notes = scorecard.compare(records, not strict, other_runs=options.profile == "gpu")
        rendered = render.render()
        if options.notebooks:
            publish.write(options.notebooks, options.profile)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: make setup (or pip install -r requirements.lock)"
        ) from None
    except (chapters.BuildError, claims.LedgerError, store.StoreError) as error:
        print(f"book: {error}", file=sys.stderr)
        return 1
    for line in old if strict else old[:1]:
        print(f"stored results: {line}; `make freeze` stores them anew", file=sys.stderr)
    kept = sum("stored" in r for found in records.values() for r in found)
    if kept:
        print(
            f"{kept} claims are shown from stored results because data are missing; `make data` fetches them."
        )
    missing = [line for line in notes if ": not run (" in line]
    for line in notes:
        print(f"not run: {line}" if line in missing else f"other runs, other verdict: {line}")
    if missing:
        print(f"{len(missing)} claims were not run because data are missing; `make data` fetches them.")
    if errors and options.profile == "smoke":
        print(f"smoke profile: {len(errors)} verdicts differ from the ledger, as toy sizes may; not enforced")
        errors = []
    for line in errors:
        print(f"verdict changed: {line}", file=sys.stderr)
    if errors or (old and strict):
        return 1
    what = f"executed {', '.join(executed) or 'nothing'}, {'rendered the site' if rendered else 'nothing to render'}"
    checked = sum(len(r) for r in records.values())
    print(
        f"book: {what}, {checked} claims checked, {time.monotonic() - started:.1f} s → {render.site() / 'index.html'}"
    )
    return 0


def _stored(chapters, stored, freeze: bool) -> list[str]:
    """Store what pages with all their data showed, or say how what is stored differs from it."""
    found = []
    for name in chapters.names():
        now = chapters.results(name, "cpu")
        if now is None:
            continue
        if freeze:
            stored.write(name, *now)
        else:
            found += stored.differences(name, now[0])
    return found
