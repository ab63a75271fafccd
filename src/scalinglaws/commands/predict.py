"""`scalinglaws predict TABLE`: accuracy on a task foretold from smaller runs, in two steps."""

from __future__ import annotations

import argparse
import json
import math

from . import UserError
from .given import finite, pairs, quantity

MAX_ROWS = 100_000
LISTED = 20
"""Held-out runs that are printed one by one."""
EPILOG = """\
TABLE is CSV, TSV, JSON, JSON lines, Parquet or Excel, or - for standard input, a row a checkpoint or run:
  N         parameters (count them alike in every row)
  D         training tokens so far
  loss      loss on the task: of the right answer, per byte or token, in any unit
  accuracy  share of right answers, between 0 and 1 (--task names another column)
  run       optional: which rows are checkpoints of one run. Without it every row is a run

Step one: L = E + A/N^α + B/D^β through the last checkpoint of each run (its last five averaged).
Step two: accuracy as a sigmoid of the loss, through all checkpoints but the first tenth of each run.
(Bhagia et al. 2024, arXiv:2412.04403; the chapter on abilities says how often its intervals hold.)

--holdout leaves the largest runs out, foretells them from the others, and says how many intervals held.
Exit code 2: bad input, one line on stderr.
"""
FIELDS = ("N", "D", "loss", "accuracy")


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "predict", help="foretell accuracy on a task from smaller runs", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = p.add_argument
    add("runs", metavar="TABLE", help="table of checkpoints or runs, or - for standard input")
    add("--task", metavar="COLUMN", help="the column of the accuracy (default accuracy)")
    add("--columns", metavar="N=HEADER,…", help="which column is what, e.g. N=params,loss=bpb")
    add("--scale", metavar="N=1e9,…", help="factors: sizes in billions are N=1e9, percentages accuracy=0.01")
    add("--run", dest="run_column", metavar="COLUMN", help="the column that names the runs (default: run, if there is one)")
    add("--at", metavar="N=…,D=…", action="append", default=[], help="a run to be foretold, e.g. N=7B,D=4T; may be repeated")
    add("--holdout", metavar="WHICH", nargs="?", const="largest", help="leave runs out and foretell them: the largest, or a condition such as 'N>1e9'")
    add("--bootstrap", type=int, default=200, metavar="K", help="resampled runs for the intervals (default %(default)s)")
    add("--level", type=float, default=0.9, help="level of the intervals (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of the bootstrap (default %(default)s)")
    add("--max-rows", type=int, default=MAX_ROWS, help="refuse longer tables (default %(default)s)")
    add("--drop-diverged", action="store_true", help="leave out rows without a loss, and say how many")
    add("--json", action="store_true", help="print one JSON object instead of text")
    p.set_defaults(run=run)


def run(options) -> int:
    """Read, fit both steps, resample, foretell."""
    points = _understand(options)
    from ..fit.reading import TableError

    try:
        report = answer(options, points)
    except TableError as error:
        raise UserError(str(error)) from None
    except ValueError as error:
        raise UserError(f"{options.runs}: {error}") from None
    print(json.dumps(finite(report), indent=1, allow_nan=False) if options.json else text(report))
    return 0


def _understand(options) -> list[dict[str, float]]:
    """Turn the options' text into values and refuse what cannot be meant, before any file is read."""
    if not 0 < options.level < 1:
        raise UserError(f"--level must be between 0 and 1, got {options.level:g}")
    if options.bootstrap < 2:
        raise UserError(f"--bootstrap must be at least 2, got {options.bootstrap}")
    if options.seed < 0:
        raise UserError(f"--seed must not be negative, got {options.seed}")
    options.columns = pairs("--columns", options.columns, FIELDS)
    if options.task:
        if "accuracy" in options.columns:
            raise UserError("--task and --columns accuracy=… name the same column; keep one")
        options.columns["accuracy"] = options.task
    options.scale = {k: quantity(f"--scale {k}", v, "") for k, v in pairs("--scale", options.scale, FIELDS).items()}
    points = []
    for at in options.at:
        given = pairs("--at", at, ("N", "D"))
        if missing := [name for name in ("N", "D") if name not in given]:
            raise UserError(f"--at {at}: {missing[0]} is missing; write --at N=7B,D=4T")
        points.append({name: quantity(f"--at {name}", value, "") for name, value in given.items()})
    return points


def answer(options, points: list[dict[str, float]]) -> dict:
    """The report as one object. Raises TableError and ValueError with the place and remedy."""
    import numpy as np

    from ..abilities import ladder
    from ..fit import check_resamples, held_out
    from ..fit.reading import TableError
    from .columns import read_numbers

    rows = read_numbers(options, FIELDS, "predict", signed=("accuracy",), output="loss", run="run")
    table, names = rows.frame, rows.groups
    wrong = ~table["accuracy"].between(0, 1)
    if wrong.any():
        value = table.loc[wrong, "accuracy"].iloc[0]
        raise TableError(f"{options.runs}: accuracy must lie between 0 and 1, a row has {value:g}; percentages are --scale accuracy=0.01")
    table = table.assign(run=[str(k) for k in range(len(table))] if names is None else names)
    sizes = table.groupby("run")["N"].nunique()
    if (sizes > 1).any():
        raise TableError(f"{options.runs}: run {sizes.idxmax()} has {sizes.max()} values of N; a run has one: name the runs' column with --run")
    ends = ladder.final(table).sort_values(["N", "D"], ignore_index=True)
    left = np.zeros(len(ends), bool)
    if options.holdout == "largest":
        left = (ends["N"] > ends["N"].max() / 1.2).to_numpy()
        if left.all():
            raise TableError("--holdout: all runs are of one size; give a condition such as 'D>1e11'")
    elif options.holdout:
        left = held_out(ends, options.holdout)
    seen = table[table["run"].isin(ends.loc[~left, "run"])]
    check_resamples(len(seen), options.bootstrap)
    found = ladder.climb(seen, options.bootstrap, options.seed)
    law, fitted = found.first.law, ends[~left]
    report = {
        "read": rows.said,
        "runs": int((~left).sum()),
        "rows": len(seen),
        "level": options.level,
        "first": found.first.params,
        "second": {"a": found.second.a, "k": found.second.k, "L0": found.second.L0, "b": found.second.b},
        "misses": {
            "loss": float(np.mean(np.abs(law.predict(fitted["N"], fitted["D"]) / fitted["loss"] - 1))),
            "accuracy": float(np.mean(np.abs(found.misses))),
        },
        "warnings": _warnings(found, seen, fitted),
        "predictions": [],
        "holdout": None,
    }
    for point in points:
        report["predictions"].append(_foretold(found, point["N"], point["D"], options))
        lowest = float(ladder.along(seen)["loss"].min())
        if report["predictions"][-1]["loss"] < lowest:
            told = f"at N = {point['N']:.4g}, D = {point['D']:.4g} the loss is foretold below all that step two has seen ({lowest:.4g}): the sigmoid's form alone speaks there"
            report["warnings"].append(told)
    if left.any():
        out = [_foretold(found, r.N, r.D, options) | {"run": r.run, "measured": r.accuracy} for r in ends[left].itertuples()]
        inside = [p["low"] <= p["measured"] <= p["high"] for p in out]
        miss = float(np.mean([abs(p["accuracy"] - p["measured"]) for p in out]))
        report["holdout"] = {"runs": out, "inside": float(np.mean(inside)), "miss": miss}
    return report


def _foretold(found, N: float, D: float, options) -> dict[str, float]:
    low, high = found.interval(N, D, options.level, options.seed)
    return {"N": float(N), "D": float(D), "loss": float(found.loss(N, D)), "accuracy": float(found.accuracy(N, D)), "low": low, "high": high}


def _warnings(found, seen, ends) -> list[str]:
    told = []
    if found.first.bound_hit:
        told.append(f"step one is at the edge of what is sought ({found.first.status.removeprefix('bound: ')}): the runs do not determine it")
    if len(ends) < 10:
        told.append(f"{len(ends)} runs for the five parameters of step one: other constants may fit as well")
    if len(ends) == len(seen) and len(seen) > 20 * seen["N"].nunique():
        told.append(f"{len(seen)} rows of {seen['N'].nunique()} sizes, each taken for a run: if they are checkpoints, name the runs' column with --run")
    span = float(seen["accuracy"].max() - seen["accuracy"].min())
    if span < 0.05:
        told.append(f"accuracy spans {100 * span:.1f} points over all rows: step two has hardly anything to go by")
    if math.isclose(found.second.k, 0.0, abs_tol=1e-6) or abs(found.second.a) < 1e-6:
        told.append("the sigmoid is flat: accuracy does not depend on this loss")
    return told


def text(report: dict) -> str:
    """The report for people."""
    lines = [f"read: {'; '.join(report['read'])}"] if report["read"] else []
    lines += [f"warning: {w}" for w in report["warnings"]]
    one, two, level = report["first"], report["second"], f"{100 * report['level']:g} %"
    lines += [
        f"fitted to {report['runs']} runs, {report['rows']} rows",
        f"step 1: L = {one['E']:.4g} + {one['A']:.4g}/N^{one['alpha']:.3g} + {one['B']:.4g}/D^{one['beta']:.3g}; misses {100 * report['misses']['loss']:.2g} % in the mean",
        f"step 2: accuracy = {two['b']:.3g} − {-two['a']:.3g}/(1 + e^(−{two['k']:.3g}·(L − {two['L0']:.3g}))); both steps miss {100 * report['misses']['accuracy']:.2g} points in the mean",
    ]
    for p in report["predictions"]:
        lines.append(f"foretold: N = {p['N']:.4g}, D = {p['D']:.4g}: loss {p['loss']:.4g}, accuracy {p['accuracy']:.3f}; {level}: {p['low']:.3f} to {p['high']:.3f}")
    if held := report["holdout"]:
        for p in held["runs"][:LISTED]:
            inside = "inside" if p["low"] <= p["measured"] <= p["high"] else "outside"
            lines.append(f"held out: {p['run']}: {p['accuracy']:.3f} ({p['low']:.3f} to {p['high']:.3f}), measured {p['measured']:.3f}, {inside}")
        if len(held["runs"]) > LISTED:
            lines.append(f"          and {len(held['runs']) - LISTED} more (--json has them)")
        lines.append(f"held out: {len(held['runs'])} runs, {100 * held['miss']:.2g} points off in the mean; {100 * held['inside']:.0f} % lie in their {level} interval")
    return "\n".join(lines)
