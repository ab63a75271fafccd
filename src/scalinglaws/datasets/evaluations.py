"""Loaders of what models can do: accuracies by task, beside the size, tokens and losses of each model."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd

from .registry import fetch

TASKS = {
    "MMLU": "mmlu",
    "HellaSwag": "hellaswag_val",
    "ARC-Challenge": "arc_challenge_test",
    "ARC-Easy": "arc_easy_test",
    "PIQA": "piqa_val",
    "CommonsenseQA": "csqa_val",
    "Social IQa": "socialiqa_val",
    "OpenBookQA": "openbookqa_test",
    "WinoGrande": "winogrande_val",
    "BoolQ": "boolq_val",
}
"""Tasks of the ladder by their names in print; the first eight are the paper's."""
_MMLU = {"stem": 3018, "humanities": 4705, "social_sciences": 3077, "other": 3242}
"""Questions of each part of the test set (Hendrycks et al. 2021), by which the paper weighs them."""
LADDER = {"190M": 190354176, "370M": 371262464, "760M": 758220288, "1B": 1279395840, "3B": 3169537280}
TARGETS = {"peteish7_eval_anneal.csv": ("7B-4T", 6887575552), "peteish13_eval_final.csv": ("13B-5T", 13202396160)}
"""Non-embedding parameters of runs and targets, as the paper's configuration has them."""


def downstream() -> pd.DataFrame:
    """A row a model and task of Gadre et al.: name, task, error (a share), chance (error of guessing)."""
    files = fetch("gadre")
    with files["exp_data/eval_metadata.csv"].open(encoding="utf-8", newline="") as handle:
        guessed = {row["Eval Task"]: 1 - float(row["Random baseline"] or 0) / 100 for row in csv.DictReader(handle)}
    rows = []
    for path, file in files.items():
        if path.startswith("exp_data/evals/"):
            name = path.removeprefix("exp_data/evals/evaluation_").removesuffix("_heavy.json")
            scores = json.loads(file.read_text(encoding="utf-8"))["eval_metrics"]["icl"]
            rows += [(name, task, 1 - score, guessed[task]) for task, score in scores.items()]
    return pd.DataFrame(rows, columns=["name", "task", "error", "chance"])


def _mean(raw: pd.DataFrame, task: str, kind: str, ending: str) -> pd.Series:
    """One task's column, or the mean of MMLU's four weighted by questions."""
    stem = f"eval/{kind}/"
    if task != "mmlu":
        return raw[f"{stem}{task}_rc_5shot_{ending}"]
    parts = [raw[f"{stem}mmlu_{part}_test_rc_5shot_{ending}"] * n for part, n in _MMLU.items()]
    return sum(parts[1:], parts[0]) / sum(_MMLU.values())


def ladder() -> pd.DataFrame:
    """A row a checkpoint and task of Bhagia et al.: run, target, N, multiple, D, task, loss, accuracy, soft.

    N without embeddings; multiple: length in units of 20 tokens a parameter, NaN of the targets; D tokens so far; loss in bits
    per byte of the right answer; soft: its probability among the choices (NaN where it was not logged).
    """
    tables = []
    for file, path in fetch("olmoladder").items():
        raw = pd.read_csv(path)
        if file in TARGETS:
            (run, N), multiple = TARGETS[file], np.nan
        else:
            run = file.removesuffix(".csv")
            size, times = run.split("-")
            N, multiple = LADDER[size], float(times.removesuffix("xC"))
        logged = "throughput/total_tokens"
        D = raw[logged] if logged in raw else raw["_step"] * raw["batch_size_in_tokens"]
        for task, key in TASKS.items():
            scored = "acc" if key == "boolq_val" else "len_norm"
            tables.append(
                pd.DataFrame(
                    {
                        "run": run, "target": file in TARGETS, "N": float(N), "multiple": multiple, "D": D.astype(float),
                        "task": task, "loss": _mean(raw, key, "downstream_bpb", "bpb"), "accuracy": _mean(raw, key, "downstream", scored),
                        "soft": _mean(raw, key, "downstream_soft", "soft"),
                    }
                )
            )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


BENCHMARKS = ("MMLU", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "GSM8K", "XWinograd", "HumanEval")
"""Of Ruan et al."""


def benchmarks() -> pd.DataFrame:
    """148 base models of Ruan et al.: model, family, N, D, C, eight benchmarks, and emergent tasks where they were run (shares)."""
    files = fetch("obsscaling")
    raw, later = (pd.read_csv(files[f"base_llm_{k}_eval.csv"]) for k in ("benchmark", "emergent_capability"))
    emergent = {c: c.replace("_2_acc", "").replace("_2_exact_match", "") for c in later if c.endswith(("acc", "match"))}
    table = raw.rename(columns={"Model": "model", "Model Family": "family"})[["model", "family", *BENCHMARKS]]
    table = table.assign(
        source="ruan2024", N=1e9 * raw["Model Size (B)"], D=1e12 * raw["Pretraining Data Size (T)"], C=1e21 * raw["FLOPs (1E21)"]
    )
    return table.merge(later.rename(columns={"Model": "model", **emergent})[["model", *emergent.values()]], on="model", how="left")


SCORES = ("MMLU", "ARC", "HellaSwag", "Winogrande", "TruthfulQA", "GSM8K", "IFEval", "BBH", "MATH Lvl 5", "GPQA", "MUSR", "MMLU-PRO")
"""Of Polo et al.: the first six of the old leaderboard, then six of the new."""


def families() -> pd.DataFrame:
    """188 open models of Polo et al.: model, family, instruct, date, N, D, C, twelve benchmarks (shares, NaN where not run)."""
    raw = pd.read_csv(fetch("sloth")["data_v2.csv"])
    table = raw.rename(columns={"Model": "model", "Family": "family", "Instruct": "instruct"})[["model", "family", "instruct", *SCORES]]
    N, D = 1e9 * raw["#Params (B)"], 1e12 * raw["Pretraining Data Size (T)"]
    return table.assign(source="polo2024", N=N, D=D, C=1e21 * raw["FLOPs (1E21)"], date=pd.to_datetime(raw["date"]))
