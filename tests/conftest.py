"""Shared fixtures, and a last word on what was not run."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from scalinglaws import datasets
from scalinglaws.fit import simulate
from scalinglaws.laws import Chinchilla

# The same examples in every CI run; new ones each time on a developer's machine.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("default", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REASON = "no Chromium found (Debian: apt-get install chromium)"


def pytest_configure(config):
    """The one marker of our own."""
    config.addinivalue_line("markers", "long: whole studies, kill trials, browser, Slurm; run with ALL=1")


def pytest_collection_modifyitems(config, items):
    """Leave the long tests out of `make test`, which sets SCALINGLAWS_SHORT; `make test ALL=1` runs everything.

    Files with the most long tests go first, so that no worker is left with a long one at the end.
    """
    weight = Counter(i.path for i in items if i.get_closest_marker("long"))
    items.sort(key=lambda i: -weight[i.path])
    if os.environ.get("SCALINGLAWS_SHORT"):
        config.hook.pytest_deselected(items=[i for i in items if i.get_closest_marker("long")])
        items[:] = [i for i in items if not i.get_closest_marker("long")]


def pytest_terminal_summary(terminalreporter):
    """What was left out or skipped is named at the end, so that nobody takes it for passed."""
    if os.environ.get("SCALINGLAWS_SHORT"):
        terminalreporter.section("left out: long tests (whole studies, kill trials, browser, Slurm)", sep="=")
        terminalreporter.write_line("`make test ALL=1` runs them too, and asks for coverage")
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"NOT RUN: {len(skipped)} tests", sep="!", red=True, bold=True)
        reasons: dict[str, list[str]] = {}
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            reasons.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
        for reason, tests in reasons.items():
            terminalreporter.write_line(f"{len(tests)} not run: {reason}", red=True)
            for name in sorted({t.split("::")[0] for t in tests}):
                terminalreporter.write_line(f"    {name}")


@pytest.fixture(scope="session")
def epoch():
    """The 240 digitised runs, or a skip where the data cannot be had."""
    return _needed("epoch").query("kept240")


def _needed(name):
    try:
        return datasets.load(name)
    except datasets.DataMissing as error:
        if os.environ.get("SCALINGLAWS_REQUIRE_DATA"):
            raise
        pytest.skip(f"dataset missing (set SCALINGLAWS_MIRROR or run make data): {str(error).split(':')[0]}")


@pytest.fixture(scope="session")
def contained_here():
    """A machine that contains programs of unknown origin, or a skip."""
    from scalinglaws.resampling import sandbox

    try:
        sandbox.check()
    except sandbox.NoSandbox as error:
        if os.environ.get("SCALINGLAWS_REQUIRE_SANDBOX"):
            raise
        pytest.skip(f"no sandbox: {error}")


@pytest.fixture(scope="session")
def browser():
    """Chromium, or a skip."""
    if CHROMIUM is None:
        if os.environ.get("SCALINGLAWS_REQUIRE_BROWSER"):
            pytest.fail(REASON)
        pytest.skip(REASON)
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as p:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync"]  # fmt: skip
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def needed():
    """Load a table or skip."""
    return _needed


@pytest.fixture(scope="session")
def surface_law():
    """A law with unequal exponents, unlike the published ones."""
    return Chinchilla(E=1.7, A=300.0, B=900.0, alpha=0.31, beta=0.36)


@pytest.fixture(scope="session")
def noiseless(surface_law):
    """IsoFLOP runs without noise on that law."""
    sizes = np.geomspace(5e7, 2e10, 40)
    return simulate.isoflop_runs(surface_law, sizes)


@pytest.fixture(scope="session")
def noisy(noiseless):
    """The same runs with 1 % noise: (N, D, loss)."""
    loss = simulate.with_noise(noiseless, 0.01, np.random.default_rng(7))
    return noiseless.N, noiseless.D, loss


@pytest.fixture(scope="session")
def loaded():
    """A dataset's table by name; a test whose data are missing is named as not run."""

    def load(name):
        try:
            return datasets.load(name)
        except datasets.DataMissing:
            if os.environ.get("SCALINGLAWS_REQUIRE_DATA"):
                raise
            pytest.skip("dataset missing (set SCALINGLAWS_MIRROR or run make data)")

    return load
