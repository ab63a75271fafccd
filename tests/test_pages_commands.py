"""Every command that the README and the pages show is run, in a checkout of its own.

What would take hours or a network is run dry, with models of a kilobyte in the place of those it names. A command
that no rule below covers fails: a page shows nothing that nobody has tried.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest

from scalinglaws import datasets
from scalinglaws.fit import simulate
from scalinglaws.laws import Chinchilla
from scalinglaws.paths import root
from test_abilities import rungs
from test_repeated import made
from test_testtime_open import tiny  # noqa: F401

PAGES = ("README.md", "CONTRIBUTING.md", *(f"book/{p.name}" for p in sorted((root() / "book").glob("*.md"))))
ELSEWHERE = r"module load miniconda3|conda env create -f environment\.yml( && conda activate scaling-laws)?|conda activate scaling-laws"
"""What only a cluster or conda can run: nothing but these."""
EXPANDED = r"make (book|test|freeze|bench|lint|model)\b"
"""Targets that continuous integration runs whole; here they are only expanded."""
SERVERS = {r"make serve": "http://127.0.0.1:8000/", r"\S*jupyter lab": "http://127.0.0.1:8977/lab?token=x"}
LONG = r"scalinglaws (study (isoflop|testtime|resampling|smollm2\w*)|testtime|resample)\b"
"""Commands that train or sample for hours: run with --dry-run."""
MODELS = (
    "meta-llama/Llama-3.2-1B-Instruct",
    "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data",
    "bigcode/starcoder2-3b",
    "my-model",
)


def commands() -> list[str]:
    """The commands of all console blocks, without their comments."""
    found = []
    for page in PAGES:
        text = (root() / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            found += [
                re.split(r"\s{2,}#", line[2:])[0].strip()
                for line in block.splitlines()
                if line.startswith("$ ")
            ]
    return sorted(set(re.sub(r"\s+", " ", c) for c in found))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny):  # noqa: F811
    """What a reader has after cloning, with tables and models under the names that the pages use."""
    base = tmp_path_factory.mktemp("clone") / "book"
    left = shutil.ignore_patterns(
        "_build", ".git", ".venv", "__pycache__", "*.egg-info", ".pytest_cache", "chapters"
    )
    shutil.copytree(root(), base, ignore=left, symlinks=True)
    (base / ".venv").symlink_to(sys.prefix)
    law = Chinchilla(E=1.7, A=400.0, B=400.0, alpha=0.34, beta=0.28)
    runs = simulate.isoflop_runs(law, np.geomspace(2e7, 2e9, 20))
    loss = simulate.with_noise(runs, 0.002, np.random.default_rng(0))
    table = pd.DataFrame({"N": runs.N, "D": runs.D, "loss": loss, "C": 6 * runs.N * runs.D})
    table.assign(data=np.where(np.arange(len(table)) % 2, "web", "books")).to_csv(
        base / "runs.csv", index=False
    )
    made(noise=0.005).to_csv(base / "repeated.csv", index=False)
    D = np.geomspace(1e8, 1e11, 60)
    curves = [pd.DataFrame({"N": N, "D": D, "loss": law.predict(N, D)}) for N in np.geomspace(1e7, 1e9, 8)]
    pd.concat(curves).to_csv(base / "curves.csv", index=False)
    task = rungs(0.003).query("not target").drop(columns=["target", "task"])
    task.to_csv(base / "task.csv", index=False)
    named = {"loss": "hellaswag_bpb", "accuracy": "hellaswag", "run": "name"}
    task.rename(columns=named).to_csv(base / "tasks.csv", index=False)
    (base / "my_study.yaml").write_text(
        "question: mine?\ndefaults: {corpus: known_entropy, context: 8, batch: 2, evaluation_tokens: 80}\n"
        "profiles:\n  cpu:\n    - {shape: 1x4x1, tokens: 1e3, learning_rate: 0.01}\n"
    )
    for name in MODELS:
        shutil.copytree(tiny, base / name)
        config = json.loads((base / name / "config.json").read_text())
        (base / name / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    return base


def environment(base):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COV") and k != "SCALINGLAWS_ROOT"}
    return kept | {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(base / "src"),
        "PATH": f"{base / '.venv' / 'bin'}:{os.environ['PATH']}",
        "JUPYTER_DATA_DIR": str(base / "jupyter"),
        "HF_HUB_OFFLINE": "1",
        "SCALINGLAWS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def serves(base, command, address) -> None:
    """The server answers within a minute; then it is ended with all that it started."""
    process = subprocess.Popen(
        command, shell=True, cwd=base, env=environment(base), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    assert answer.status == 200
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert process.poll() is None, "the server ended"
                time.sleep(0.2)
        pytest.fail(f"{command} did not answer at {address}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="pages show commands of a Unix shell")
@pytest.mark.parametrize("command", [c for c in commands() if not re.fullmatch(ELSEWHERE, c)])
def test_a_command_on_a_page_works(checkout, command):
    for pattern, address in SERVERS.items():
        if re.match(pattern, command):
            (checkout / "_build" / "html").mkdir(parents=True, exist_ok=True)
            options = (
                " --no-browser --port=8977 --IdentityProvider.token=x --allow-root"
                if "jupyter" in command
                else ""
            )
            return serves(checkout, command + options, address)
    if re.match(EXPANDED, command):
        command = command.replace("make ", "make -n ", 1)
    elif re.search(r"\bpip install\b", command) or (re.search(LONG, command) and "--dry-run" not in command):
        command += " --dry-run"
    found = subprocess.run(
        command,
        shell=True,
        cwd=checkout,
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=300,
    )
    if (
        found.returncode == 2
        and "in neither mirror nor cache" in found.stderr
        and not os.environ.get("SCALINGLAWS_REQUIRE_DATA")
    ):
        pytest.skip("dataset missing (set SCALINGLAWS_MIRROR or run make data)")
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.strip()
    return None


def test_the_pages_show_commands_and_name_what_exists():
    found = commands()
    assert len(found) >= 30
    text = "".join((root() / page).read_text(encoding="utf-8") for page in PAGES)
    makefile = (root() / "Makefile").read_text()
    for target in {t for t in re.findall(r"(?:`|\$ )make ([a-z-]+)", text)}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target} is shown and does not exist"
    for command in found:
        known = rf"{ELSEWHERE}|(make|\S*python -m scalinglaws|\S*jupyter lab|(\S*python -m )?pip install)\b.*"
        assert re.fullmatch(known, command), f"no rule for {command!r}"


def test_the_readme_names_every_chapter():
    toc = (root() / "_toc.yml").read_text()
    readme = (root() / "README.md").read_text().lower()
    for name in re.findall(r"chapters/(\w+)", toc):
        assert name.replace("_", " ").replace("test time compute", "test-time compute") in readme


def test_a_dataset_on_a_page_is_in_the_registry():
    text = "".join((root() / page).read_text(encoding="utf-8") for page in PAGES)
    for name in re.findall(r"DATASET=(\w+)", text):
        assert name in (*datasets.registry.names(), "name")
