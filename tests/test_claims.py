"""The ledger: parsing, verdicts, and what makes a build fail."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest
import yaml

from scalinglaws import claims, paths, scorecard

GOOD = {
    "id": "p.x", "locator": "Table 1", "statement": "x is two", "published": 2.0, "estimand": "x", "evidence": ["analytic"],
    "tolerance": {"abs": 0.1, "why": "because"}, "expected": "reproduced",
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Write a ledger of claims and use it."""

    def write(*entries):
        folder = tmp_path / "data" / "claims"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "registry.toml").write_text("")
        document = {"paper": "P (2000)", "title": "T", "cite": "p", "link": "l", "claims": list(entries)}
        (folder / "p.yaml").write_text(yaml.safe_dump(document))
        monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
        claims.ledger.cache_clear()
        return tmp_path

    yield write
    claims.ledger.cache_clear()


@pytest.mark.parametrize(
    ("tolerance", "inside", "outside"),
    [
        ({"abs": 0.1}, (1.901, 2.099), (1.89, 2.11)),
        ({"rel": 0.1}, (1.801, 2.199), (1.79, 2.21)),
        ({"range": [1, 3]}, (1, 3), (0.99, 3.01)),
    ],
)
def test_tolerances_decide(ledger, tolerance, inside, outside):
    ledger(GOOD | {"tolerance": tolerance | {"why": "w"}})
    for value in inside:
        assert claims.check("p.x", value).verdict == "reproduced"
    for value in outside:
        assert claims.check("p.x", value).verdict == "discrepant"


def test_qualitative_claims_hold_or_not(ledger):
    ledger(GOOD | {"published": True, "tolerance": {"holds": True, "why": "w"}})
    assert claims.check("p.x", True).verdict == "reproduced"
    assert claims.check("p.x", False).verdict == "discrepant"


def test_unsettled_claims_are_not_overruled(ledger):
    ledger(GOOD | {"unsettled": "beyond our compute", "because": "too big"})
    assert claims.check("p.x", 2.0).verdict == "beyond our compute"
    nothing = claims.check("p.x", None)
    assert (nothing.verdict, nothing.value, nothing.evidence) == ("beyond our compute", None, None)


def test_a_settled_claim_needs_a_value(ledger):
    ledger(GOOD)
    with pytest.raises(claims.LedgerError, match="a value is needed"):
        claims.check("p.x", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": {"abs": 1}}, "tolerance with exactly one of"),
        ({"tolerance": {"abs": 1, "rel": 1, "why": "w"}}, "tolerance with exactly one of"),
        ({"expected": "maybe"}, "'maybe' is not a verdict"),
        ({"evidence": ["hearsay"]}, "'hearsay' is not an evidence kind"),
        ({"unsettled": "beyond our compute"}, "needs because"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_malformed_claims_are_named(ledger, change, message):
    ledger(GOOD | change)
    with pytest.raises(claims.LedgerError, match=rf"p\.yaml: claim p\.x.*{message}"):
        claims.ledger()


def test_missing_fields_duplicates_and_bad_yaml(ledger):
    ledger({k: v for k, v in GOOD.items() if k != "estimand"})
    with pytest.raises(claims.LedgerError, match="lacks estimand"):
        claims.ledger()
    folder = ledger(GOOD, GOOD)
    with pytest.raises(claims.LedgerError, match="appears twice"):
        claims.ledger()
    (folder / "data" / "claims" / "p.yaml").write_text("claims: {a: b: c}")
    claims.ledger.cache_clear()
    with pytest.raises(claims.LedgerError, match=r"p\.yaml: not YAML"):
        claims.ledger()


def test_numbers_in_scientific_notation_are_numbers(ledger):
    ledger(
        GOOD
        | {
            "published": "4.41e24",
            "tolerance": {"rel": "1e-2", "why": "w"},
            "scale": {"paper": "5.76e23", "ours": "1e20"},
        }
    )
    claim = claims.ledger()["p.x"]
    assert claim.published == 4.41e24
    assert claim.decades == pytest.approx(3.76, abs=0.01)
    assert "3.8" in claims.gap(claim)


def test_check_refuses_nonsense(ledger):
    ledger(GOOD | {"evidence": ["analytic", "simulated"]})
    with pytest.raises(claims.LedgerError, match=r"no claim .p\.y."):
        claims.check("p.y", 1)
    with pytest.raises(claims.LedgerError, match="evidence must be one of analytic, simulated"):
        claims.check("p.x", 1)
    with pytest.raises(claims.LedgerError, match="value is nan"):
        claims.check("p.x", float("nan"), evidence="analytic")


def test_checks_are_recorded_and_compared(ledger, tmp_path, monkeypatch):
    ledger(GOOD, GOOD | {"id": "p.y"}, GOOD | {"id": "p.z"})
    monkeypatch.setenv("SCALINGLAWS_RECORD", str(tmp_path))
    claims.check("p.x", 2.05, (1.9, 2.2))
    records = [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
    assert records == [
        {
            "id": "p.x",
            "value": 2.05,
            "interval": [1.9, 2.2],
            "evidence": "analytic",
            "verdict": "reproduced",
            "note": "",
        }
    ]
    errors, _ = scorecard.compare({"c": records})
    other = "p.z: never checked"
    assert errors == ["p.y: never checked", other]
    claims.not_run("p.y", "data missing: epoch")
    records = [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
    assert scorecard.compare({"c": records}) == ([other], ["p.y: not run (data missing: epoch)"])
    strict, notes = scorecard.compare({"c": records}, allow_not_run=False)
    assert (strict[0], notes) == ("p.y: not run (data missing: epoch)", [])
    claims.check("p.y", 9)
    errors, _ = scorecard.compare(
        {"c": [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]}
    )
    assert errors[0] == "p.y: checked 2 times (c)"


def test_a_changed_verdict_is_an_error_that_says_what_to_do(ledger):
    ledger(GOOD)
    errors, _ = scorecard.compare({"c": [claims.check("p.x", 3.0).to_record()]})
    assert len(errors) == 1
    assert "'discrepant' where the ledger expects 'reproduced'" in errors[0]
    assert "change `expected` in the same commit" in errors[0]


def test_other_runs_may_reach_other_verdicts_where_models_were_trained(ledger):
    """On another study of our own only what does not hang on it must stay."""
    ledger(GOOD, GOOD | {"id": "p.y", "evidence": ["retrained here"]})
    records = {"c": [claims.check(id, 3.0, (2.9, 3.1)).to_record() for id in ("p.x", "p.y")]}
    errors, notes = scorecard.compare(records, other_runs=True)
    assert [e.split(":")[0] for e in errors] == ["p.x"]
    assert [n.split(":")[0] for n in notes] == ["p.y"]


def test_a_result_displays_what_a_reader_needs(ledger):
    ledger(GOOD | {"statement": "x < y & z"})
    text = claims.check("p.x", 2.05, (1.9, 2.2), note="see above")._repr_html_()
    for part in (
        'id="claim-p.x"',
        "x &lt; y &amp; z",
        "2.05 (1.90 to 2.20)",
        "± 0.1: because",
        "Table 1: 2",
        "see above",
        "reproduced",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("direction", "interval", "verdict"),
    [
        ("positive", (0.1, 0.4), "reproduced"),
        ("positive", (-0.1, 0.4), "undecided"),
        ("positive", (0.0, 0.4), "undecided"),
        ("positive", (-0.4, -0.1), "discrepant"),
        ("positive", (-float("inf"), float("inf")), "undecided"),
        ("negative", (-0.4, -0.1), "reproduced"),
        ("negative", (-0.4, 0.1), "undecided"),
        ("negative", (0.1, 0.4), "discrepant"),
    ],
)
def test_a_direction_is_decided_by_its_interval(ledger, direction, interval, verdict):
    claim = {"tolerance": {"direction": direction, "why": "w"}, "published": True, "evidence": ["simulated"]}
    ledger(GOOD | claim)
    middle = np.nan_to_num(sum(interval) / 2)
    found = claims.check("p.x", middle, interval)
    assert found.verdict == verdict
    assert "True" not in found._repr_html_()
    unknown = claims.check("p.x", 0.2, (float("nan"), 1.0))
    assert (unknown.verdict, unknown.interval, unknown.note) == (
        "undecided",
        None,
        "too few runs for an interval",
    )
    with pytest.raises(claims.LedgerError, match="decided by an interval"):
        claims.check("p.x", 0.2)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1.1, 2.9), "reproduced"),
        ((0.5, 2.9), "undecided"),
        ((1.1, 3.5), "undecided"),
        ((0.5, 3.5), "undecided"),
        ((3.1, 3.5), "discrepant"),
        ((0.1, 0.5), "discrepant"),
    ],
)
def test_a_range_is_decided_by_the_interval_where_there_is_one(ledger, interval, verdict):
    ledger(GOOD | {"tolerance": {"range": [1, 3], "why": "w"}})
    assert claims.check("p.x", sum(interval) / 2, interval).verdict == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1.95, 2.05), "reproduced"),
        ((1.95, 2.2), "undecided"),
        ((1.5, 2.5), "undecided"),
        ((2.11, 2.3), "discrepant"),
    ],
)
@pytest.mark.parametrize("tolerance", [{"abs": 0.1}, {"rel": 0.05}])
def test_a_number_of_our_own_runs_is_decided_by_its_interval(ledger, tolerance, interval, verdict):
    claim = {"tolerance": tolerance | {"why": "w"}, "evidence": ["simulated", "digitised"]}
    ledger(GOOD | claim)
    middle = sum(interval) / 2
    assert claims.check("p.x", middle, interval, "simulated").verdict == verdict
    by_value = "reproduced" if abs(middle - 2) <= 0.1 else "discrepant"
    assert claims.check("p.x", middle, interval, "digitised").verdict == by_value


@pytest.mark.parametrize("kind", ["simulated", "retrained here"])
def test_what_varies_from_one_time_to_the_next_needs_an_interval(ledger, kind):
    ledger(GOOD | {"evidence": [kind]})
    with pytest.raises(claims.LedgerError, match="give an interval"):
        claims.check("p.x", 2.0)
    assert claims.check("p.x", 2.0, (1.9, 2.1)).verdict == "reproduced"
    ledger(GOOD | {"evidence": [kind], "published": True, "tolerance": {"holds": True, "why": "w"}})
    claims.ledger.cache_clear()
    with pytest.raises(claims.LedgerError, match="give an interval"):
        claims.check("p.x", True)
    assert claims.check("p.x", True, (1.9, 2.1)).interval == (1.9, 2.1)


def test_no_direction_of_the_books_ledger_is_a_threshold():
    claims.ledger.cache_clear()
    for claim in claims.ledger().values():
        bounds = claim.tolerance.get("range", [])
        assert 0.002 not in map(abs, bounds), claim.id


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (7.31904e10, (5.754e10, 9.857e10), "73 B (58 B to 99 B)"),
        (5.76e23, None, "5.760×10²³"),
        (0.5142, (0.4974, 0.5268), "0.514 (0.497 to 0.527)"),
        (-0.2, (-0.31, -0.09), "−0.20 (−0.31 to −0.09)"),
        (3e-7, None, "3.000×10⁻⁷"),
        (240.0, None, "240"),
        (0.0, (0.0, 0.0), "0 (0 to 0)"),
    ],
)
def test_numbers_are_shown_as_people_write_them(value, interval, text):
    assert claims.show(value, interval) == text


def test_nothing_from_the_ledger_is_taken_for_html(ledger):
    ledger(GOOD | {"unit": "<img onerror=x>", "statement": "<b>", "locator": "<i>", "estimand": "<u>"})
    assert "<img" not in claims.check("p.x", 2.05)._repr_html_()
    assert "<b>" not in claims.check("p.x", 2.05)._repr_html_()


def test_scorecard_rows_join_claims_and_results(ledger):
    ledger(GOOD, GOOD | {"id": "p.y"})
    rows = scorecard.rows({"c": [claims.check("p.x", 2.0).to_record()]})
    assert [(r["id"], r["verdict"]) for r in rows] == [("p.x", "reproduced"), ("p.y", "not run")]


def test_the_books_own_ledger():
    claims.ledger.cache_clear()
    everything = claims.ledger()
    assert len(everything) >= 40
    per_paper = Counter(c.paper for c in everything.values())
    assert set(per_paper) == {p["paper"] for p in claims.papers().values()}
    assert all(
        re.search(r"\(20[12]\d\)$", paper) for paper in per_paper
    )
    source = "".join(p.read_text() for p in (paths.root() / "notebooks").rglob("*.md"))
    for claim in everything.values():  # each is tested by exactly one line of one page
        assert source.count(f'"{claim.id}"') == 1, claim.id
    bib = (paths.root() / "book" / "references.bib").read_text()
    assert all(f"{{{p['cite']}," in bib for p in claims.papers().values())


def test_a_digest_of_code_changes_with_everything_below_it(tmp_path):
    import shutil
    import subprocess
    import sys

    from scalinglaws.paths import root

    shutil.copytree(
        root() / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    command = [
        sys.executable,
        "-c",
        "from scalinglaws.provenance import code_digest as d; print(d('lm.train'), d('testtime.study'))",
    ]

    def digests():
        found = subprocess.run(
            command,
            env={"PYTHONPATH": str(tmp_path / "src"), "SCALINGLAWS_ROOT": str(root())},
            capture_output=True,
            text=True,
            check=True,
        )
        return found.stdout.split()

    before = digests()
    changes = {
        "lm/model.py": (True, True),
        "testtime/search.py": (False, True),
        "plots/kaplan.py": (False, False),
    }
    for name, changed in changes.items():
        path = tmp_path / "src" / "scalinglaws" / name
        text = path.read_text()
        path.write_text(text + "\n# changed\n")
        assert tuple(a != b for a, b in zip(before, digests(), strict=True)) == changed, name
        path.write_text(text)


def test_every_claim_has_a_place_that_can_be_looked_up():
    claims.ledger.cache_clear()
    for claim in claims.ledger().values():
        assert claim.locator.lower() not in ("main text", "text", "paper", "the paper"), claim.id
