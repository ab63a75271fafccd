"""The page on fitting one's own runs: its example runs as it stands, and so does every command on it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scalinglaws import __main__ as cli
from test_abilities import rungs
from test_repeated import made

PAGE = (Path(__file__).parents[1] / "book" / "fit.md").read_text()
COMMANDS = re.findall(r"^\$ \.venv/bin/python -m scalinglaws (.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The names the example leaves behind, and the folder it ran in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        names = {}
        exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), names)
        runs = made(noise=0.005)
        runs.to_csv("repeated.csv", index=False)
        task = rungs(0.003).query("not target").drop(columns=["target", "task"])
        task.to_csv("task.csv", index=False)
        task.rename(columns={"loss": "hellaswag_bpb", "accuracy": "hellaswag", "run": "name"}).to_csv("tasks.csv", index=False)
        yield names | {"folder": Path.cwd()}


def test_the_example_finds_the_law_it_simulated(example):
    low, high = example["boot"].interval("a", 0.95, "expanded")
    assert low < example["law"].a < high
    low, high = example["at"].interval
    assert low < example["law"].predict(7e9, 1.4e11) < high
    assert example["verdict"].split
    assert (example["folder"] / "law.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_runs(example, command, monkeypatch, capsys):
    monkeypatch.chdir(example["folder"])
    assert cli.main([*shlex.split(command, comments=True), "--bootstrap", "40"]) == 0
    out, err = capsys.readouterr()
    assert (bool(out), err) == (True, "")


def test_the_page_has_commands():
    assert len(COMMANDS) >= 8
