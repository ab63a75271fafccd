"""Loaders: from the files as published to one tidy schema.

Every table of runs has the columns of `COLUMNS`, then what the source adds. Paper tables
(numbers as printed) are the project's own and live in data/papers/.
"""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pandas as pd

from ..paths import data_file
from . import evaluations, pickles
from .registry import DataError, content, fetch, manifest

COLUMNS = {
    "source": "where the row comes from",
    "N": "parameters; which ones are counted is the source's convention",
    "D": "training tokens",
    "C": "training FLOPs",
    "loss": "nats per token",
}

_PORIAN_FILES = (  # file, name of the source in the tables; in the order of the paper's figures
    ("summary_df.pickle.xz", "porian_rw"),
    ("summary_df_owt2.pickle.xz", "porian_owt2"),
    ("summary_df_att.pickle.xz", "porian_rw"),
    ("summary_df_kaplan_tuned_hparams.pickle.xz", "porian_rw"),
)
_STAGES = {  # (param_count, hparams, warmup, decay) → stage
    ("kaplan", "base", "long", "kaplan"): "1 Reproducing Kaplan",
    ("standard", "base", "long", "kaplan"): "2 +last-layer FLOPs",
    ("standard", "base", "short", "kaplan"): "3 +warmup",
    ("standard", "base", "short", "chinchilla"): "4 +cosine decay",
    ("standard", "tuned", "short", "const"): "5 optimizer tuning, const LR",
    ("attention", "base", "long", "kaplan"): "att 2",
    ("attention", "base", "short", "kaplan"): "att 3",
    ("attention", "base", "short", "chinchilla"): "att 4",
    ("attention", "tuned", "short", "const"): "att 5",
    ("kaplan", "tuned", "long", "const"): "Kaplan-adjusted (tuned, long warmup)",
}


def load(name: str) -> pd.DataFrame:
    """A tidy table by name.

    "epoch": 245 runs digitised from Hoffmann et al.'s Figure 4; `kept240` is False for the
        five largest losses, which Besiroglu et al. leave out.
    "porian_points", "porian_frontier", "porian_exponents": IsoFLOP losses, optima and fitted
        exponents of every stage of Porian et al.
    "repeated": the 182 runs on repeated data to which Muennighoff et al. fitted their law; `unique_tokens` of each.
    "overtrained": the 104 models of Gadre et al., loss on C4's held-out part with a 95 % interval (`loss_low`,
        `loss_high`); `corpus`, `M` tokens a parameter.
    "clip": 32 CLIP models on 41 data sets (Cherti et al.): C in multiply-adds of the forward passes, `error` a share.
    "families": benchmarks of 188 open models (Polo et al.) with `family`, `date`, `instruct`.
    "downstream": errors of those models on 46 tasks; "ladder": losses and accuracies along the runs of Bhagia et al.;
        "benchmarks": 148 base models of Ruan et al. (`evaluations` says their columns).
    "pythia", "monkeys": samples and correct samples per MATH problem (Schaeffer et al.).
    Raises DataMissing or DataError (see `fetch`), DataError for an unknown name.
    """
    if name not in _LOADERS:
        raise DataError(f"no table {name!r}; there are: {', '.join(_LOADERS)}")
    return _LOADERS[name]()


def paper_table(name: str) -> pd.DataFrame:
    """A table of data/papers/: numbers as printed in a paper, with '#' lines naming it."""
    return pd.read_csv(data_file("papers", f"{name}.csv"), comment="#")


def gutenberg_manifest() -> pd.DataFrame:
    """Path, sha256 and size in bytes of the 483 books."""
    return pd.DataFrame(
        [(f.name, f.sha256, f.bytes) for f in manifest("gutenberg")], columns=["path", "sha256", "bytes"]
    )


def _epoch() -> pd.DataFrame:
    raw = pd.read_csv(fetch("epoch")["svg_extracted_data.csv"])
    N, C = raw["Model Size"], raw["Training FLOP"]
    table = pd.DataFrame(
        {
            "source": "epoch_chinchilla_svg",
            "N": N,
            "D": C / (6 * N),
            "C": C,
            "loss": raw["loss"],
            "svg_x": raw["x"],
            "svg_y": raw["y"],
            "hex_color": raw["hex_color"],
        }
    )
    table["kept240"] = raw["loss"].rank(ascending=False, method="first") > 5
    return table


def _porian_studies():
    """(source, labels, row) of every study. The files are pickles: what is unpickled is what was hashed."""
    for file, source in _PORIAN_FILES:
        for _, row in pickles.read(content("porian", file)).iterrows():
            yield (
                source,
                {
                    "dataset": row["dataset"],
                    "hparams": row["hparams"],
                    "warmup": row["warmup"],
                    "decay": row["decay"],
                    "param_count": row["param_count"],
                    "loss_kind": row["val"],
                    "stage": _STAGES[row["param_count"], row["hparams"], row["warmup"], row["decay"]],
                },
                row,
            )


def _porian_points() -> pd.DataFrame:
    parts = []
    for source, labels, row in _porian_studies():
        for _, budget in row["data"].iterrows():
            if budget["orig_n"] is None or np.ndim(budget["orig_n"]) == 0:
                continue
            parts.append(
                pd.DataFrame(
                    {
                        "source": source,
                        "N": np.asarray(budget["orig_n"], float),
                        "D": np.asarray(budget["orig_t"], float),
                        "C": float(budget["flops"]),
                        "loss": np.asarray(budget["orig_loss"], float),
                        **labels,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _porian_frontier() -> pd.DataFrame:
    parts = []
    for source, labels, row in _porian_studies():
        best = row["optimal_pairs"]
        parts.append(
            pd.DataFrame(
                {
                    "source": source,
                    "C": best["flops"].astype(float),
                    "N_opt": best["n"].astype(float),
                    "D_opt": best["t"].astype(float),
                    "tokens_per_param": best["multiplier"].astype(float),
                    "loss_opt": best["loss"].astype(float),
                    "log_N_std": best["n_star_std"].astype(float),
                    "log_D_std": best["t_star_std"].astype(float),
                    "log_loss_std": best["loss_star_std"].astype(float),
                    **labels,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _porian_exponents() -> pd.DataFrame:
    """The exponents as the authors fitted and stored them, with their bootstrap's central 95 %."""
    rows = []
    for source, labels, row in _porian_studies():
        fit = row["fit_results"]["weighted"]
        draws = [b["n_exponent"] for b in row["fit_results"]["bootstrap_weighted"] if "n_exponent" in b]
        low, high = np.percentile(draws, [2.5, 97.5])
        best = row["optimal_pairs"]
        rows.append(
            {
                "source": source,
                **labels,
                "n_frontier": int(best["n"].notna().sum()),
                "a_published": fit["n_exponent"],
                "a_coef": float(fit["n_coef"]),
                "a_R2": float(fit["n_r2"]),
                "a_lo95": low,
                "a_hi95": high,
            }
        )
    return pd.DataFrame(rows)


_UNIT = {"M": 1e6, "B": 1e9}


def _count(text: str) -> int:
    return round(float(text[:-1]) * _UNIT[text[-1]])


def _pythia() -> pd.DataFrame:
    raw = pd.read_parquet(fetch("monkeys")["math_pass_at_k.parquet"])
    raw = raw[raw["k"] == 1]
    nickname = raw["Model Nickname"].str.split("_", expand=True)
    table = pd.DataFrame(
        {
            "model": "pythia",
            "N": nickname[1].map(_count),
            "D": nickname[2].map(_count),
            "problem": raw["prompt_idx"],
            "level": raw["Level"].str.removeprefix("Level ").astype(int),
            "samples": raw["Num. Samples"].astype(int),
            "correct": raw["Num. Samples Correct"].astype(int),
            "inference_flop": raw["Inference Compute"],
        }
    )
    return table.sort_values(["N", "D", "problem"], kind="stable", ignore_index=True)


def _monkeys() -> pd.DataFrame:
    raw = pd.read_parquet(fetch("monkeys")["large_language_monkeys_original_pass_at_k.parquet"])
    raw = raw[raw["Scaling Parameter"] == 1]
    return pd.DataFrame(
        {
            "model": raw["Model"],
            "problem": raw["Problem Idx"],
            "samples": raw["Num. Samples Total"].astype(int),
            "correct": raw["Num. Samples Correct"].astype(int),
        }
    ).reset_index(drop=True)


_REPEATED_CELL = 25
"""The cell of the notebook whose runs the published constants were fitted to."""


def _repeated() -> pd.DataFrame:
    """A run is named SIZE TOKENS UNIQUE without spaces, as 2b855b14b; the notebook's own tables say what each part is."""
    book = json.loads(content("datablations", "parametric_fit.ipynb"))
    lines = ast.parse("".join(book["cells"][_REPEATED_CELL]["source"])).body
    told = {
        n.targets[0].id: ast.literal_eval(n.value)
        for n in lines
        if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)
    }
    sizes, known = told["PARAMS_MAP"], told["TOKENS_MAP"]
    tokens = lambda text: 1e9 * known.get(text, float(text.replace("b", ".").strip(".m")))
    rows = []
    for name, loss in told["NAMES_TO_VAL_LOSSES"].items():
        if not loss or name.endswith("dedup"):  # not finished; another corpus
            continue
        size = next(s for s in sorted(sizes, key=len, reverse=True) if name.startswith(s))
        rest = name.removeprefix(size)
        # distinct tokens: the longest end of four signs at most (three where digits follow the letter) with one letter
        longest = 3 if rest[-2] in "bm" else 4
        unique = next(rest[-k:] for k in range(longest, 0, -1) if len(re.findall("[bm]", rest[-k:])) == 1)
        rows.append((name, sizes[size], tokens(rest.removesuffix(unique)), tokens(unique), loss))
    table = pd.DataFrame(rows, columns=["name", "N", "D", "unique_tokens", "loss"])
    return table.assign(source="muennighoff2023", C=6 * table["N"] * table["D"])[[*COLUMNS, "unique_tokens", "name"]]


def _overtrained() -> pd.DataFrame:
    """The loss is that on the shards of C4 that were held out, whatever a model was trained on."""
    rows = []
    for name, path in fetch("gadre").items():
        if not name.startswith("exp_data/models/"):
            continue
        model = json.loads(path.read_text(encoding="utf-8"))
        how = model["hyperparameters"]
        (found,) = (r for r in model["results"] if "c4_val" in r["val_data"][0])
        N, D, ends = float(how["params"]), float(how["tokens"]), (found["loss_sequences_lower_95"], found["loss_sequences_upper_95"])
        corpus = _CORPORA[model["dataset_name"]]
        rows.append(("gadre2024", N, D, 6 * N * D, found["loss"], *ends, D / N, corpus, model["name"]))
    table = pd.DataFrame(rows, columns=[*COLUMNS, "loss_low", "loss_high", "M", "corpus", "name"])
    return table.sort_values(["corpus", "N", "M"], ignore_index=True)


_CORPORA = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}


def _clip() -> pd.DataFrame:
    raw = pd.read_csv(fetch("openclip")["zeroshot_results.csv"])
    retrieval = raw["task"] == "zeroshot_retrieval"
    return pd.DataFrame(
        {
            "source": "cherti2023",
            "arch": raw["arch"],
            "samples": raw["samples_seen"],
            "C": 1e9 * raw["gmacs_total"],
            "trained_on": raw["upstream_dataset"].replace("CLIP-WIT", "WIT"),
            "task": raw["downstream_dataset"],
            "error": 1 - raw["image_retrieval_recall@5"].where(retrieval, raw["acc1"]),
            "model": raw["name"],
        }
    )


_LOADERS = {
    "epoch": _epoch,
    "repeated": _repeated,
    "overtrained": _overtrained,
    "clip": _clip,
    "families": evaluations.families,
    "downstream": evaluations.downstream,
    "ladder": evaluations.ladder,
    "benchmarks": evaluations.benchmarks,
    "porian_points": _porian_points,
    "porian_frontier": _porian_frontier,
    "porian_exponents": _porian_exponents,
    "pythia": _pythia,
    "monkeys": _monkeys,
}
