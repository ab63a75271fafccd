"""Commands killed and interrupted at random moments: nothing lost, nothing stale, no orphan, no half site.

`SCALINGLAWS_KILLS=20 pytest tests/test_kills.py` tries twenty moments of each; the suite tries a few.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from scalinglaws.paths import root
from scalinglaws.store import read_table
from test_sweep_faults import STUDY as ENDURE
from test_testtime_study import TINY

TRIALS = int(os.environ.get("SCALINGLAWS_KILLS", 2))
NOT_RESULTS = ["seconds", "code", "commit", "date", "processor", "gpu", "torch"]
RESAMPLING = {
    "question": "tiny?",
    "made_by": "scalinglaws.resampling.pipeline",
    "tables": ["counts", "programs"],
    "profiles": {
        "smoke": {
            "tasks": {"seen": {1: 3}, "unseen": {2: 2}, "deep": {3: 2}, "held out": {2: 1}},
            "training": {"depths": [0.7, 0.3], "examples": 4096},
            "samples": 30,
            "temperature": 0.8,
            "seeds": [0, 1],
            "shown": ["a"],
            "models": {
                name: {"shape": [1, width, 1], "examples": 4096, "learning_rate": 0.01, "batch": 64}
                for name, width in (("a", 16), ("b", 24))
            },
        }
    },
}
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="orphans are looked for in /proc"),
]


def begin(base: Path, *arguments: str) -> subprocess.Popen:
    """The command in a session of its own, where Ctrl-C works even if this one runs in the background."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "SCALINGLAWS"))}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "scalinglaws", *arguments],
        env=kept | {"SCALINGLAWS_ROOT": str(base), "OMP_NUM_THREADS": "1", "SCALINGLAWS_OFFLINE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=base,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def finish(base: Path, *arguments: str) -> float:
    """Run the command to its end; seconds it took."""
    started = time.monotonic()
    out, error = (process := begin(base, *arguments)).communicate(timeout=300)
    assert process.returncode == 0, out + error
    return time.monotonic() - started


def of(base: Path) -> list[str]:
    """The processes that belong to this base, by their environment."""
    found, mark = [], f"SCALINGLAWS_ROOT={base}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, UnicodeDecodeError):
            continue
    return found


def disturb(
    how: str, base: Path, after: float, *arguments: str, whole_group: bool, ready=lambda: True
) -> None:
    """Start the command and end it `after` seconds later, or when `ready`, unless it is faster; then nothing of it
    may be running."""
    process = begin(base, *arguments)
    last = time.monotonic() + 300
    try:
        _, error = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        while process.poll() is None and not ready():
            assert time.monotonic() < last, "nothing was finished in five minutes"
            time.sleep(0.02)
        number = signal.SIGKILL if how == "kill -9" else signal.SIGINT
        if whole_group or how == "Ctrl-C":  # a terminal interrupts all that it started
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, error = process.communicate(timeout=60)
    if how == "Ctrl-C" and process.returncode:
        # before the command has begun Python itself is interrupted, and says so
        assert process.returncode in (130, -signal.SIGINT), error
        if process.returncode == 130:
            assert "Traceback" not in error, error
            last = error.strip().splitlines()[-1]
            assert "interrupted; " in last
            assert "the same command goes on" in last
    deadline = time.monotonic() + 10
    while (left := of(base)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, f"{how} left {left}"


# ---- studies ------------------------------------------------------------------------------------------


def study_house(folder: Path, room: str, plan: str) -> Path:
    """A root that holds nothing but a small plan."""
    path = folder / "data" / "studies" / f"{'endure' if room == 'runs' else room}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(plan)
    shutil.copy(root() / "data" / "registry.toml", folder / "data")
    return folder


def finished(base: Path) -> dict[Path, int]:
    """Artefacts and runs that are finished, and when each was written; packed tables are not among them."""
    found = [
        p for end in ("pickle", "parquet") for p in base.rglob(f"*.{end}") if p.parent.parent != base / "data"
    ]
    return {p: p.stat().st_mtime_ns for p in found}


STUDIES = {
    "runs": ("runs", ENDURE, ("study", "endure", "--workers", "2")),
    "testtime": ("testtime", TINY, ("study", "testtime", "--profile", "smoke", "--workers", "2")),
    "resample": (
        "resampling",
        yaml.safe_dump(RESAMPLING),
        ("study", "resampling", "--profile", "smoke", "--workers", "2"),
    ),
}


def packed_tables(base: Path, room: str) -> dict[str, pd.DataFrame]:
    found = {p.name: read_table(p) for p in sorted((base / "data" / room).glob("*.parquet"))}
    return {name: t.drop(columns=[c for c in NOT_RESULTS if c in t]) for name, t in found.items()}


@pytest.fixture(scope="module", params=STUDIES)
def undisturbed(request, tmp_path_factory):
    """(room, plan, command, seconds, tables) of a study that nothing disturbed."""
    room, plan, command = STUDIES[request.param]
    base = study_house(tmp_path_factory.mktemp(request.param), room, plan)
    took = finish(base, *command)
    tables = packed_tables(base, room)
    assert len(tables) >= (1 if room == "runs" else 3)
    return room, plan, command, took, tables


@pytest.mark.parametrize("how", ["kill -9", "Ctrl-C"])
def test_a_study_survives_random_moments(undisturbed, tmp_path, how):
    room, plan, command, took, tables = undisturbed
    base, rng = study_house(tmp_path, room, plan), random.Random(how)
    done: dict[Path, int] = {}
    for trial in range(TRIALS):
        # the last moment comes when something is finished, however slow the machine has become meanwhile
        ready = (lambda: finished(base)) if trial == TRIALS - 1 else (lambda: True)
        moment = rng.uniform(0.2, 0.9) * took
        disturb(how, base, moment, *command, whole_group=bool(trial % 2), ready=ready)
        now = finished(base)
        assert done.items() <= now.items()  # nothing finished is lost or made again
        done = now
    assert done
    finish(base, *command)
    now = packed_tables(base, room)
    assert now.keys() == tables.keys()
    for name, table in tables.items():
        pd.testing.assert_frame_equal(now[name], table)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    assert not list(base.rglob("*.part"))


# ---- the book -----------------------------------------------------------------------------------------

CHAPTER = """\
---
kernelspec: {name: python3, display_name: Python 3, language: python}
jupytext: {text_representation: {extension: .md, format_name: myst}}
---
# Small

```{code-cell} ipython3
:tags: [parameters]
x = 0  # a parameter
```

```{code-cell} ipython3
%load_ext scalinglaws.notebook
import time
from scalinglaws import claims, provenance
from scalinglaws.notebook import glue
time.sleep(1)
print(f"value {VALUE}")
claims.check("p.x", VALUE)
```

```{code-cell} ipython3
provenance.stamp()
```
"""
CLAIM = """\
paper: P (2000)
title: T
cite: kaplan2020
link: https://example.org
claims:
  - {id: p.x, locator: T1, statement: s, published: 100, estimand: x, evidence: [analytic], tolerance: {abs: 1000, why: w}, expected: reproduced}
"""


def write_chapter(base: Path, value: int) -> None:
    (base / "notebooks" / "small.md").write_text(CHAPTER.replace("VALUE", str(value)))


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A checkout with one small chapter and the scorecard, built once; and the seconds that a build takes."""
    base = tmp_path_factory.mktemp("book")
    for folder in ("notebooks/profiles", "data/claims", "book"):
        (base / folder).mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "book/_ext", "book/_static"):
        shutil.copytree(root() / folder, base / folder, ignore=ignored)
    for name in ("_config.yml", "book/references.bib", "book/scorecard.md", "book/bibliography.md"):
        shutil.copy(root() / name, base / name)
    (base / "data" / "registry.toml").write_text("")
    (base / "data" / "claims" / "p.yaml").write_text(CLAIM)
    (base / "requirements.lock").write_text("")
    for profile in ("smoke", "cpu", "gpu"):
        (base / "notebooks" / "profiles" / f"{profile}.yaml").write_text("small: {x: 1}\n")
    (base / "book" / "index.md").write_text("# Index\n\n{cite:t}`kaplan2020`\n")
    (base / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/chapters/small\n"
        "- file: book/scorecard\n- file: book/bibliography\n"
    )
    write_chapter(base, 1)
    finish(base, "book")
    write_chapter(base, 2)
    return base, finish(base, "book")


def site_of(base: Path) -> tuple[set[str], str, str]:
    """The files of the site, and the value that chapter and scorecard show."""
    site = base / "_build" / "html"
    files = {str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()}
    chapter = re.search(r">value (\d+)", (site / "book/chapters/small.html").read_text())[1]
    card = re.sub(r"<[^>]+>", " ", (site / "book/scorecard.html").read_text())
    return files, chapter, re.search(r"\b100 +→ +(\d+)|\b100\s+(\d+)\b", card)[0].split()[-1]


def layout(base: Path) -> set[str]:
    inside = [p for p in (base / "_build").rglob("*") if "html" not in p.relative_to(base / "_build").parts]
    return {str(p.relative_to(base)) for p in inside}


@pytest.mark.parametrize("how", ["kill -9", "Ctrl-C"])
def test_a_build_survives_random_moments(book, how):
    """Readers see a whole site of one run all along, the old one or the new; then the build goes on as if nothing was."""
    base, took = book
    rng, expected = random.Random(how), layout(base)
    files, *_ = site_of(base)
    value = 10 if how == "kill -9" else 50
    shown = {site_of(base)[1]}
    for trial in range(TRIALS):
        write_chapter(base, value := value + 1)
        shown.add(str(value))
        disturb(how, base, rng.uniform(0.05, 1.0) * took, "book", whole_group=bool(trial % 2))
        now, chapter, card = site_of(base)
        assert now == files
        assert chapter == card
        assert chapter in shown
    finish(base, "book")
    assert site_of(base) == (files, str(value), str(value))
    assert layout(base) == expected
