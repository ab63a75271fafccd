"""`scalinglaws fit RUNS`: fit your own runs."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path

from . import UserError
from .given import finite, pairs, quantity

MAX_ROWS = 100_000
DRAWN = (".svg", ".png", ".pdf")
EPILOG = """\
RUNS is CSV, TSV, semicolons with decimal commas, JSON, JSON lines, Parquet or Excel, or - for
standard input. Columns, in any order and under their usual names (params, tokens, val_loss,
flops, … are recognised, and how they were read is said):
  N     parameters (say which ones you count, and count them alike in every row)
  D     training tokens; from C and N where it is absent
  loss  final loss, nats per token (--loss-unit for others)
  C     training FLOPs, optional; 6·N·D without it
  run   optional: the training run a row belongs to. Rows of one run, seeds at one (N, D) and
        points along a curve are resampled together
  unique_tokens  optional: distinct tokens, where data were repeated

A .parquet table of stored runs (data/runs) is read at the best learning rate of each size and
length; envelope takes its training curves.

methods:
  surface   L = E + A/N^α + B/D^β, Huber loss on log L (Hoffmann et al. 2022, approach 3)
  varpro    the same law by variable projection, least squares on L
  isoflop   a parabola per budget, then a line (approach 2)
  envelope  minimum over training curves (approach 1): several rows per N, points along
            training curves
  all       the four side by side, and whether they agree

Where the runs do not determine the split of a budget into N and D, the answer says what they
do determine, and gives no allocation.

--law NAME fits another law: repeated data, overtraining, precision, transfer, annealing, broken power laws
and more. --law list prints their names and columns.

--json prints one object: read, warnings, method, params, interval, objective, status, n, runs,
undetermined, determined, allocation, predictions, holdout, next, seconds (CPU time: fit,
bootstrap); with --method all `methods`, with --by `groups`. Exit code 2: bad input, one line
on stderr.
"""


class _Once(argparse.Action):
    """Store, and refuse an option that is given twice instead of taking the last in silence."""

    def __call__(self, parser, namespace, values, option_string=None):
        given = namespace.__dict__.setdefault("_given", set())
        if self.dest in given:
            parser.error(f"{option_string} is given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "fit",
        help="fit a scaling law to your runs",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.register("action", None, _Once)
    add = p.add_argument
    add("runs", metavar="RUNS", nargs="?", help="table of runs, or - for standard input")
    add("--method", choices=["surface", "isoflop", "envelope", "varpro", "all"], default="surface")
    add("--law", metavar="NAME", help="another law than the surface, with columns of its own; list: print them")
    reading = p.add_argument_group("reading")
    add = reading.add_argument
    add("--columns", metavar="N=HEADER,…", help="which column is what, e.g. N=params,D=tokens,loss=val_loss")
    add("--scale", metavar="N=1e9,…", help="factors: sizes in billions are N=1e9")
    add("--loss-unit", choices=["nats", "bits", "perplexity", "bits-per-byte"])
    add("--drop-diverged", action="store_true", help="leave out rows without a finite loss, and say which")
    add(
        "--repeated",
        choices=["keep", "drop", "effective"],
        default="keep",
        help="runs with D above unique_tokens: keep, leave out, or count as the fresh tokens they are worth",
    )
    add(
        "--run",
        dest="run_column",
        metavar="COLUMN",
        help="the column that names the training runs; none: every row is one",
    )
    add("--weights", metavar="COLUMN", help="weights of the rows")
    add("--max-rows", type=int, default=MAX_ROWS, help="refuse longer tables (default %(default)s)")
    add(
        "--count",
        choices=["total", "non-embedding"],
        help="what N counts in a table of sweep (default total)",
    )
    add("--keep-columns", action="store_true", help="do not suspect that N and D are exchanged")
    fitting = p.add_argument_group("fitting")
    add = fitting.add_argument
    add("--delta", type=float, help="Huber threshold in log-loss units (surface: 0.001; --law: none, least squares)")
    add(
        "--asymmetric",
        type=float,
        metavar="R",
        help="runs above the law (under-tuned) count 1/R, surface only",
    )
    add(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="K",
        help="resamples for the intervals, 0 for none (default %(default)s)",
    )
    add("--level", type=float, default=0.95, help="level of the intervals (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of the bootstrap (default %(default)s)")
    add("--by", metavar="COLUMN", help="one fit a value of this column, side by side")
    asking = p.add_argument_group("asking")
    add = asking.add_argument
    add("--budget", metavar="FLOPS", help="the optimal N and D at this many FLOPs, e.g. 5.76e23")
    add(
        "--predict",
        metavar="N=…,D=…",
        action="append",
        default=[],
        help="the loss of a run, e.g. N=70B,D=1.4T (with --law all its columns); may be repeated",
    )
    add(
        "--holdout",
        metavar="WHICH",
        nargs="?",
        const="largest",
        help="leave runs out, predict them: the largest budget, or a condition such as 'C>1e20'",
    )
    add("--next", type=int, metavar="K", help="the K runs that would narrow the optimum's interval most")
    add("--json", action="store_true", help="print one JSON object instead of text")
    add("--plot", metavar="OUT.svg", help="draw the runs and the law (.svg, .png or .pdf)")
    p.set_defaults(run=run, refuse=p.error)


def run(options) -> int:
    """Read, fit, resample, report."""
    if options.law:
        return _another(options)
    _table_given(options)
    _understand(options)
    import numpy as np

    from . import report, text
    from .runs import read, read_curves

    reading = read(options)
    head = f"{reading.table.name}: "
    fit = None
    try:
        if options.method == "all":
            found = report.side_by_side(reading, read_curves(options, reading), options)
            shown = text.several(found["methods"], found["agreement"], "method")
        elif options.by:
            found = report.by_group(reading, options)
            shown = text.several(found["groups"], found["agreement"], options.by)
        else:
            found, fit = report.answer(reading, options, options.method)
            shown = text.one(found, options.bootstrap)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise UserError(head + str(error)) from None
    except (OverflowError, FloatingPointError):
        raise UserError(head + "the law overflows: look for outliers and wrong units") from None
    except MemoryError:
        raise UserError(head + "not enough memory; keep fewer rows, or lower --bootstrap") from None
    print(json.dumps(finite(found), indent=1, allow_nan=False) if options.json else shown)
    if options.plot:  # after the answer: what was fitted is printed even if it cannot be drawn
        sys.stdout.flush()
        _plot(options.plot, fit, reading.runs)
    return 0


def _another(options) -> int:
    """Any other law, by `law`."""
    from . import law

    if options.law == "list":
        print(law.listed())
        return 0
    form = law.known(options.law)
    _table_given(options)
    _sane(options)
    names = (*form.inputs, form.output)
    options.columns = pairs("--columns", options.columns, names)
    scale = pairs("--scale", options.scale, names)
    options.scale = {name: quantity(f"--scale {name}", value, "") for name, value in scale.items()}
    print(law.printed(options))
    return 0


def _understand(options):
    """Turn the options' text into values and refuse what cannot be meant, before any file is read."""
    _sane(options)
    for flag in ("delta", "asymmetric"):
        if getattr(options, flag) is not None and options.method not in ("surface", "all"):
            raise UserError(f"--{flag} is for --method surface; {options.method} has no such thing")
    _asked(options)


def _table_given(options):
    """Only `--law list` needs no table: without one the parser refuses, as for any missing argument."""
    if options.runs is None:
        options.refuse("name a table of runs, or - for standard input")


def _sane(options):
    """Refuse what no fit can mean."""
    if options.delta is not None and not (math.isfinite(options.delta) and options.delta > 0):
        raise UserError(f"--delta must be a positive number, got {options.delta:g}")
    if options.asymmetric is not None and not 1 <= options.asymmetric < math.inf:
        raise UserError(f"--asymmetric must be a number, 1 or more, got {options.asymmetric:g}")
    if options.seed < 0:
        raise UserError(f"--seed must not be negative, got {options.seed}")
    if not 0 < options.level < 1:
        raise UserError(f"--level must be between 0 and 1, got {options.level:g}")
    if options.bootstrap < 0 or options.bootstrap == 1:
        raise UserError(f"--bootstrap must be 0 or at least 2, got {options.bootstrap}")


def _asked(options):
    """What is asked of the surface beside its constants."""
    if options.budget is not None:
        options.budget = quantity(
            "--budget", re.sub(r"\s*flops?$", "", options.budget, flags=re.IGNORECASE), "FLOPs"
        )
    if options.next is not None and not 1 <= options.next <= 100:
        raise UserError(f"--next must be between 1 and 100, got {options.next}")
    options.columns = pairs("--columns", options.columns, ("N", "D", "loss", "C", "run", "unique_tokens"))
    scale = pairs("--scale", options.scale, ("N", "D", "C", "unique_tokens"))
    options.scale = {name: quantity(f"--scale {name}", value, "") for name, value in scale.items()}
    options.predict = [_point(p) for p in options.predict]
    several = "--method all" if options.method == "all" else "--by" if options.by else None
    if options.method == "all" and options.by:
        raise UserError("--by and --method all are two tables; ask for one of them")
    for flag in ("predict", "holdout", "next", "plot"):
        if getattr(options, flag) and several:
            raise UserError(f"--{flag} is about one fit; leave {several} out")
        if getattr(options, flag) and flag != "plot" and options.method not in ("surface", "varpro", "all"):
            raise UserError(f"--{flag} needs a law of the loss: --method surface or varpro")
    if options.plot:
        _drawable(options.plot)


def _point(text) -> tuple[float, float]:
    """`N=70B,D=1.4T` as (N, D)."""
    given = pairs("--predict", text, ("N", "D"))
    if len(given) < 2:
        raise UserError(f"--predict {text}: give both, e.g. --predict N=70B,D=1.4T")
    N, D = (quantity(f"--predict {n}", given[n], what) for n, what in (("N", "parameters"), ("D", "tokens")))
    return N, D


def _drawable(path):
    """Refuse a picture that cannot be written, before the fit."""
    import os

    target = Path(path)
    if target.suffix.lower() not in DRAWN:
        raise UserError(f"--plot {path}: name a file that ends in {', '.join(DRAWN)}")
    folder = target.parent
    if not folder.is_dir():
        raise UserError(f"--plot {path}: no such folder {folder}")
    if target.is_dir() or not os.access(target if target.exists() else folder, os.W_OK):
        raise UserError(f"--plot {path}: cannot be written")


def _plot(path, fit, runs):
    from ..plots import fitted

    try:
        fitted.plot(fit, runs, path)
    except Exception as error:  # whatever drawing stumbles over, the numbers stand above
        raise UserError(
            f"--plot {path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None
