"""`python -m scalinglaws COMMAND`."""

from __future__ import annotations

import os
import sys

if sys.argv[1:2] in (["fit"], ["predict"]):
    # Small arrays gain nothing from BLAS threads, which spin and would be counted as CPU time.
    # Must be set before NumPy loads.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

from .commands import (
    Parser,
    UserError,
    assignments,
    book,
    data,
    fit,
    hardware,
    lint,
    lock,
    predict,
    resample,
    study,
    sweep,
    testtime,
)

RESUMABLE = {"book", "data", "study", "sweep", "testtime", "resample"}


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand. Exit codes: 0 done, 1 the book or data failed, 2 bad input (one line on stderr)."""
    parser = Parser(
        prog="scalinglaws", description="Scaling laws: fit your own runs, fetch data, build the book."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (fit, predict, data, study, sweep, testtime, resample, book, assignments, lint, lock, hardware):
        module.register(commands)
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show α gets a question mark, not a crash
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        commands.choices[options.command].refuse(unknown[0])
    try:
        return options.run(options)
    except UserError as error:
        print(f"scalinglaws {options.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = "; what is finished is kept, the same command goes on" if options.command in RESUMABLE else ""
        print(f"scalinglaws {options.command}: interrupted{kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, as in `| head`
        return 0


if __name__ == "__main__":
    sys.exit(main())
