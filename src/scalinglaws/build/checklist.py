"""The (Mis)fitting checklist, answered for every study from its file and from what its stored runs say of themselves.

Li, Kudugunta & Zettlemoyer (2025), arXiv:2502.18969, ask what a reader needs to judge a fitted law. What a study file must
say in words stands under its key `checklist`; sizes, counts, hours and commits are read from the stored tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ..lm.store import load_runs
from ..numbers import scientific
from ..paths import data_file, root
from ..store import StoreError, read_table, write_whole
from ..studies import study

QUESTIONS = {
    "form": "What is fitted, in which form",
    "fit": "Loss, optimiser, first values, weights",
    "validation": "What it is held against",
    "uncertainty": "How uncertain it is",
    "pages": "Where it is used",
}
"""Keys of `checklist` → the question; every study answers all of them."""
HEAD = """# What did each study do?

{cite:t}`li2025misfitting` read fifty papers on scaling laws and found that most leave out what one needs to judge the fit.
Their questions, answered for each study of this book. What is in words stands in the study's file; the rest is read from the stored runs.
All code is in the repository, and every stored table is read by the page that is named.
"""
ENGINE = (
    "N twice, without embeddings and with them (tied, so that the last layer is the embedding); D in tokens, here bytes; "
    "C = 6ND with the count that a page names, and the FLOPs of every matrix product (`scalinglaws.flops`)"
)


def write() -> Path:
    """Write book/checklist.md, if its text is another; it is not committed. Raises StudyError for a study without an answer."""
    path, text = root() / "book" / "checklist.md", "\n".join([HEAD, *(line for name in study.names() for line in entry(name))])
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text.encode())
    return path


def entry(name: str) -> Iterator[str]:
    """One study's heading and table."""
    _, content = study.read(name)
    said = content.get("checklist") or {}
    lacking = [key for key in QUESTIONS if not said.get(key)]
    if lacking:
        raise study.StudyError(f"{name}.yaml: checklist lacks {', '.join(lacking)}")
    found = dict(_runs(name, content) if study.of_runs(content) else _artefacts(name))
    rows = found | {question: said[key] for key, question in QUESTIONS.items() if key != "pages"}
    rows |= {QUESTIONS["pages"]: ", ".join(f"{{doc}}`chapters/{page}`" for page in said["pages"])}
    yield f"\n({'checklist-' + name.replace('_', '-')})=\n## {name}\n\n{content['question']}\n\n```{{list-table}}\n:widths: 30 70\n"
    yield from (f"* - {question}\n  - {answer}" for question, answer in rows.items())
    yield "```\n"


def _runs(name: str, content: dict) -> Iterator[tuple[str, str]]:
    try:
        table = load_runs(name)
    except StoreError:
        yield "Runs", f"not yet: `python -m scalinglaws study {name}` trains them"
        return
    ends = lambda k: f"{table[k].min():,.0f} to {table[k].max():,.0f}" if table[k].nunique() > 1 else f"{table[k].iloc[0]:,.0f}"
    several = lambda k: ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in sorted(table[k].unique()))
    done = table["status"].value_counts()
    yield "Runs", f"{len(table)}: " + ", ".join(f"{count} {status}" for status, count in done.items())
    yield "Data", f"{several('corpus')}, context {several('context')}, by bytes" + _distinct(table)
    yield "Parameters", f"{ends('N')} without embeddings, {ends('N_total')} with them"
    yield "Tokens", ends("D")
    yield "Compute", f"{scientific(table['C'].min())} to {scientific(table['C'].max())} FLOPs"
    yield "How these are counted", ENGINE
    yield "Schedule", f"{several('schedule')}; warm-up of {ends('warmup')} tokens"
    yield "Tuning", f"learning rates {several('learning_rate')}; batches of {several('batch')} sequences; seeds {several('seed')}"
    yield "Checkpoints", "the last of each run" + (", and branches that are cooled down" if (table["branches"].map(len) > 0).any() else "")
    yield "Metric", f"mean loss on {ends('evaluation_tokens')} held-out tokens, nats per token, not smoothed"
    yield from _made(table, table["seconds"].sum())


def _distinct(table: pd.DataFrame) -> str:
    limited = sorted(int(u) for u in table["unique_tokens"].unique() if u)
    return f"; some runs see only {', '.join(f'{u:,}' for u in limited)} distinct tokens" if limited else "; no token is repeated on purpose"


def _artefacts(name: str) -> Iterator[tuple[str, str]]:
    path = data_file(name, "provenance-cpu.parquet")
    if not path.is_file():
        yield "Made", f"not yet: `python -m scalinglaws study {name}` makes it"
        return
    table = read_table(path)
    yield "Made", f"{len(table)} artefacts"
    yield from _made(table, table["seconds"].sum() if "seconds" in table else None)


def _made(table: pd.DataFrame, seconds: float | None) -> Iterator[tuple[str, str]]:
    dates = pd.to_datetime(table["date"], utc=True, format="ISO8601")
    where = ", ".join(sorted({str(v) for v in table["processor"].dropna()} | {str(v) for v in table.get("gpu", pd.Series()).dropna() if v}))
    hours = f"; {seconds / 3600:.2g} core hours" if seconds and seconds >= 36 else ""  # less is packing what was made before
    days = sorted({f"{dates.min():%Y-%m-%d}", f"{dates.max():%Y-%m-%d}"})
    yield "Made on", f"{where}; {' to '.join(days)}{hours}; commits {', '.join(sorted({str(c)[:7] for c in table['commit'].dropna()})[:6])}"
