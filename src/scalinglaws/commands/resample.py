"""`scalinglaws resample`: the book's own study of resampling, small models that write programs."""

from __future__ import annotations

from . import UserError, need_torch


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "resample",
        help="the book's own study of resampling with imperfect tests",
        description="Train a ladder of small models that write programs, sample them, and count what passes; "
        "what is finished is kept, and the same command goes on.",
    )
    p.add_argument(
        "--study", choices=("smoke", "cpu"), required=True, help="the study of data/resampling/study.yaml"
    )
    p.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    p.set_defaults(run=run)


def run(options) -> int:
    """Exit 0 when all is stored, 2 for bad input; after Ctrl-C the same command goes on."""
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers must be at least 1, got {options.workers}")
    need_torch()
    from ..lm.store import StoreError
    from ..resampling import plan, study

    try:
        study.run(options.study, options.workers)
    except (plan.PlanError, StoreError, RuntimeError) as error:
        raise UserError(str(error)) from None
    return 0
