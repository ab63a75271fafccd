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
    p.set_defaults(run=run)


def run(options) -> int:
    """Build; exit with 1 on a failing cell, a changed verdict or a warning of the renderer."""
    from .. import claims
    from ..build import chapters, publish, render

    started = time.monotonic()
    try:
        executed = chapters.run_all(options.profile)
        chapters.place_all(options.profile)
        records = render.write_scorecard(options.profile)
        strict = options.no_missing_data or bool(os.environ.get("SCALINGLAWS_REQUIRE_DATA"))
        errors, notes = claims.compare(records, not strict, other_runs=options.profile == "gpu")
        rendered = render.render()
        if options.notebooks:
            publish.write(options.notebooks, options.profile)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: make setup (or pip install -r requirements.lock)"
        ) from None
    except (chapters.BuildError, claims.LedgerError) as error:
        print(f"book: {error}", file=sys.stderr)
        return 1
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
    if errors:
        return 1
    what = f"executed {', '.join(executed) or 'nothing'}, {'rendered the site' if rendered else 'nothing to render'}"
    checked = sum(len(r) for r in records.values())
    print(
        f"book: {what}, {checked} claims checked, {time.monotonic() - started:.1f} s → {render.site() / 'index.html'}"
    )
    return 0
