"""The report of `scalinglaws fit` for people: how it was read, what to beware of, then the numbers."""

from __future__ import annotations

from ..fit.approaches import OF_THE_PAPER

_UNITS = {"E": "nats/token", "A": "", "B": "", "N0": "parameters at C0", "D0": "tokens at C0"}
_LABELS = {"alpha": "α", "beta": "β"}
LAW = {True: "L = E + A/N^α + B/D^β", False: "N_opt = N0·(C/C0)^a,  D_opt = D0·(C/C0)^b"}


def one(report: dict, resamples: int) -> str:
    """A single fit."""
    lines = [f"read: {'; '.join(report['read'])}"] if report["read"] else []
    lines += [f"warning: {w}" for w in report["warnings"]]
    law = LAW["E" in report["params"]]
    rows = f"{report['n']} rows" + (f" of {report['runs']} runs" if report["runs"] != report["n"] else "")
    lines.append(f"{law}   ({report['method']}, {rows}, {report['status']})")
    if report["undetermined"]:
        lines += [f"not determined: {reason}" for reason in report["undetermined"]]
    if report["determined"]:
        lines.append(f"determined: {report['determined']}")
        lines.append("one of the laws that fit:")
    level = f"{100 * report['level']:g} %"
    for name, value in report["params"].items():
        text = f"  {_LABELS.get(name, name):<3}= {value:<12.6g}"
        if name in report["interval"]:
            low, high = report["interval"][name]
            text += f"{level}: {low:.6g} to {high:.6g}"
        lines.append(f"{text}  {_UNITS.get(name, '')}".rstrip())
    lines.append(f"  objective {report['objective']:.6g}")
    lines += _allocation(report["allocation"], level)
    for p in report["predictions"]:
        text = f"predicted at N = {p['N']:.4g}, D = {p['D']:.4g}: loss {p['loss']:.4g} nats/token"
        if p["interval"]:
            text += f", {level}: {p['interval'][0]:.4g} to {p['interval'][1]:.4g} for a run, {p['mean'][0]:.4g} to {p['mean'][1]:.4g} for the law"
        lines.append(text)
    if h := report["holdout"]:
        ratio = (
            f", {h['rms'] / h['noise']:.1f} times the noise of the fitted runs ({100 * h['noise']:.2g} %)"
            if h["noise"] > 0
            else ""
        )
        lines.append(
            f"held out: {h['n']} runs; they came out {abs(100 * h['bias']):.2g} % {'worse' if h['bias'] > 0 else 'better'} than predicted "
            f"on average, root mean square {100 * h['rms']:.2g} %{ratio}"
            + (
                ""
                if h["inside"] is None
                else f"; {100 * h['inside']:.0f} % lie in their {level} prediction interval"
            )
        )
    for number, r in enumerate(report["next"], 1):
        lines.append(
            f"next run {number}: N = {r['N']:.3g}, D = {r['D']:.3g} ({r['C']:.2g} FLOPs): interval of N_opt then "
            f"{100 * r['narrows_to']:.0f} % of its width (log scale)"
        )
    s = report["seconds"]
    lines.append(f"CPU time: fit {s['fit']:.3f} s, bootstrap {s['bootstrap']:.3f} s ({resamples} resamples)")
    return "\n".join(lines)


def _allocation(at, level):
    if not at:
        return []
    lines = [
        f"optimal at {at['C']:.4g} FLOPs: N = {at['N']:.4g} parameters, D = {at['D']:.4g} tokens, "
        f"{at['tokens_per_parameter']:.1f} tokens a parameter"
        + (f", loss {at['loss']:.4g} nats/token" if at["loss"] is not None else "")
    ]
    if "interval" in at:
        (n0, n1), (d0, d1) = at["interval"]["N"], at["interval"]["D"]
        text = f"  {level}: N {n0:.4g} to {n1:.4g}, D {d0:.4g} to {d1:.4g}"
        if "loss" in at["interval"]:
            text += ", loss of a run there {:.4g} to {:.4g}".format(*at["interval"]["loss"])
        lines.append(text)
    return lines


def several(reports: dict, agreement: str, head: str) -> str:
    """Fits side by side: exponents with their intervals, and the optimum if a budget was given."""
    fitted = [r for r in reports.values() if "refused" not in r]
    lines = [f"read: {'; '.join(fitted[0]['read'])}"] if fitted and fitted[0]["read"] else []
    seen: dict = {}
    for name, r in reports.items():
        for w in r.get("warnings", []):
            seen.setdefault(w, []).append(name)
    for w, names in seen.items():
        lines.append("warning: " + ("" if len(names) == len(fitted) else f"{', '.join(names)}: ") + w)
    width = max(len(head), *(len(OF_THE_PAPER.get(n, n)) for n in reports))
    lines.append(f"{head:<{width}}  {'runs':>5}  {'a (N_opt ∝ C^a)':<26}  {'b (D_opt ∝ C^b)':<26}  optimum")
    for name, r in reports.items():
        label = f"{OF_THE_PAPER.get(name, name):<{width}}"
        if "refused" in r:
            lines.append(f"{label}  {'':>5}  {r['refused']}")
            continue
        if r["undetermined"] and not r["allocation"] and not r["interval"]:
            lines.append(f"{label}  {r['runs']:>5}  not determined: {r['undetermined'][0]}")
            continue
        cells = []
        for x in ("a", "b"):
            text = f"{r['params'][x]:.3f}"
            if x in r["interval"]:
                text += " ({:.3f} to {:.3f})".format(*r["interval"][x])
            cells.append(f"{text:<26}")
        at = r["allocation"]
        last = f"N = {at['N']:.3g}, D = {at['D']:.3g}" if at else "; ".join(r["undetermined"])
        lines.append(f"{label}  {r['runs']:>5}  {cells[0]}  {cells[1]}  {last}".rstrip())
    if agreement:
        lines.append(agreement)
    return "\n".join(lines)
