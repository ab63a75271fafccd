"""`scalinglaws fit RUNS.csv`: fit your own runs."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from .. import fit as fitting
from ..laws import Chinchilla
from . import UserError
from .runs import MAX_ROWS, check_enough, read_runs, read_stored

EPILOG = """\
columns of RUNS.csv (comma-separated, header line, any order, others ignored):
  N     parameters (say which ones you count, and count them alike in every row)
  D     training tokens
  loss  final loss, nats per token (bits × 0.6931)
  C     training FLOPs, optional; 6·N·D without it
  run   envelope only, optional: names the training curve a row belongs to

A .parquet table of stored runs (data/runs) is read at the best learning rate of each size and
length; envelope takes its training curves.

methods:
  surface   L = E + A/N^α + B/D^β, Huber loss on log L (Hoffmann et al. 2022, approach 3)
  varpro    the same law by variable projection, least squares on L
  isoflop   a parabola per budget, then a line (approach 2)
  envelope  minimum over training curves (approach 1): several rows per N, points along
            training curves

--json prints one object: method, params, interval, objective, status, n, allocation,
warnings, seconds (CPU time: fit, bootstrap). Exit code 2: bad input, one line on stderr.
"""


def register(commands) -> None:
    """Add the subcommand."""
    p = commands.add_parser(
        "fit",
        help="fit a scaling law to your runs",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "runs", metavar="RUNS.csv", help="table of runs, or a .parquet table of `scalinglaws sweep`"
    )
    p.add_argument("--method", choices=["surface", "isoflop", "envelope", "varpro"], default="surface")
    p.add_argument(
        "--delta",
        type=float,
        default=1e-3,
        help="Huber threshold in log-loss units, surface only (default %(default)s)",
    )
    p.add_argument(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="K",
        help="resamples for the intervals, 0 for none (default %(default)s)",
    )
    p.add_argument("--level", type=float, default=0.95, help="level of the intervals (default %(default)s)")
    p.add_argument(
        "--budget",
        type=float,
        metavar="FLOPS",
        help="print the optimal N and D at this many FLOPs, e.g. 5.76e23",
    )
    p.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    p.add_argument("--plot", metavar="OUT.svg", help="draw the runs and the law")
    p.add_argument(
        "--max-rows", type=int, default=MAX_ROWS, help="refuse longer tables (default %(default)s)"
    )
    p.add_argument(
        "--count",
        choices=["total", "non-embedding"],
        default="total",
        help="parameters counted as N in a .parquet table (default %(default)s)",
    )
    p.add_argument("--keep-columns", action="store_true", help="do not suspect that N and D are exchanged")
    p.set_defaults(run=run)


def run(options) -> int:
    """Fit, resample, report."""
    _check_options(options)
    if options.runs.endswith(".parquet"):
        runs = read_stored(options.runs, options.method, options.count)
    else:
        runs = read_runs(options.runs, max_rows=options.max_rows, check_order=not options.keep_columns)
    check_enough(options.runs, runs, options.method)
    started = time.process_time()
    try:
        return _fit_and_report(runs, options, started)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise UserError(f"{options.runs}: {error}") from None


def _fit_and_report(runs, options, started) -> int:
    fit = fit_runs(runs, options.method, options.delta)
    seconds = {"fit": time.process_time() - started, "bootstrap": 0.0}
    boot = None
    if options.bootstrap:
        started = time.process_time()
        boot = fitting.bootstrap(fit, options.bootstrap, options.seed)
        seconds["bootstrap"] = time.process_time() - started
    report = build_report(fit, boot, runs, options, seconds)
    if options.plot:
        _plot(options.plot, fit, runs)
    print(
        json.dumps(_finite(report), indent=1, allow_nan=False) if options.json else as_text(report, options)
    )
    return 0


def _check_options(options):
    if not (np.isfinite(options.delta) and options.delta > 0):
        raise UserError(f"--delta must be a positive number, got {options.delta:g}")
    if options.seed < 0:
        raise UserError(f"--seed must not be negative, got {options.seed}")
    if not 0 < options.level < 1:
        raise UserError(f"--level must be between 0 and 1, got {options.level:g}")
    if options.bootstrap < 0 or options.bootstrap == 1:
        raise UserError(f"--bootstrap must be 0 or at least 2, got {options.bootstrap}")
    if options.budget is not None and not (np.isfinite(options.budget) and options.budget > 0):
        raise UserError(f"--budget must be a positive number of FLOPs, got {options.budget:g}")


def fit_runs(runs, method: str, delta: float = 1e-3) -> fitting.Fit:
    """The `Fit` of a validated table by one of the four methods."""
    N, D, loss = (runs[c].to_numpy() for c in ("N", "D", "loss"))
    C = runs["C"].to_numpy() if "C" in runs else None
    if method == "surface":
        return fitting.fit_surface(N, D, loss, delta=delta)
    if method == "varpro":
        return fitting.fit_varpro(N, D, loss)
    if method == "isoflop":
        return fitting.fit_isoflop(N, D, loss, C)
    return fitting.fit_envelope(N, D, loss, C, run=runs["run"].to_numpy() if "run" in runs else None)


def build_report(fit, boot, runs, options, seconds) -> dict:
    """The JSON object: everything the text prints comes from it."""
    allocation, warnings = None, list(fit.warnings)
    C = runs["C"] if "C" in runs else 6 * runs["N"] * runs["D"]
    # C = k·N·D: the table's own count of FLOPs decides what a budget buys
    ratio = C / (runs["N"] * runs["D"])
    k = {"k": float(ratio.median())} if fit.method in ("surface", "varpro") else {}
    if k and ratio.max() / ratio.min() > 1.1:
        warnings.append(
            f"C/(N·D) varies from {ratio.min():.3g} to {ratio.max():.3g}; budgets use its median, {k['k']:.3g}"
        )
    if fit.bound_hit:
        warnings.append(
            f"parameter at its bound ({fit.status.removeprefix('bound: ')}): the runs do not determine it, "
            "and its interval means little"
        )
    if not fit.converged:
        warnings.append("the optimiser did not converge; check the runs for outliers")
    if fit.method in ("surface", "varpro") and len(np.unique(fitting.group_budgets(C))) < 3:
        warnings.append("too few budgets: fewer than three distinct values of C")
    if fit.method in ("surface", "varpro"):
        miss = np.abs(np.log(fit.law.predict(runs["N"], runs["D"]) / runs["loss"])).to_numpy()
        worst = int(np.argmax(miss))
        if miss[worst] > max(0.01, 20 * np.median(miss)):
            warnings.append(
                f"line {worst + 2} misses the law by {100 * np.expm1(miss[worst]):.0f} %, far more than the others: "
                "check its N, D and loss (exchanged columns? another unit?)"
            )
    if boot is not None and boot.failed > 0.01:
        warnings.append(
            f"{100 * boot.failed:.1f} % of the resamples could not be fitted and are left out of the intervals"
        )
    if options.budget:
        at = fit.law.optimum(options.budget, **k)
        allocation = {
            "C": float(options.budget),
            "N": float(at.N),
            "D": float(at.D),
            "tokens_per_parameter": float(at.D / at.N),
            "loss": None if np.isnan(at.loss) else float(at.loss),
        }
        if boot is not None:
            allocation["interval"] = {
                k: list(v) for k, v in boot.optimum_interval(options.budget, options.level, **k).items()
            }
        decades = np.log10(options.budget / C.max())
        if decades > 0:
            warnings.append(
                f"extrapolation: the budget is {decades:.1f} decades beyond the largest run ({C.max():.3g} FLOPs)"
            )
        elif options.budget < C.min():
            warnings.append(
                f"extrapolation: the budget is {np.log10(C.min() / options.budget):.1f} decades below the smallest run"
            )
    interval = {} if boot is None else {k: list(boot.interval(k, options.level)) for k in fit.params}
    return {
        "method": fit.method,
        "params": fit.params,
        "interval": interval,
        "level": options.level,
        "objective": fit.objective,
        "status": fit.status,
        "n": fit.n,
        "allocation": allocation,
        "warnings": warnings,
        "seconds": seconds,
    }


def _finite(value):
    """The report with null for every number that is not finite: JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


_UNITS = {"E": "nats/token", "A": "", "B": "", "N0": "parameters at C0", "D0": "tokens at C0"}
_LABELS = {"alpha": "α", "beta": "β"}


def as_text(report: dict, options) -> str:
    """The report for people."""
    law = "L = E + A/N^α + B/D^β" if "E" in report["params"] else "N_opt = N0·(C/C0)^a,  D_opt = D0·(C/C0)^b"
    lines = [f"{law}   ({report['method']}, {report['n']} rows, {report['status']})"]
    for name, value in report["params"].items():
        text = f"  {_LABELS.get(name, name):<3}= {value:<12.6g}"
        if name in report["interval"]:
            low, high = report["interval"][name]
            text += f"{100 * report['level']:g} %: {low:.6g} to {high:.6g}"
        lines.append(f"{text}  {_UNITS.get(name, '')}".rstrip())
    lines.append(f"  objective {report['objective']:.6g}")
    if at := report["allocation"]:
        lines.append(
            f"optimal at {at['C']:.4g} FLOPs: N = {at['N']:.4g} parameters, D = {at['D']:.4g} tokens, "
            f"{at['tokens_per_parameter']:.1f} tokens a parameter"
            + (f", loss {at['loss']:.4g} nats/token" if at["loss"] is not None else "")
        )
        if "interval" in at:
            (n0, n1), (d0, d1) = at["interval"]["N"], at["interval"]["D"]
            lines.append(f"  {100 * report['level']:g} %: N {n0:.4g} to {n1:.4g}, D {d0:.4g} to {d1:.4g}")
    lines += [f"warning: {w}" for w in report["warnings"]]
    s = report["seconds"]
    lines.append(
        f"CPU time: fit {s['fit']:.3f} s, bootstrap {s['bootstrap']:.3f} s ({options.bootstrap} resamples)"
    )
    return "\n".join(lines)


def _plot(path, fit, runs):
    from ..figures import write
    from ..plots import fitted

    draw = fitted.surface if isinstance(fit.law, Chinchilla) else fitted.frontier
    try:
        write(path, draw, fit, runs, size=(8, 3.6))
    except (OSError, ValueError) as error:
        raise UserError(f"--plot {path}: {error}") from None
