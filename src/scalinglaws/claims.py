"""The ledger: what the papers claim, what we found, and the verdict.

Each paper has data/claims/PAPER.yaml. A chapter calls `check(id, value, interval, evidence)`;
the tolerance stands in the ledger, with its reason. Nothing here decides whether a
claim is interesting, only whether the number agrees.
"""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass, field
from functools import cache

import yaml

from .paths import data_file, record, root

REPRODUCED = "reproduced"
DISCREPANT = "discrepant"
UNDERSPECIFIED = "underspecified in the paper"
BEYOND = "beyond our compute"
NOT_RUN = "not run"
VERDICTS = (REPRODUCED, DISCREPANT, UNDERSPECIFIED, BEYOND, NOT_RUN)
EVIDENCE = (
    "analytic",
    "simulated",
    "published data refitted",
    "published numbers",
    "digitised",
    "retrained here",
)
REQUIRED = ("id", "locator", "statement", "published", "estimand", "evidence", "expected", "chapter")
RULES = ("abs", "rel", "range", "holds")


class LedgerError(Exception):
    """A ledger file or a check is malformed. One line that names the claim."""


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger.

    published: a number, or true for a qualitative claim. published_interval: [low, high] or None.
    tolerance: one of {abs: t}, {rel: t}, {range: [low, high]}, {holds: true}, with `why`.
    unsettled: a verdict the comparison cannot overrule (underspecified, beyond our compute),
    with `because`. scale: the paper's FLOPs and ours, where training is compared.
    """

    id: str
    paper: str
    locator: str
    statement: str
    published: float | bool
    estimand: str
    evidence: tuple[str, ...]
    expected: str
    chapter: str
    tolerance: dict
    published_interval: tuple[float, float] | None = None
    unsettled: str | None = None
    because: str | None = None
    paper_flops: float | None = None
    our_flops: float | None = None
    unit: str = ""

    @property
    def decades(self) -> float | None:
        """log10 of the paper's compute over ours; None where no training is compared."""
        if self.paper_flops and self.our_flops:
            return math.log10(self.paper_flops / self.our_flops)
        return None

    def agrees(self, value: float | bool) -> bool:
        """Whether `value` is within the tolerance of the published value."""
        rule = next(k for k in RULES if k in self.tolerance)
        bound = self.tolerance[rule]
        if rule == "holds":
            return bool(value) is True
        if rule == "range":
            return bound[0] <= value <= bound[1]
        return abs(value - self.published) <= (bound if rule == "abs" else bound * abs(self.published))

    @property
    def rule(self) -> str:
        """The tolerance in words."""
        kind = next(k for k in RULES if k in self.tolerance)
        bound = self.tolerance[kind]
        return {
            "abs": f"± {bound}",
            "rel": f"± {100 * bound:g} %" if kind == "rel" else "",
            "range": f"within {bound}",
            "holds": "must hold",
        }[kind]


@dataclass(frozen=True)
class Result:
    """The outcome of a check: value, interval, evidence and verdict, displayed where it was made."""

    claim: Claim = field(repr=False)
    value: float | bool | None
    interval: tuple[float, float] | None
    evidence: str | None
    verdict: str
    note: str = ""

    def to_record(self) -> dict:
        """What the build keeps."""
        return {
            "id": self.claim.id,
            "value": self.value,
            "interval": self.interval,
            "evidence": self.evidence,
            "verdict": self.verdict,
            "note": self.note,
        }

    def _repr_html_(self) -> str:
        c = self.claim
        kind = self.verdict.split()[0]
        rows = [
            ("Claim", c.statement),
            ("Paper", f"{c.paper}, {c.locator}: {show(c.published, c.published_interval, c.unit)}"),
            (
                "Ours",
                show(self.value, self.interval, c.unit) + (f" ({self.evidence})" if self.evidence else ""),
            ),
            ("Tolerance", f"{c.rule}: {c.tolerance.get('why', '')}"),
            ("Decades of compute", gap(c)),
        ]
        if self.note or c.because:
            rows.append(("Note", self.note or c.because))
        body = "".join(f"<dt>{k}</dt><dd>{html.escape(str(v))}</dd>" for k, v in rows)
        numbers = "" if isinstance(c.published, bool) else f" · {show(c.published)} → {show(self.value)}"
        return (
            f'<details class="claim claim-{kind}" id="claim-{c.id}"><summary><span class="verdict">{self.verdict}'
            f'</span> {html.escape(c.statement)}<span class="claim-numbers">{numbers}</span></summary>'
            f"<dl>{body}</dl></details>"
        )


def gap(claim: Claim) -> str:
    """The compute between the paper's largest run and ours, in words."""
    text = gap_text(claim.decades)
    if claim.decades is None:
        return (
            text
            if claim.paper_flops is None
            else f"nothing trained here (the paper: {claim.paper_flops:.3g} FLOP)"
        )
    return f"{text} ({claim.paper_flops:.3g} against {claim.our_flops:.3g} FLOP)"


def gap_text(decades: float | None) -> str:
    """Decades of compute between two studies, short."""
    if decades is None:
        return "no training compared"
    return "0, the same runs" if abs(decades) < 0.05 else f"{decades:.1f}"


def show(value, interval=None, unit: str = "") -> str:
    """A value to six significant digits, with its interval to four."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "holds" if value else "does not hold"
    text = f"{value:.6g}"
    if interval:
        text += f" ({interval[0]:.4g} to {interval[1]:.4g})"
    return f"{text} {unit}".strip()


@cache
def ledger() -> dict[str, Claim]:
    """Every claim by id, in the order of the files. Raises LedgerError for a malformed one."""
    claims: dict[str, Claim] = {}
    for name in sorted(p.name for p in (root() / "data" / "claims").glob("*.yaml")):
        try:
            document = yaml.safe_load(data_file("claims", name).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise LedgerError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
        for entry in document["claims"]:
            claim = _parse(name, document, entry)
            if claim.id in claims:
                raise LedgerError(f"{name}: claim {claim.id} appears twice")
            claims[claim.id] = claim
    return claims


def papers() -> dict[str, dict]:
    """Title, citation key and link of every paper in the ledger, by its short name."""
    found = {}
    for path in sorted((root() / "data" / "claims").glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[document["paper"]] = {k: document[k] for k in ("paper", "title", "cite", "link")}
    return found


def _parse(name, document, entry) -> Claim:
    where = f"{name}: claim {entry.get('id', '(no id)')}"
    missing = [k for k in REQUIRED if k not in entry]
    if missing:
        raise LedgerError(f"{where} lacks {', '.join(missing)}")
    tolerance = _numbers(entry.get("tolerance", {}))
    if sum(k in tolerance for k in RULES) != 1 or not tolerance.get("why"):
        raise LedgerError(f"{where} needs a tolerance with exactly one of {', '.join(RULES)}, and why")
    for verdict in filter(None, (entry["expected"], entry.get("unsettled"))):
        if verdict not in VERDICTS:
            raise LedgerError(f"{where}: {verdict!r} is not a verdict ({', '.join(VERDICTS)})")
    if unknown := [e for e in entry["evidence"] if e not in EVIDENCE]:
        raise LedgerError(f"{where}: {unknown[0]!r} is not an evidence kind ({', '.join(EVIDENCE)})")
    if entry.get("unsettled") and not entry.get("because"):
        raise LedgerError(f"{where}: an unsettled claim needs because")
    scale = entry.get("scale", {})
    fields = {k: v for k, v in entry.items() if k not in ("scale", "evidence", "published_interval")}
    fields |= {"tolerance": tolerance, "published": _number(entry["published"])}
    interval = entry.get("published_interval")
    try:
        return Claim(
            **fields,
            paper=document["paper"],
            evidence=tuple(entry["evidence"]),
            published_interval=tuple(map(float, interval)) if interval else None,
            paper_flops=float(scale["paper"]) if scale else None,
            our_flops=float(scale["ours"]) if scale and scale["ours"] else None,
        )
    except TypeError as error:
        raise LedgerError(f"{where}: {error}") from None


def _number(value):
    """YAML reads 4.41e24 as text (it wants 4.41e+24); booleans stay."""
    return value if isinstance(value, bool) else float(value)


def _numbers(tolerance: dict) -> dict:
    convert = {"abs": _number, "rel": _number, "range": lambda ends: [_number(e) for e in ends]}
    return {k: convert.get(k, lambda v: v)(v) for k, v in tolerance.items()}


def check(id: str, value, interval=None, evidence: str | None = None, note: str = "") -> Result:
    """Compare a computed value with the ledger and record the verdict.

    value None, for a claim with an unsettled verdict only: nothing was computed here.
    value: a number, or a bool for a claim that holds or does not. interval: (low, high).
    evidence: one of the kinds the ledger allows for this claim (default: the only one).
    Raises LedgerError for an unknown id, a NaN, or evidence the claim does not list.
    """
    claim = _claim(id)
    if value is None:
        if not claim.unsettled:
            raise LedgerError(f"claim {id}: a value is needed, its verdict is not settled in the ledger")
        return _recorded(Result(claim, None, None, None, claim.unsettled, note))
    if evidence is None and len(claim.evidence) == 1:
        evidence = claim.evidence[0]
    if evidence not in claim.evidence:
        raise LedgerError(
            f"claim {id}: evidence must be one of {', '.join(claim.evidence)}, got {evidence!r}"
        )
    value = bool(value) if "holds" in claim.tolerance else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise LedgerError(f"claim {id}: the computed value is {value}")
    verdict = claim.unsettled or (REPRODUCED if claim.agrees(value) else DISCREPANT)
    bounds = (float(interval[0]), float(interval[1])) if interval is not None else None
    return _recorded(Result(claim, value, bounds, evidence, verdict, note))


def not_run(id: str, reason: str) -> Result:
    """Record that a claim could not be tested here, and why (data missing)."""
    return _recorded(Result(_claim(id), None, None, None, NOT_RUN, reason))


def _claim(id: str) -> Claim:
    try:
        return ledger()[id]
    except KeyError:
        raise LedgerError(f"no claim {id!r} in data/claims") from None


def _recorded(result: Result) -> Result:
    record("claims", result.to_record())
    return result


def compare(
    records: dict[str, list[dict]], allow_not_run: bool = True, other_runs: bool = False
) -> tuple[list[str], list[str]]:
    """Hold the recorded verdicts of chapters against the ledger.

    records: chapter → its recorded checks. Returns (errors, notes): an error for a verdict
    other than `expected`, a claim its chapter never checked, or checked twice; "not run" is a
    note, or an error unless `allow_not_run`. With `other_runs` a changed verdict on models
    trained here is a note: the ledger's were reached on other runs.
    """
    errors, notes = [], []
    for claim in ledger().values():
        if claim.chapter not in records:
            errors.append(
                f"{claim.id}: no chapter {claim.chapter!r} was built (there are {', '.join(records)})"
            )
            continue
        found = [r for r in records[claim.chapter] if r["id"] == claim.id]
        if len(found) != 1:
            how = "never checked" if not found else f"checked {len(found)} times"
            errors.append(f"{claim.id}: {how} in chapter {claim.chapter}")
        elif found[0]["verdict"] == NOT_RUN and claim.expected != NOT_RUN:
            (notes if allow_not_run else errors).append(f"{claim.id}: not run ({found[0]['note']})")
        elif found[0]["verdict"] != claim.expected:
            free = other_runs and "retrained here" in claim.evidence
            (notes if free else errors).append(
                f"{claim.id}: verdict {found[0]['verdict']!r} where the ledger expects {claim.expected!r} "
                f"(ours {show(found[0]['value'], found[0]['interval'])}, published {show(claim.published)}); "
                "explain it in the chapter and change `expected` in the same commit"
            )
    return errors, notes


def rows(records: dict[str, list[dict]]) -> list[dict]:
    """The scorecard: every claim with its result, for the chapters in `records`."""
    results = {r["id"]: r for checks in records.values() for r in checks}
    out = []
    for claim in ledger().values():
        r = results.get(
            claim.id, {"value": None, "interval": None, "evidence": None, "verdict": NOT_RUN, "note": ""}
        )
        out.append({**asdict(claim), "decades": claim.decades, **r})
    return out
