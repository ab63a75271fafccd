"""`scalinglaws data [DATASET …]`: bring the external datasets."""

from __future__ import annotations

import sys

from .. import datasets
from . import UserError


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser("data", help="fetch external datasets (all without a name)")
    p.add_argument("names", nargs="*", metavar="DATASET")
    p.add_argument("--list", action="store_true", help="list the registry and stop")
    p.set_defaults(run=run)


def run(options) -> int:
    """Fetch each dataset; one that fails does not stop the others."""
    if options.list:
        for name in datasets.names():
            entry = datasets.describe(name)
            print(f"{name:<16} {entry['title']} ({entry['licence']})")
        return 0
    wanted = options.names or datasets.names()
    unknown = [n for n in wanted if n not in datasets.names()]
    if unknown:
        raise UserError(f"no dataset {unknown[0]!r}; there are: {', '.join(datasets.names())}")
    failed = 0
    for name in wanted:
        try:
            files = datasets.fetch(name)
        except datasets.DataError as error:
            print(f"{name}: {error}" if not str(error).startswith(name) else error, file=sys.stderr)
            failed += 1
            continue
        size = sum(path.stat().st_size for path in files.values())
        print(f"{name}: {len(files)} file(s), {size / 1e6:.1f} MB, hashes agree")
    return 1 if failed else 0
