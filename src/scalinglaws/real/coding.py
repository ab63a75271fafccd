"""Programs by a real model for HumanEval+ and MBPP+, judged in the sandbox: `scalinglaws resample` as a study."""

from __future__ import annotations

import json
from functools import partial

import pandas as pd

from ..resampling import codemodels, coders, evalplus, sandbox
from ..store import read_table
from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """A job a set of tasks, resumable task by task. sizes: model, tokens, and sets: name → samples a task and limit."""
    own = Programs(sizes, artefacts)
    return [Job(f"programs {name}", partial(own.counts, name)) for name in sizes["sets"]]


class Programs:
    """The study at one profile."""

    def __init__(self, sizes: dict, artefacts: ArtefactStore):
        self.sizes, self.artefacts = sizes, artefacts

    def settings(self, name: str) -> codemodels.Settings:
        """What names a set's run."""
        samples, tokens = self.sizes["sets"][name]["samples"], self.sizes["tokens"]
        return codemodels.Settings(self.sizes["model"], name, samples, tokens=tokens)

    def counts(self, name: str) -> pd.DataFrame:
        """A row a task, as `codemodels.tally` counts; with commit, date and processor of each."""
        about = {"set": name, **self.sizes["sets"][name]} | {k: self.sizes[k] for k in ("model", "tokens")}
        folder = self.artefacts.folder / "runs" / name

        def make() -> pd.DataFrame:
            sandbox.check()
            tasks = evalplus.load(name, self.sizes["sets"][name].get("limit"))
            model = self.sizes["model"]
            run = codemodels.Run(self.settings(name), codemodels.sizes(model), folder)
            counts = run.work(tasks, lambda: coders.Own(model, batch=64), 1)
            pieces = [
                json.loads(p.read_text(encoding="utf-8")) for p in sorted((folder / "tasks").glob("*.json"))
            ]
            facts = {p["row"]["task"]: p["provenance"] for p in pieces if "row" in p}
            told = [facts[task] for task in counts["task"]]
            made = {k: [f[k] for f in told] for k in ("commit", "date")}
            return counts.assign(**made, processor=[f["hardware"]["processor"] for f in told])

        found = self.artefacts.table("counts", about, make)
        self.artefacts.table("programs", about, lambda: read_table(folder / "programs.parquet"))
        return found
