"""`scalinglaws fit TABLE --law NAME`: any law of `fit.forms` to a table of one's own."""

from __future__ import annotations

import difflib
import json
import time

import numpy as np
import pandas as pd

from ..fit import bootstrap, check_resamples, held_out
from ..fit.forms import FORMS, Form, rebuilt
from ..fit.general import fit_form
from ..fit.reading import TableError
from ..fit.result import Bootstrap, Fit, expanded_level, percentile
from . import UserError
from .columns import Rows, read_numbers
from .given import finite, pairs, quantity

NOT_FOR = ("loss_unit", "count", "by", "budget", "next", "plot", "asymmetric", "keep_columns", "weights")
"""Options that are about runs and their surface."""


def known(name: str) -> Form:
    """A law by name. Raises UserError with the nearest."""
    if name not in FORMS:
        near = difflib.get_close_matches(name, FORMS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"--law {name}: no such law{meant} (--law list prints them; the surface needs no --law)")
    return FORMS[name]


def listed() -> str:
    """The laws with their columns, a block each."""
    blocks = []
    for form in FORMS.values():
        columns = "; ".join(f"{name}: {what}" for name, what in {**form.inputs, form.output: form.meaning}.items())
        blocks.append(f"  {form.name:<16}{form.formula}\n{'':18}{columns} ({form.source})")
    return "\n".join(blocks)


def answer(options) -> dict:
    """Read, fit, resample, hold out, predict: the report as one object. Raises UserError."""
    form = FORMS[options.law]
    for flag in NOT_FOR:
        if getattr(options, flag, None):
            raise UserError(f"--{flag.replace('_', '-')} is for the surface; leave it out with --law")
    if options.repeated != "keep" or options.method != "surface":
        raise UserError("--repeated and --method are for the surface; leave them out with --law")
    points = [_point(form, text) for text in options.predict]
    try:
        rows = _read(form, options)
        left = _left_out(form, rows.frame, options.holdout)
        return _fitted(form, rows, left, points, options)
    except TableError as error:
        raise UserError(str(error)) from None
    except ValueError as error:
        raise UserError(f"{options.runs}: {error}") from None


def _fitted(form: Form, rows: Rows, left: np.ndarray, points: list[dict], options) -> dict:
    kept, out = rows.frame[~left], rows.frame[left]
    groups = None if rows.groups is None else rows.groups[~left]
    columns = lambda frame: {name: frame[name].to_numpy() for name in form.inputs}
    started = time.process_time()
    fit = fit_form(form, columns(kept), kept[form.output], delta=options.delta or np.inf, groups=groups)
    seconds, boot = {"fit": time.process_time() - started, "bootstrap": 0.0}, None
    if options.bootstrap:
        check_resamples(fit.n, options.bootstrap)
        started = time.process_time()
        boot = bootstrap(fit, options.bootstrap, options.seed)
        seconds["bootstrap"] = time.process_time() - started
    report = {
        "law": form.name,
        "formula": form.formula,
        "source": form.source,
        "params": fit.params,
        "interval": {} if boot is None else {k: list(boot.interval(k, options.level, "expanded")) for k in fit.params},
        "level": options.level,
        "objective": fit.objective,
        "status": fit.status,
        "n": fit.n,
        "runs": fit.units,
        "read": rows.said,
        "rms": float(np.sqrt(np.mean(np.square(_misses(fit))))),
        "warnings": _warnings(form, fit),
        "holdout": None,
        "predictions": [],
        "seconds": seconds,
    }
    draws = _Draws(fit, boot, options)
    if len(out):
        miss = np.log(out[form.output].to_numpy() / fit.law.predict(**columns(out)))
        ends = [draws.run({k: v[i] for k, v in columns(out).items()}) for i in range(len(out))]
        inside = None if boot is None else float(np.mean([a <= y <= b for (a, b), y in zip(ends, out[form.output], strict=True)]))
        report["holdout"] = {"n": len(out), "bias": float(miss.mean()), "rms": float(np.sqrt(np.mean(miss**2))), "inside": inside}
    for point in points:
        found = {**point, form.output: float(fit.law.predict(**point))}
        if boot is not None:
            found |= {"law": list(draws.law(point)), "run": list(draws.run(point))}
        report["predictions"].append(found)
        for name, value in point.items():
            low, high = kept[name].min(), kept[name].max()
            if not low / 1.01 <= value <= high * 1.01:
                report["warnings"].append(f"{name} = {value:.4g} lies outside of the rows, {low:.4g} to {high:.4g}: the form alone speaks there")
    return report


class _Draws:
    """What the refits predict at a point: the law's interval, and that of a further run with the residuals' noise."""

    def __init__(self, fit: Fit, boot: Bootstrap | None, options):
        self.fit, self.laws = fit, []
        if boot is not None:
            count = len(next(iter(boot.samples.values())))
            self.laws = [rebuilt(fit.law, {k: v[i] for k, v in boot.samples.items()}) for i in range(count)]
        self.level = expanded_level(options.level, fit.units)
        self.rng = np.random.default_rng(options.seed)

    def _each(self, point) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.array([law.predict(**point) for law in self.laws], float)

    def law(self, point) -> tuple[float, float]:
        return percentile(self._each(point), self.level)

    def run(self, point) -> tuple[float, float]:
        if not self.laws:
            return (np.nan, np.nan)
        freedom = max(self.fit.units - len(self.fit.params), 1)
        noise = self.rng.choice(_misses(self.fit), (20, len(self.laws))) * np.sqrt(self.fit.units / freedom)
        return percentile((self._each(point) * np.exp(noise)).ravel(), self.level)


def _misses(fit: Fit) -> np.ndarray:
    """log y − log ŷ of each fitted row."""
    return np.asarray(fit.residuals, float)


def _warnings(form: Form, fit: Fit) -> list[str]:
    found = []
    if fit.bound_hit:
        names = fit.status.removeprefix("bound: ")
        found.append(f"at the edge of what is sought ({names}): the rows do not determine it, and its interval means little")
    if not fit.converged:
        found.append("the optimiser did not converge; look for outliers")
    if fit.units < 2 * len(fit.params):
        found.append(f"{fit.units} runs for {len(fit.params)} parameters: other constants may fit as well")
    off = np.abs(_misses(fit))
    worst, typical = off.max(), np.median(off)
    if worst > max(0.05, 20 * typical):
        row = int(np.argmax(off)) + 1
        found.append(f"row {row} of those fitted misses the law by {100 * np.expm1(worst):.0f} %, far more than the others")
    return found


def _read(form: Form, options) -> Rows:
    """The law's columns of a table as numbers. Raises TableError with place and remedy."""
    return read_numbers(options, (*form.inputs, form.output), f"--law {form.name}", form.signed, form.output)


def _left_out(form: Form, frame: pd.DataFrame, which: str | None) -> np.ndarray:
    """Mask of rows: none, the largest (`Form.large`, to a factor of 1.2), or those of a condition. Raises TableError."""
    if which is None:
        return np.zeros(len(frame), bool)
    if which == "largest":
        size = form.large({name: frame[name].to_numpy() for name in form.inputs})
        left = size > size.max() / 1.2
        if left.all():
            raise TableError("--holdout: all rows are of one size; give a condition such as 'x>1e9'")
        return left
    return held_out(frame.assign(C=frame.get("C", np.nan)), which)


def _point(form: Form, text: str) -> dict[str, float]:
    given = pairs("--predict", text, tuple(form.inputs))
    if missing := [name for name in form.inputs if name not in given]:
        raise UserError(f"--predict {text}: --law {form.name} needs {', '.join(form.inputs)}; {missing[0]} is missing")
    return {name: quantity(f"--predict {name}", value, "") for name, value in given.items()}


def text(report: dict) -> str:
    """The report for people."""
    lines = [f"read: {'; '.join(report['read'])}"] if report["read"] else []
    lines += [f"warning: {w}" for w in report["warnings"]]
    rows = f"{report['n']} rows" + (f" of {report['runs']} runs" if report["runs"] != report["n"] else "")
    lines.append(f"{report['formula']}   ({report['law']}, {report['source']}; {rows}, {report['status']})")
    level = f"{100 * report['level']:g} %"
    for name, value in report["params"].items():
        ends = report["interval"].get(name)
        lines.append(f"  {name:<8}= {value:<12.6g}" + (f"{level}: {ends[0]:.6g} to {ends[1]:.6g}" if ends else ""))
    lines.append(f"  root mean square of the misses {100 * report['rms']:.2g} %")
    for p in report["predictions"]:
        at = ", ".join(f"{k} = {v:.4g}" for k, v in p.items() if isinstance(v, float))
        ends = "" if "run" not in p else f"; {level}: {p['run'][0]:.4g} to {p['run'][1]:.4g} for a run, {p['law'][0]:.4g} to {p['law'][1]:.4g} for the law"
        lines.append(f"predicted: {at}{ends}")
    if h := report["holdout"]:
        inside = "" if h["inside"] is None else f"; {100 * h['inside']:.0f} % lie in their {level} prediction interval"
        side = "above" if h["bias"] > 0 else "below"
        lines.append(
            f"held out: {h['n']} rows, on average {abs(100 * h['bias']):.2g} % {side} the prediction, root mean square {100 * h['rms']:.2g} %{inside}"
        )
    s = report["seconds"]
    lines.append(f"CPU time: fit {s['fit']:.2f} s, bootstrap {s['bootstrap']:.2f} s")
    return "\n".join(lines)


def printed(options) -> str:
    """What `fit --law` prints: the report as JSON or as text."""
    report = answer(options)
    if options.json:
        return json.dumps(finite(report), indent=1, allow_nan=False)
    return text(report)
