"""What `scalinglaws fit` answers: one object, from which the text and the JSON are both made."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np

from .. import fit as fitting
from ..fit import approaches, checks, diagnose
from ..fit.columns import Reading
from . import UserError

SURFACES = ("surface", "varpro")


def answer(reading: Reading, options, method: str) -> tuple[dict, object]:
    """Fit one table by one method, resample, diagnose. Returns the report and the `Fit`."""
    runs, where = reading.runs, reading.where
    if options.holdout:
        left = fitting.held_out(runs, options.holdout)
        runs, out = runs[~left], runs[left]
        where = Reading(runs, reading.table).where
    started = time.process_time()
    _, said = fitting.clusters(runs, where)
    checks.enough(runs, method, where)
    if options.bootstrap:
        fitting.check_resamples(len(runs), options.bootstrap)
    extra = (
        {"delta": options.delta or 1e-3, "asymmetric": options.asymmetric or 1.0}
        if method == "surface"
        else {}
    )
    fit = fitting.fit(runs, method, where=where, **extra)
    if not np.isfinite([fit.objective, *fit.params.values()]).all():
        raise ValueError(f"{method} found no finite law for these runs; look for outliers and wrong units")
    seconds = {"fit": time.process_time() - started, "bootstrap": 0.0}
    boot = None
    if options.bootstrap:
        started = time.process_time()
        boot = fitting.bootstrap(fit, options.bootstrap, options.seed)
        seconds["bootstrap"] = time.process_time() - started
    verdict = diagnose.after(fit, runs, boot, options.level)
    report = {
        "method": method,
        "params": fit.params,
        "interval": _intervals(fit, boot, options.level) if verdict.split else {},
        "level": options.level,
        "objective": fit.objective,
        "status": fit.status,
        "n": fit.n,
        "runs": fit.units,
        "read": [*reading.said, *([said] if said else [])],
        "undetermined": list(verdict.reasons),
        "determined": verdict.determined,
        "allocation": None,
        "predictions": [],
        "next": [],
        "holdout": None,
        "warnings": list(reading.warnings) + diagnose.before(runs, fit.units, method) + list(fit.warnings),
        "seconds": seconds,
    }
    report["warnings"] += _after(fit, boot, runs, where)
    if options.holdout:
        report["holdout"] = asdict(fitting.score(fit, out, boot=boot, level=options.level))
    for N, D in options.predict:
        at = fitting.predict(fit, N, D, boot=boot, level=options.level)
        report["predictions"].append(asdict(at))
        report["warnings"] += _outside(runs, N, D, verdict)
    if options.budget:
        _allocate(report, fit, boot, runs, options, verdict)
    if options.next and not verdict.split:
        report["warnings"].append(
            "--next: the runs do not determine the law that the next runs would be planned with"
        )
    elif options.next:
        k, _, _ = approaches.flops_per_parameter_token(runs)
        goal = options.budget or float(diagnose.compute(runs).max())
        report["next"] = [asdict(r) for r in fitting.next_runs(fit, runs, options.next, goal, k=k)]
    return report, fit


def _intervals(fit, boot, level):
    if boot is None:
        return {}
    ends = {name: boot.interval(name, level, "expanded") for name in fit.params}
    return {name: list(v) for name, v in ends.items() if np.isfinite(v).all()}


def _after(fit, boot, runs, where):
    """Warnings that need the fit: bounds, outliers, failed resamples."""
    out = []
    if fit.bound_hit:
        names = fit.status.removeprefix("bound: ")
        out.append(
            f"parameter at its bound ({names}): the runs do not determine it, and its interval means little"
        )
    if not fit.converged:
        out.append("the optimiser did not converge; check the runs for outliers")
    k, low, high = approaches.flops_per_parameter_token(runs)
    if fit.method in SURFACES and high / low > 1.1:
        out.append(f"C/(N·D) varies from {low:.3g} to {high:.3g}; budgets use its median, {k:.3g}")
    if fit.residuals is not None:
        miss = np.abs(fit.residuals)
        worst = int(np.argmax(miss))
        if miss[worst] > max(0.01, 20 * np.median(miss)):
            out.append(
                f"{where(worst)} misses the law by {100 * np.expm1(miss[worst]):.0f} %, far more than the others: "
                "check its N, D and loss (exchanged columns? another unit?)"
            )
    if boot is not None and boot.failed > 0.01:
        out.append(
            f"{100 * boot.failed:.1f} % of the resamples could not be fitted and are left out of the intervals"
        )
    return out


def _outside(runs, N, D, verdict):
    far = [
        f"{name} = {value:.3g} is {max(value / runs[name].max(), runs[name].min() / value):.2g} times outside the runs"
        for name, value in (("N", N), ("D", D))
        if not runs[name].min() / 1.0001 <= value <= runs[name].max() * 1.0001
    ]
    if not verdict.split:
        far.append("the runs determine the loss only where they lie")
    return [f"prediction at N = {N:.3g}, D = {D:.3g}: {'; '.join(far)}"] if far else []


def _allocate(report, fit, boot, runs, options, verdict):
    """The optimal N and D at the budget, or why there is none."""
    C, budget = diagnose.compute(runs), options.budget
    decades = np.log10(budget / C.max())
    if decades > 0.005:
        report["warnings"].append(
            f"extrapolation: the budget is {decades:.1f} decades beyond the largest run ({C.max():.3g} FLOPs)"
        )
    elif budget < C.min() * 0.99:
        report["warnings"].append(
            f"extrapolation: the budget is {np.log10(C.min() / budget):.1f} decades below the smallest run"
        )
    if not verdict.split:
        return
    if fit.bound_hit and not C.min() * 0.99 <= budget <= C.max() * 1.01:
        report["undetermined"].append(
            "E at its bound: an allocation outside the range of the runs rests on it"
        )
        return
    k = {"k": approaches.flops_per_parameter_token(runs)[0]} if fit.method in SURFACES else {}
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            at = fit.law.optimum(np.float64(budget), **k)
        except OverflowError:
            at = None
    if at is None or not (np.isfinite([at.N, at.D]).all() and at.N >= 1 and at.D >= 1):
        report["undetermined"].append(
            f"at {budget:.3g} FLOPs the law has no optimum that could be trained (N or D below 1, or not finite)"
        )
        return
    found: dict = {
        "C": float(budget),
        "N": float(at.N),
        "D": float(at.D),
        "tokens_per_parameter": float(at.D / at.N),
        "loss": None if np.isnan(at.loss) else float(at.loss),
    }
    if boot is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            ends = boot.optimum_interval(budget, options.level, kind="expanded", **k)
        if (
            not np.isfinite([*ends["N"], *ends["D"]]).all()
            or ends["N"][1] / ends["N"][0] > diagnose.WIDEST**2
        ):
            report["undetermined"].append(
                f"at {budget:.3g} FLOPs N_opt lies anywhere from {ends['N'][0]:.2g} to {ends['N'][1]:.2g} parameters"
            )
            return
        found["interval"] = {name: list(v) for name, v in ends.items()}
        if found["loss"] is not None:
            there = fitting.predict(fit, found["N"], found["D"], boot=boot, level=options.level)
            found["interval"]["loss"] = list(there.interval)  # type: ignore[arg-type]  # with a bootstrap there is one
    report["allocation"] = found


def side_by_side(reading: Reading, curves: Reading, options) -> dict:
    """Every method on the same table, as Table 2 of Hoffmann et al. (2022); a method that refuses says why.

    `curves` is what envelope sees, where the training curves stand apart.
    """
    found = {}
    for method in approaches.OF_THE_PAPER:
        try:
            found[method], _ = answer(curves if method == "envelope" else reading, options, method)
        except (ValueError, np.linalg.LinAlgError, OverflowError) as error:
            found[method] = {"method": method, "refused": str(error)}
    fitted = {m: r for m, r in found.items() if "refused" not in r}
    if not fitted:
        raise ValueError("no method can fit these runs: " + next(iter(found.values()))["refused"])
    shown = {m: tuple(r["interval"]["a"]) for m, r in fitted.items() if "a" in r["interval"]}
    return {"methods": found, "agreement": fitting.agreement(shown)}


def by_group(reading: Reading, options) -> dict:
    """One fit a value of the column `options.by`."""
    found = {}
    values = reading.runs[options.by].astype(str).str.strip()
    names = list(dict.fromkeys(values))
    if len(names) > 50:
        raise UserError(
            f"{options.runs}: column {options.by!r} has {len(names)} values; --by takes up to 50 groups"
        )
    for name in names:
        part = Reading(
            reading.runs[(values == name).to_numpy()], reading.table, reading.said, reading.warnings
        )
        try:
            found[name], _ = answer(part, options, options.method)
        except (ValueError, np.linalg.LinAlgError, OverflowError) as error:
            found[name] = {"method": options.method, "refused": str(error)}
    if all("refused" in r for r in found.values()):
        raise ValueError(
            f"no group of column {options.by!r} can be fitted: " + next(iter(found.values()))["refused"]
        )
    shown = {m: tuple(r["interval"]["a"]) for m, r in found.items() if "a" in r.get("interval", {})}
    return {
        "by": options.by,
        "groups": found,
        "agreement": fitting.agreement(shown).replace("methods", "groups"),
    }
