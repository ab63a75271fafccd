"""What the columns of a table mean: names, numbers, units. Every reading is said.

table (strings, any header) → runs: N parameters, D tokens, loss nats, C FLOPs
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from .reading import Table, TableError

QUANTITIES = {"N": "parameters", "D": "tokens", "loss": "nats per token", "C": "FLOPs"}
# Best first: where a table has several, the first is taken and that is said.
ALIASES = {
    "N": "n params n_params num_params parameters n_parameters num_parameters parameter_count param_count "
    "total_params params_total total_parameters model_params model_parameters model_size size n_total "
    "non_embedding_params n_non_embedding params_non_embedding non_embedding_parameters",
    "D": "d tokens n_tokens num_tokens train_tokens training_tokens total_tokens tokens_seen "
    "tokens_trained tokens_total n_train_tokens num_train_tokens train_tokens_seen dataset_tokens data",
    "loss": "loss final_loss val_loss validation_loss eval_loss test_loss final_val_loss "
    "final_validation_loss loss_val loss_final val_final_loss best_val_loss lm_loss l cross_entropy val_ce "
    "perplexity ppl val_ppl val_perplexity eval_perplexity bpb bits_per_byte "
    "train_loss training_loss final_train_loss",
    "C": "c flops flop training_flops train_flops total_flops n_flops num_flops compute compute_flops "
    "compute_budget budget train_compute training_compute",
    "run": "run run_id run_name curve curve_id",
    "unique_tokens": "unique_tokens n_unique_tokens unique_data dataset_size",
}
ALIASES = {name: text.split() for name, text in ALIASES.items()}
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9, "g": 1e9, "t": 1e12}
WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
LOSS_UNITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nats": lambda v: v,
    "bits": lambda v: v * np.log(2),
    "perplexity": np.log,
    "bits-per-byte": lambda v: v * np.log(2),
}
RANGES = {"N": (1, 1e18), "D": (1, 1e20), "loss": (1e-6, 1e3), "C": (1, 1e40), "unique_tokens": (1, 1e20)}
GUESS = 12.5  # nats: uniform guessing over 250,000 tokens
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([kmbgt]|bn)?", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[,_' \u00a0\u202f]\d{3})+(?:\.\d+)?")
_LOST = ("", "nan", "inf", "-inf", "+inf", "infinity", "-infinity", "na", "n/a", "null", "none", "<na>")


@dataclass(frozen=True)
class Reading:
    """Runs ready to be fitted.

    runs: columns N, D, loss and, where known, C, run, unique_tokens, weight and those that were
    asked for; its index is the row of `table`. said: how the table was read. warnings.
    """

    runs: pd.DataFrame
    table: Table
    said: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def where(self, position: int) -> str:
        """The place in the table of a run, by its position in `runs`."""
        return self.table.where(int(self.runs.index[position]))


def interpret(
    table: Table,
    *,
    columns: dict[str, str] | None = None,
    scale: dict[str, float] | None = None,
    loss_unit: str | None = None,
    drop_diverged: bool = False,
    weights: str | None = None,
    keep: tuple[str, ...] = (),
) -> Reading:
    """Recognise the columns, turn cells into numbers and these into N, D, nats and FLOPs.

    columns: quantity → header, overrides recognition. scale: factor by quantity ("N": 1e9 for
    billions). loss_unit: one of `LOSS_UNITS`. drop_diverged: leave out rows whose loss is no
    positive finite number. weights: header of the runs' weights. keep: further columns, as text or
    numbers. C = 6·N·D gives whichever of N and D is absent.
    Raises TableError for a missing column, a cell that is no number, or units that must be named.
    """
    frame, said, scale = table.frame, list(table.said), dict(scale or {})
    names, notes = _recognise(table, columns or {})
    said += notes
    unit = _loss_unit(table, names, loss_unit, said)
    chosen = {q: frame.iloc[:, names[q]] for q in (*QUANTITIES, "unique_tokens") if q in names}
    for name in chosen:
        scale.setdefault(name, _unit_in_header(table, names[name], name, said))
    extra = {c: frame.iloc[:, _position(table, c)] for c in dict.fromkeys(keep) if c not in chosen}
    if weights is not None:
        extra["weight"] = frame.iloc[:, _position(table, weights)]

    rows = np.arange(len(frame))
    warnings: list[str] = []
    if "loss" in chosen:
        rows = _alive(table, chosen["loss"], rows, drop_diverged, said)
    out = {}
    for name, column in chosen.items():
        out[name] = _numbers(table, column, names[name], name, rows, unit, scale.get(name) or 1.0)
        if factor := scale.get(name):
            said.append(f"{name} × {factor:g}")
        elif (
            name != "loss"
            and not pd.api.types.is_numeric_dtype(column)
            and column.astype(str).str.contains(r"\d\s*[kmbgt]", case=False).any()
        ):
            said.append(f"{name} with suffixes (1M = 1e6, 1B = 1e9)")
    missing = {"N", "D"} - out.keys()
    if len(missing) == 1 and "C" in out:
        (name,) = missing
        other = out["D" if name == "N" else "N"]
        out[name] = out["C"] / (6 * other)
        said.append(f"{name} = C/(6·{'D' if name == 'N' else 'N'})")
    runs = pd.DataFrame(out, index=rows)[[c for c in (*QUANTITIES, "unique_tokens") if c in out]]
    _check_units(table, runs, chosen, names, scale, unit, loss_unit, warnings)
    runs["loss"] = LOSS_UNITS[unit](runs["loss"].to_numpy())
    if (runs["loss"] <= 0).any():
        row = int(np.argmax(runs["loss"] <= 0))
        raise TableError(
            f"{table.name}: {table.where(rows[row])}: the loss is not positive as {unit}; name its unit with --loss-unit"
        )
    if stopped := _stopped(frame, rows):
        warnings.append(stopped)
    if "run" in names:
        runs["run"] = _labels(table, frame.iloc[:, names["run"]], rows)
    for name, column in extra.items():
        runs[name] = _weights(table, column, weights, rows) if name == "weight" else column.to_numpy()[rows]
    return Reading(runs, table, tuple(said), tuple(warnings))


def _recognise(table, columns):
    """Quantity → position of its column, and what was recognised under another name."""
    header = [str(c) for c in table.frame.columns]
    plain = [_plain(c) for c in header]
    names, said = {}, []
    for name, given in columns.items():
        names[name] = _position(table, given)
    for name, aliases in ALIASES.items():
        if name in names:
            continue
        exact = [k for k, c in enumerate(header) if c == name]
        if len(exact) > 1:
            raise TableError(f"{table.name}: {_top(table)}: column {name} appears twice; keep one")
        found = exact or sorted(
            (k for k, c in enumerate(plain) if c in aliases and k not in names.values()),
            key=lambda k: aliases.index(plain[k]),
        )
        if not found:
            continue
        names[name] = found[0]
        others = [header[k] for k in found[1:] if name in QUANTITIES]
        if header[found[0]] != name:
            said.append(
                f"{name} from column {header[found[0]]!r}" + (f" (not {', '.join(others)})" if others else "")
            )
    missing = [q for q in ("N", "D", "loss") if q not in names]
    if "C" in names and len({"N", "D"} & names.keys()) == 1:
        missing = [q for q in missing if q == "loss"]
    if missing:
        raise TableError(
            f"{table.name}: {_top(table)}: column {', '.join(missing)} missing; name it with --columns "
            f"{','.join(f'{m}=HEADER' for m in missing)}; the header has {', '.join(header[:30])}"
        )
    return names, said


def _top(table):
    return f"line {table.first - 1}" if table.place == "line" and table.first > 1 else "header"


def _plain(header: str) -> str:
    """A header as it is compared: lower case, no wandb prefix, no unit, words joined by underscores."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", header.strip())
    text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    text = re.sub(r"^(summary|config|metrics)_", "", text)
    return re.sub(r"(?<=[a-z])_(k|m|b|bn|t|thousands?|millions?|billions?|trillions?)$", "", text)


def _position(table, name):
    header = [str(c) for c in table.frame.columns]
    if header.count(name) != 1:
        problem = "appears twice" if name in header else "is not there"
        raise TableError(
            f"{table.name}: {_top(table)}: column {name!r} {problem}; the header has {', '.join(header[:30])}"
        )
    return header.index(name)


def _unit_in_header(table, position, name, said):
    """A factor the header itself gives, as in `params (B)` or `tokens_billions`."""
    text = str(table.frame.columns[position]).strip()
    found = re.search(
        r"[\s_(\[]+(k|m|b|bn|t|(?:thousand|million|billion|trillion)s?)[)\]]?$", text, re.IGNORECASE
    )
    if not found or name == "loss":
        return None
    word = found.group(1).lower()
    factor = WORDS.get(word.rstrip("s")) or SUFFIXES[word]
    said.append(f"the header of {name} names a unit")
    return factor


def _loss_unit(table, names, given, said):
    if given is not None:
        said.append(f"loss given in {given}")
        return given
    header = _plain(str(table.frame.columns[names["loss"]])) if "loss" in names else ""
    for word, unit in (("ppl", "perplexity"), ("perplexity", "perplexity"), ("bpb", "bits-per-byte"), ("bits_per_byte", "bits-per-byte")):  # fmt: skip
        if word in header:
            said.append(f"loss read as {unit}, as its header says")
            return unit
    return "nats"


def _alive(table, column, rows, drop, said):
    """The rows whose loss is a positive finite number, where the others may be dropped."""
    if not drop:
        return rows
    values = to_numbers(column, table.decimal_comma)
    dead = ~np.isfinite(values) | (values <= 0)
    text = column.astype(str).str.strip().str.lower()
    wrong = dead & ~text.isin(_LOST).to_numpy() & np.isnan(values)
    dead &= ~wrong  # text in the loss column is an error, not a divergence
    places = [table.where(k) for k in rows[dead]]
    word = table.place
    listed = ", ".join(p.removeprefix(word + " ") for p in places[:20]) + (", …" if len(places) > 20 else "")
    said.append(
        f"dropped {len(places)} row{'s' * (len(places) != 1)} without a finite loss"
        + (f": {word} {listed}" if places else "")
    )
    if dead.all():
        raise TableError(f"{table.name}: no row has a finite loss")
    return rows[~dead]


def to_numbers(column: pd.Series, decimal_comma: bool = False) -> np.ndarray:
    """Cells as numbers, NaN where they are none: 1e9, 26,832,816, 1.2B, 300M, 3,29 (`decimal_comma`)."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(float, na_value=np.nan)
    text = column.astype(str).str.strip()
    if decimal_comma:
        text = text.str.replace(".", "", regex=False).where(text.str.contains(","), text)
        text = text.str.replace(",", ".", regex=False)
    values = np.array(pd.to_numeric(text, errors="coerce").to_numpy(float, na_value=np.nan))
    for k in np.flatnonzero(np.isnan(values)):
        cell = text.iloc[k]
        if _GROUPED.fullmatch(cell):
            cell = re.sub(r"[,_' \u00a0\u202f]", "", cell)
        if found := _NUMBER.fullmatch(cell):
            values[k] = float(found[1]) * SUFFIXES.get((found[2] or "").lower(), 1.0)
    return values


def _numbers(table, column, position, name, rows, unit, scale):
    cells = column.iloc[rows]
    values = to_numbers(cells, table.decimal_comma) * scale
    low, high = (0, np.inf) if scale == 1 and name != "loss" else RANGES[name]
    if name == "loss" and unit == "perplexity":
        low, high = 1, np.inf
    bad = ~np.isfinite(values) | (values < low) | (values > high) | (values <= 0)
    if name != "loss":
        bad |= values > RANGES[name][1]
    if bad.any():
        row = int(np.argmax(bad))
        cell = str(cells.iloc[row]).strip()
        if cell == "":
            problem = "is empty"
        elif cell.lower() in _LOST:
            problem = f"is {cell}"
        elif np.isfinite(values[row]) and values[row] <= 0:
            problem = f"is {cell}, not positive"
        elif np.isfinite(values[row]):
            problem = (
                f"is {cell}, not between {max(low, RANGES[name][0]):g} and {min(high, RANGES[name][1]):g}"
            )
        else:
            problem = f"is {cell!r}, not a number"
        header = str(table.frame.columns[position])
        also = "" if header == name else f" ({header!r})"
        lost = name == "loss" and (cell.lower() in _LOST or (np.isfinite(values[row]) and values[row] <= 0))
        remedy = "delete the row, or pass --drop-diverged" if lost else "or delete the row"
        give = {"loss": unit}.get(name, QUANTITIES.get(name, "tokens"))
        raise TableError(
            f"{table.name}: {table.where(rows[row])}: column {name}{also} {problem}; give {give}, {remedy}"
        )
    return values


def _check_units(table, runs, chosen, names, scale, unit, loss_unit, warnings):
    """Ask where sizes or losses cannot be what they claim, naming the flag that settles it."""
    for name, smallest, thing in (("N", 1e4, "parameters"), ("D", 1e5, "tokens"), ("C", 1e9, "FLOPs")):
        if name in chosen and scale.get(name) is None and runs[name].median() < smallest:
            low, high = runs[name].min(), runs[name].max()
            header = str(table.frame.columns[names[name]])
            other = "".join(
                f",{q}=1e9" for q, s in (("N", 1e4), ("D", 1e5)) if q != name and q in chosen and runs[q].median() < s and scale.get(q) is None
            )  # fmt: skip
            guess = (
                "In PF-days? add --scale C=8.64e19 (1 if these are FLOPs)"
                if name == "C"
                else f"In billions? add --scale {name}=1e9{other} (1e6 for millions, 1e12 for trillions, 1 if these are the counts)"
            )
            raise TableError(
                f"{table.name}: column {name}{'' if header == name else f' ({header!r})'} is {low:.4g} to {high:.4g}: too few "
                f"{thing} for a language model. {guess}"
            )
    loss = runs["loss"]
    nats = LOSS_UNITS[unit](loss)
    if np.max(nats) > GUESS:
        problem = (
            f"column loss: {loss.min():.4g} to {loss.max():.4g} {unit} a token reaches beyond guessing among "
            f"{np.exp(GUESS):,.0f} tokens"
        )
        if loss_unit is None:
            raise TableError(
                f"{table.name}: {problem}. Perplexity? add --loss-unit perplexity (or bits; nats if this is meant), or leave "
                "diverged runs out"
            )
        warnings.append(problem + ": is --loss-unit right?")
    elif (
        loss_unit is None
        and unit == "nats"
        and np.min(nats) > 4.5
        and runs.get("D", runs["loss"]).median() > 1e9
    ):
        warnings.append(
            f"losses of {loss.min():.3g} to {loss.max():.3g} nats are high for runs of a billion tokens: perplexity or bits? then add "
            "--loss-unit"
        )
    if unit == "bits-per-byte" and np.median(loss) > 8:
        warnings.append(
            f"a loss of {np.median(loss):.3g} bits a byte is worse than guessing bytes: is --loss-unit right?"
        )
    if unit == "perplexity" and np.median(loss) < 6:
        warnings.append(
            f"a perplexity of {np.median(loss):.3g} is unusually low, and would be an ordinary loss in nats: is --loss-unit right?"
        )
    if unit == "bits-per-byte":
        warnings.append("losses are per byte: E, A and B are in nats a byte, not a token")


def _stopped(frame, rows) -> str:
    """A warning where a column State, as wandb exports it, marks runs that did not finish."""
    for k, header in enumerate(frame.columns):
        if _plain(str(header)) == "state":
            state = frame.iloc[rows, k].astype(str).str.strip().str.lower()
            early = int(state.isin(["crashed", "failed", "killed", "running"]).sum())
            if early:
                return f"{early} runs are marked as not finished in column {header}: their last loss is not a final one"
    return ""


def _weights(table, column, header, rows):
    values = to_numbers(column.iloc[rows], table.decimal_comma)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise TableError(
            f"{table.name}: {table.where(rows[row])}: column {header!r} is {column.iloc[rows[row]]!r}; a weight is a "
            "number, 0 or more"
        )
    if not values.any():
        raise TableError(f"{table.name}: column {header!r}: every weight is 0")
    return values / values[values > 0].mean()


def _labels(table, column, rows):
    labels = column.astype(str).str.strip().to_numpy()[rows]
    empty = np.isin(np.char.lower(labels.astype(str)), _LOST)
    if empty.any() and not empty.all():
        raise TableError(
            f"{table.name}: {table.where(rows[int(np.argmax(empty))])}: column run is empty; name the run of every row, or pass --run none"
        )
    return labels
