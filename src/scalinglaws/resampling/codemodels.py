"""Open code models under resampling: samples of HumanEval+ or MBPP+ from one model, judged, counted, kept.

Every task is one file, written whole when its samples are judged, so that a run can be killed at any
moment and goes on with the same call. What a task draws depends on the seed and its name alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from ..lm.store import write_whole
from ..provenance import passport
from ..testtime import open_load
from . import evalplus, sandbox
from .coders import Coder, asked
from .estimators import (
    best_budget,
    budget_interval,
    ceiling,
    false_discovery,
    false_positive,
    pass_at,
    task_bootstrap,
)
from .evalplus import Parsed, Task, Unsound, passed
from .sandbox import Limits, Outcome, Sandbox
from .tasks import VISIBLE

SHOWN = 3
"""Programs of each kind that are kept of a task, to be read."""
RESAMPLES = 1000
"""Bootstrap resamples of the summary's intervals."""
REFERENCE = Limits(seconds=20, wall=120, output=2**26)
"""What a reference solution may take."""


class RunError(Exception):
    """A folder that holds another run, or one that is being worked on. One line, with the remedy."""


def spelt(task: Task, prompt: Callable[[str], str] | None) -> str:
    """What a model is given: the question as `prompt` puts it, or what a base model continues."""
    return prompt(evalplus.question(task)) if prompt else evalplus.opening(task)


def check_room(name: str, tasks: Sequence[Task], tokens: int, completion: bool) -> None:
    """Raise open_load.ModelError where the model cannot read a task and `tokens` of an answer."""

    def texts(tokenizer) -> list[str]:
        chat = tokenizer.chat_template is not None and not completion
        return [spelt(t, (lambda q: asked(tokenizer, q)) if chat else None) for t in tasks]

    open_load.check_room(name, texts, tokens, "--max-tokens")


def sizes(name: str) -> dict:
    """N (parameters outside embeddings and the output layer), N_total and revision; no weights are loaded.

    Raises open_load.ModelError.
    """
    import torch

    model = open_load.skeleton(name)
    aside = [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]
    if (head := model.get_output_embeddings()) is not None:
        aside.append(head)
    outside = {id(p): p.numel() for m in aside for p in m.parameters()}  # tied ones once
    total = sum(p.numel() for p in model.parameters())
    revision = getattr(model.config, "_commit_hash", None) or "local"
    return {"N": total - sum(outside.values()), "N_total": total, "revision": revision}


@dataclass(frozen=True)
class Settings:
    """What names a run: model, set of tasks, temperature, seed, tokens and processor seconds a program.

    samples a task do not: more can be drawn later. temperature: 0 is greedy, one sample a task. completion: the prompt
    is continued even by a model that has a chat format.
    """

    model: str
    tasks: str
    samples: int
    temperature: float = 0.8
    seed: int = 0
    tokens: int = 512
    timeout: float = 5.0
    completion: bool = False


# ---- one task ---------------------------------------------------------------------------------------------


def judge(task: Task, written: Sequence[Parsed | None], limits: Limits, workers: int) -> dict[str, Outcome]:
    """What each distinct program (by key) does on all tests of the task, base and plus."""
    distinct = {p.key: p for p in reversed(written) if p is not None}
    one = lambda p: lambda box: box.run(p.code, task.entry, list(task.tests), limits)
    found = sandbox.run_all(map(one, distinct.values()), min(workers, max(1, len(distinct))))
    return dict(zip(distinct, found, strict=True))


def limits_of(task: Task, seconds: float) -> Limits:
    """`seconds` of processor time and four times what the reference solution took; on the wall four times that."""
    most = seconds + 4 * task.seconds
    answers = sum(map(len, task.expected))
    return Limits(seconds=most, wall=4 * most + 10, output=2**20 + 16 * answers + 128 * len(task.tests))


def tally(
    task: Task, written: Sequence[Parsed | None], outcomes: dict[str, Outcome]
) -> tuple[dict, list[dict]]:
    """Counts of one task's samples, and a few of its programs, as `study.tally` counts the small world's.

    n samples, of which `broken` do not compile or define no such function; c pass all base and plus tests; b_m the
    first m base tests (all, if there are fewer), b all of them; `timeouts`; `refused`: met another wall of the
    sandbox. majority: whether the most frequent behaviour on all tests is right (ties share; what never returns
    has no vote); most_m: the same for the behaviour of the sample that passes most of m base tests. Sums over
    samples of syntax nodes in the function: right_operations, false_operations and false_m_operations (passes the
    base tests, or m of them, and is wrong).
    """
    times: dict[str, int] = {}
    known: dict[str, Parsed] = {}
    for p in written:
        if p is not None:
            known.setdefault(p.key, p)
            times[p.key] = times.get(p.key, 0) + 1
    keys = [k for k in known if outcomes[k].status != "undefined"]
    count = np.array([times[k] for k in keys], int)
    status = np.array([outcomes[k].status for k in keys], object)
    right = np.array([passed(task, outcomes[k]) for k in keys], bool).reshape(len(keys), len(task.tests))
    operations = np.array([known[k].operations for k in keys], int)
    whole, base = np.asarray(right.all(1)), right[:, : task.base]
    row: dict = {"n": len(written), "broken": len(written) - int(count.sum()), "c": int(count[whole].sum())}
    row["right_operations"] = int((count * whole * operations).sum())
    for m in (*VISIBLE, None):
        first, end = base[:, :m], "" if m is None else m
        through = first.all(1)
        row[f"b{end}"] = int(count[through].sum())
        row[f"false{end}_operations"] = int((count * (through & ~whole) * operations).sum())
        if m is not None:
            top = count * (first.sum(1) == first.sum(1).max(initial=-1))
            row[f"most{m}"] = float((top * whole).sum() / top.sum()) if top.sum() else 0.0
    row["majority"] = _vote([outcomes[k] for k in keys], count, whole)
    row["timeouts"] = int(count[status == "timeout"].sum())
    row["refused"] = int(count[np.isin(status, sandbox.REFUSED)].sum())
    kept = []
    for kind, chosen in (("right", whole), ("false", base.all(1) & ~whole)):
        for j in sorted(np.flatnonzero(chosen), key=lambda j: -count[j])[:SHOWN]:
            kept.append({"kind": kind, "program": known[keys[j]].code, "times": int(count[j])})
    return row, kept


def _vote(done: list[Outcome], times: np.ndarray, whole: np.ndarray) -> float:
    votes: dict[tuple, int] = {}
    for outcome, n in zip(done, times.tolist(), strict=True):
        if any(v is not None for v in outcome.values):
            behaviour = (outcome.values, outcome.errors)
            votes[behaviour] = votes.get(behaviour, 0) + n
    top = [b for b, n in votes.items() if n == max(votes.values())]
    right = {(o.values, o.errors) for o, ok in zip(done, whole, strict=True) if ok}
    return sum(b in right for b in top) / len(top) if top else 0.0


# ---- the run ----------------------------------------------------------------------------------------------


class Run:
    """One run in its folder: settings.json, a file a task under tasks/, at the end counts and provenance.

    Only one process works on it at a time. With more samples in the settings, what is missing is drawn.
    """

    def __init__(self, settings: Settings, size: dict, folder: Path):
        self.settings, self.size, self.folder = settings, size, Path(folder)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Raises RunError where the folder holds a run with other settings, or is held by another process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"{self.folder}: another process is working here; wait for it, or give another --out"
                ) from None
            about, path = asdict(self.settings), self.folder / "settings.json"
            if theirs := _kept(path):
                agree = lambda k, v: theirs.get(k) == v or (k == "samples" and theirs.get(k, 0) < v)
                other = [
                    f"{k} {theirs.get(k)!r} instead of {v!r}" for k, v in about.items() if not agree(k, v)
                ]
                if other:
                    raise RunError(f"{self.folder} holds a run with {', '.join(other)}: give another --out")
            write_whole(path, json.dumps(about, indent=1).encode())
            yield

    def _path(self, task: Task) -> Path:
        return self.folder / "tasks" / (task.name.replace("/", "-") + ".json")

    def _one(self, task: Task, coder: Callable[[], Coder], workers: int, before: dict) -> dict:
        """A task's samples, those of an earlier piece (or {}) and what is still to be drawn, judged together."""
        s, texts = self.settings, [*before.get("texts", ())]
        try:
            with Sandbox() as box:
                task = evalplus.with_answers(task, box, REFERENCE)
        except Unsound as error:
            return {"left_out": str(error)}
        coder = coder()
        asked = spelt(task, coder.prompt if coder.chat else None)
        name = f"{s.seed} {task.name}" + (f" from {len(texts)}" if texts else "")
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1
        stops = () if coder.chat else evalplus.STOPS[s.tasks]
        texts += coder.write(asked, s.samples - len(texts), s.temperature, stops, s.tokens, seed)
        written = [evalplus.parse(evalplus.program(task, t, coder.chat), task.entry) for t in texts]
        row, kept = tally(task, written, judge(task, written, limits_of(task, s.timeout), workers))
        where = {"model": s.model, "seed": s.seed, "N": self.size["N"], "task": task.name}
        told = {"row": where | {"split": s.tasks} | row, "programs": [where | k for k in kept]}
        return told | {"texts": texts, "provenance": passport()}

    def _complete(self, piece: dict) -> bool:
        """Whether a piece has all samples. Raises RunError for one to which none can be added."""
        missing = self.settings.samples - piece["row"]["n"] if "row" in piece else 0
        if missing > 0 and "texts" not in piece:
            raise RunError(
                f"{self.folder}: its samples were not kept, so none can be added: give another --out"
            )
        return missing <= 0

    def work(
        self,
        tasks: Sequence[Task],
        coder: Callable[[], Coder],
        workers: int,
        say: Callable[[str], None] = print,
    ) -> pd.DataFrame:
        """Do what is not done of the tasks, write all counts as one table; returns it.

        coder: loads the model; not called where nothing is left to write. Raises RunError, StoreError.
        """
        with self._held():
            pieces, once = [], cache(lambda: coder())
            for i, task in enumerate(tasks):
                path = self._path(task)
                piece = _kept(path)
                if not piece or not self._complete(piece):
                    piece = self._one(task, once, workers, piece)
                    write_whole(path, json.dumps(piece).encode())
                    say(f"{task.name} ({i + 1} of {len(tasks)}): {_told(piece)}")
                pieces.append(piece)
            return self._finish(pieces)

    def _finish(self, pieces: list[dict]) -> pd.DataFrame:
        counts = pd.DataFrame([p["row"] for p in pieces if "row" in p])
        columns = ["model", "seed", "N", "task", "kind", "program", "times"]
        shown = pd.DataFrame([k for p in pieces if "row" in p for k in p["programs"]], columns=columns)
        for name, table in (("counts", counts), ("programs", shown)):
            buffer = io.BytesIO()
            table.to_parquet(buffer, index=False, compression="zstd")
            write_whole(self.folder / f"{name}.parquet", buffer.getvalue())
        from transformers import __version__

        facts = passport(
            **asdict(self.settings), **self.size, transformers=__version__, data=evalplus.FILES[self.settings.tasks],
            left_out=[p["left_out"] for p in pieces if "left_out" in p],
        )  # fmt: skip
        write_whole(self.folder / "provenance.json", json.dumps(facts, indent=1).encode())
        return counts

    def left_out(self) -> list[str]:
        """Tasks that could not be judged, each with the reason."""
        return _kept(self.folder / "provenance.json")["left_out"]


def _kept(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise RunError(f"{path} is damaged: delete it, and the same command makes it again") from None


def _told(piece: dict) -> str:
    told = "{c} of {n} right, {b} pass the base tests, {broken} broken"
    return told.format(**piece["row"]) if "row" in piece else f"left out, {piece['left_out']}"


def summary(counts: pd.DataFrame) -> str:
    """The run in a few lines: pass@1, accuracy given a pass with its bounds, false passes, best budgets.

    Intervals are of 95 %, tasks resampled.
    """
    n, b, c = (counts[k].to_numpy() for k in "nbc")
    most = int(n.min())
    reach = ceiling(b, c)

    def span(statistic, *arrays) -> str:
        try:
            return "{:.3f} to {:.3f}".format(*task_bootstrap(statistic, arrays, RESAMPLES, 0))
        except ValueError:
            return "–"

    single = span(lambda n, c: float((c / n).mean()), n, c)
    given = span(lambda b, c: ceiling(b, c).passed, b, c)
    lines = [
        ("tasks", f"{len(counts)}, {most} samples each"),
        ("pass@1", f"{pass_at(n, c, 1).mean():.3f} ({single}; base tests alone {pass_at(n, b, 1).mean():.3f})"),
        (f"pass@{most}", f"{pass_at(n, c, most).mean():.3f}"),
        ("accuracy given a pass", f"{reach.passed:.3f} ({given}) on {reach.tasks} tasks; between {reach.low:.3f} and {reach.high:.3f} on all"),
        ("P(wrong | pass)", f"{false_discovery(n, b, c, 1):.3f} at K = 1, {false_discovery(n, b, c, most):.3f} at K = {most}"),
        ("P(pass | wrong)", f"{false_positive(n, b, c):.4f}"),
    ]  # fmt: skip
    for penalty in (1, 2, 4):
        best = best_budget(n, b, c, penalty)
        more = ", the largest possible" if best.censored else ""
        low, high = budget_interval(n, b, c, penalty, RESAMPLES, 0)
        told = f"K* = {best.K} ({low} to {high}){more}; reward {best.reward:.3f}"
        lines.append((f"best budget, λ = {penalty}", told))
    return "\n".join(f"{name:<24}{text}" for name, text in lines).replace("nan", "–")
