"""The ledger: what the papers claim, what we found, and the verdict.

Each paper has data/claims/PAPER.yaml. One page calls `check(id, value, interval, evidence)`;
the tolerance stands in the ledger, with its reason. Nothing here decides whether a
claim is interesting, only whether the number agrees.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from functools import cache

import yaml

from .numbers import scientific, show
from .paths import data_file, record, root

REPRODUCED = "reproduced"
DISCREPANT = "discrepant"
UNDECIDED = "undecided"
UNDERSPECIFIED = "underspecified in the paper"
BEYOND = "beyond our compute"
NOT_RUN = "not run"
VERDICTS = (REPRODUCED, DISCREPANT, UNDECIDED, UNDERSPECIFIED, BEYOND, NOT_RUN)
EVIDENCE = (
    "analytic",
    "simulated",
    "published data refitted",
    "published numbers",
    "digitised",
    "retrained here",
    "real model",
)
REQUIRED = ("id", "locator", "statement", "published", "estimand", "evidence", "expected")
RULES = ("abs", "rel", "range", "holds", "direction")
DIRECTIONS = {"positive": 1, "negative": -1}
WITHOUT_SAMPLING = ("analytic", "published numbers")
"""Evidence with no sampling error: there a direction may be decided by a number without an interval."""

OWN = ("simulated", "retrained here", "real model")
"""Evidence that draws at random, the last from a model that we did not train: its numbers have intervals."""


class LedgerError(Exception):
    """A ledger file or a check is malformed. One line that names the claim."""


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger.

    published: a number, or true for a qualitative claim. published_interval: [low, high] or None.
    tolerance: one of {abs: t}, {rel: t}, {range: [low, high]}, {holds: true}, {direction: positive | negative},
    with `why`. A direction is a claim about a sign ("A beats B", "grows with"): it is reproduced where the whole
    interval of the difference or slope lies on the claimed side of zero, discrepant where it lies on the
    other, undecided where it contains zero.
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

    @property
    def direction(self) -> int:
        """The claimed sign, 1 or -1; 0 where the claim is of another kind."""
        return DIRECTIONS.get(str(self.tolerance.get("direction")), 0)

    def verdict(
        self, value: float | bool, interval: tuple[float, float] | None, evidence: str | None = None
    ) -> str:
        """Reproduced, discrepant or undecided by the interval: on the claimed side, or within what is tolerated.

        A number of other evidence than `OWN` goes by its value: the interval beside it is what is compared, or is
        not that of a sample.
        """
        if self.direction:
            low, high = sorted(self.direction * end for end in interval or (value, value))
            return REPRODUCED if low > 0 else DISCREPANT if high < 0 else UNDECIDED
        rule = next(k for k in RULES if k in self.tolerance)
        bound = self.tolerance[rule]
        if rule == "holds":
            return REPRODUCED if bool(value) is True else DISCREPANT
        if rule != "range":
            by = bound if rule == "abs" else bound * abs(self.published)
            bound = (self.published - by, self.published + by)
            interval = interval if evidence in OWN else None
        low, high = sorted(interval or (value, value))
        if bound[0] <= low and high <= bound[1]:
            return REPRODUCED
        return DISCREPANT if high < bound[0] or low > bound[1] else UNDECIDED

    @property
    def rule(self) -> str:
        """The tolerance in words."""
        kind = next(k for k in RULES if k in self.tolerance)
        bound = self.tolerance[kind]
        return {
            "abs": f"± {show(float(bound))}" if kind == "abs" else "",
            "rel": f"± {100 * bound:g} %" if kind == "rel" else "",
            "range": f"the whole interval within {' to '.join(show(float(b)) for b in bound)}" if kind == "range" else "",
            "holds": "must hold",
            "direction": f"the whole interval {'above' if bound == 'positive' else 'below'} zero",
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
    stored: str = ""
    origin: dict | None = field(default=None, repr=False)

    def to_record(self) -> dict:
        """What the build keeps."""
        return {
            "id": self.claim.id,
            "value": self.value,
            "interval": self.interval,
            "evidence": self.evidence,
            "verdict": self.verdict,
            "note": self.note,
        } | ({"stored": self.origin} if self.origin else {})

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/html": self._repr_html_(), "text/plain": f"{self.claim.id}: {self.verdict}"}
        return bundle, {"scalinglaws": {"claim": self.claim.id}}

    def _repr_html_(self) -> str:
        c = self.claim
        kind = self.verdict.split()[0]
        rows = [
            ("Claim", c.statement),
            ("Paper", f"{c.paper}, {c.locator}: {published(c)}"),
            ("Ours", ours(c, self.value, self.interval) + (f" ({self.evidence})" if self.evidence else "")),
            ("Tolerance", f"{c.rule}: {c.tolerance.get('why', '')}"),
            ("Decades of compute", gap(c)),
        ]
        if self.note or c.because:
            rows.append(("Note", self.note or str(c.because)))
        if self.stored:
            rows.append(("Stored", self.stored))
        body = "".join(f"<dt>{k}</dt><dd>{html.escape(str(v))}</dd>" for k, v in rows)
        numbers = ""
        if not isinstance(c.published, bool) and not c.direction:
            numbers = f" · {show(c.published)} → {show(self.value, self.interval, short=True)}"
        elif self.value is not None and not isinstance(self.value, bool):
            numbers = f" · {ours(c, self.value, self.interval)}"
        numbers += " · stored" if self.stored else ""
        return (
            f'<details class="claim claim-{kind}" id="claim-{html.escape(c.id, quote=True)}"><summary>'
            f'<span class="verdict">{html.escape(self.verdict)}</span> {html.escape(c.statement)}'
            f'<span class="claim-numbers">{html.escape(numbers)}</span></summary>'
            f"<dl>{body}</dl></details>"
        )


def gap(claim: Claim) -> str:
    """The compute between the paper's largest run and ours, in words."""
    text = gap_text(claim.decades)
    if claim.paper_flops is None:
        return text
    if claim.our_flops is None:
        return f"nothing trained here (the paper: {scientific(claim.paper_flops)} FLOP)"
    return f"{text} ({scientific(claim.paper_flops)} against {scientific(claim.our_flops)} FLOP)"


def gap_text(decades: float | None) -> str:
    """Decades of compute between two studies, short."""
    if decades is None:
        return "no training compared"
    return "0, the same runs" if abs(decades) < 0.05 else f"{decades:.1f}"


def published(claim: Claim) -> str:
    """What the paper says: its number with interval, or the direction it claims."""
    if claim.direction:
        return "positive" if claim.direction > 0 else "negative"
    return show(claim.published, claim.published_interval, claim.unit)


def ours(claim: Claim, value, interval) -> str:
    """What we found; for a direction the difference, with its sign and interval."""
    if not claim.direction or value is None:
        return show(value, interval, claim.unit)
    text = show(value, interval, claim.unit)
    return f"+{text}" if value > 0 else text


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
    if tolerance.get("direction", "positive") not in DIRECTIONS:
        raise LedgerError(f"{where}: direction must be one of {', '.join(DIRECTIONS)}")
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
            published_interval=(float(interval[0]), float(interval[1])) if interval else None,
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
    value: a number, or a bool for a claim that holds or does not. interval: (low, high); an end that is NaN, as with
    too few runs to have one, leaves the claim undecided.
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
    if claim.direction and interval is None and evidence not in WITHOUT_SAMPLING:
        raise LedgerError(f"claim {id}: a direction is decided by an interval; give one")
    if interval is None and evidence in OWN:
        raise LedgerError(
            f"claim {id}: what was {evidence} varies from one time to the next; give an interval"
        )
    value = bool(value) if "holds" in claim.tolerance else float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise LedgerError(f"claim {id}: the computed value is {value}")
    bounds = (float(interval[0]), float(interval[1])) if interval is not None else None
    if bounds and any(map(math.isnan, bounds)):
        verdict, bounds, note = claim.unsettled or UNDECIDED, None, note or "too few runs for an interval"
    else:
        verdict = claim.unsettled or claim.verdict(value, bounds, evidence)
    return _recorded(Result(claim, value, bounds, evidence, verdict, note))


def not_run(id: str, reason: str) -> Result:
    """Record that a claim could not be tested here, and why (data missing)."""
    return _recorded(Result(_claim(id), None, None, None, NOT_RUN, reason))


def replayed(found: dict, origin: dict) -> Result:
    """Record and return a stored result of a claim: `found` as recorded, and where it comes from."""
    return _recorded(from_record(found | {"stored": origin}))


def from_record(found: dict) -> Result:
    """A result as it was recorded."""
    interval, origin = found["interval"], found.get("stored")
    known = (
        found["value"],
        tuple(interval) if interval else None,
        found["evidence"],
        found["verdict"],
        found["note"],
    )
    return Result(_claim(found["id"]), *known, came_from(origin) if origin else "", origin)


def came_from(origin: dict) -> str:
    """Where a stored result comes from, in words; origin: its date, and its data sets with their SHA-256."""
    names = " and ".join(f"{d} (sha256 {sha[:12]}…)" for d, sha in origin["datasets"].items())
    return f"from the run of {origin['date'][:10]} with {names}"


def _claim(id: str) -> Claim:
    try:
        return ledger()[id]
    except KeyError:
        raise LedgerError(f"no claim {id!r} in data/claims") from None


def _recorded(result: Result) -> Result:
    record("claims", result.to_record())
    return result
