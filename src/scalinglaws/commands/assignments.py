"""`scalinglaws assignments`: the exercises of a chapter as notebooks for students and a grader for instructors."""

from __future__ import annotations

import sys

from . import UserError


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser("assignments", help="write the exercises as zips for students and instructors")
    p.add_argument("chapters", nargs="*", metavar="CHAPTER", help="default: every chapter")
    p.add_argument("--out", default="_build/assignments", metavar="DIR", help="default: %(default)s")
    p.add_argument("--profile", default="cpu", choices=["smoke", "cpu", "gpu"])
    p.set_defaults(run=run)


def run(options) -> int:
    """Write two zips a chapter; exit with 1 on an exercise that is incomplete. Raises UserError."""
    from ..build import assignments, chapters

    known = assignments.names()
    for chapter in options.chapters:
        if chapter not in known:
            raise UserError(f"no chapter {chapter!r}; there are: {', '.join(known)}")
    try:
        for chapter in options.chapters or known:
            for path in assignments.write(chapter, options.out, options.profile):
                print(f"{chapter}: {path}")
    except ModuleNotFoundError as error:
        raise UserError(
            f'{error.name} is not installed: make setup (or pip install ".[book,grading]")'
        ) from None
    except chapters.BuildError as error:
        print(f"assignments: {error}", file=sys.stderr)
        return 1
    return 0
