"""HumanEval+ and MBPP+ (Liu et al. 2023): what is asked, what a completion says, which tests it passes.

The files hold inputs, base tests first, and a reference solution; what is right is what the reference solution
returns, run in the sandbox like any other program. A value is right if it equals that (1 equals 1.0, a list never
equals a tuple) or, where the reference gives a float or the task names a tolerance, if it has the same type and
lies within it: 10⁻⁶ unless the task says otherwise, and a relative 10⁻⁷; inside lists, tuples and dictionaries too.

Judged by rules of their own, as EvalPlus does: HumanEval/32 (any zero of the polynomial); Mbpp/2, 7, 111, 140, 232,
579, 769 (as sets); Mbpp/737, 787, 794 (found or not); Mbpp/558 and 581 (a second reading of the question is right too).

Unlike EvalPlus: no third-party modules; what is, or holds, an object that is no plain data is never right (a match of
a regular expression is its span), and one that extends a built-in type counts as its contents; NaN equals NaN; values of more than 64 KiB have no tolerance; one allowance
of processor time for all tests of a program. Left out where the reference solution needs too much of it or of
memory, as Mbpp/255 and 599 do (`Unsound` says so at run time).
"""

from __future__ import annotations

import ast
import gzip
import json
import math
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..datasets import fetch
from .plain import Opaque, decode, encode
from .sandbox import Limits, Outcome, Sandbox

FILES = {"humanevalplus": "HumanEvalPlus-v0.1.10.jsonl.gz", "mbppplus": "MbppPlus-v0.2.0.jsonl.gz"}
"""The sets of tasks, and their files in the dataset `evalplus`."""
STOPS = {
    "humanevalplus": ("\ndef ", "\nclass ", "\nif ", "\nprint(", "\nassert ", "\n#", "\n@", "\n```", '\n"""'),
    # here the completion holds the whole definition, after imports and helpers
    "mbppplus": ("\nif __name__", "\nprint(", "\nassert ", "\n```", '\n"""', "\n# Test", "\n# test"),
}
"""Where a completion of a base model is over."""
LARGEST = 20_000
"""Characters of a program at most."""


@dataclass(frozen=True)
class Task:
    """A task: its name, the function asked for, what is asked, tests as JSON of encoded arguments, base ones first."""

    name: str
    entry: str
    prompt: str
    reference: str
    tests: tuple[str, ...]
    base: int
    tolerance: float
    expected: tuple[str, ...] = field(default=(), repr=False)
    seconds: float = 0.0

    @property
    def set(self) -> str:
        """Which set the task is of."""
        return "mbppplus" if self.name.startswith("Mbpp") else "humanevalplus"

    @property
    def opening(self) -> str:
        """Imports and helpers that stand before the function in the prompt; empty where the prompt is only text."""
        found = re.search(rf"^def {re.escape(self.entry)}\b", self.prompt, re.M)
        return self.prompt[: found.start()] if found else ""


def load(tasks: str, limit: int | None = None) -> list[Task]:
    """The tasks of "humanevalplus" (164) or "mbppplus" (378), or the first `limit`. Raises datasets.DataError."""
    path = fetch("evalplus")[FILES[tasks]]
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [_task(row) for row in rows[:limit]]


def _task(row: dict) -> Task:
    base, plus = list(row["base_input"]), list(row["plus_input"])  # one task has {} for "no plus tests"
    arguments = _as_in_mbpp(row, base + plus) if "assertion" in row else base + plus
    tests = tuple(json.dumps(encode(list(a)), separators=(",", ":")) for a in arguments)
    whole = row["canonical_solution"] if "assertion" in row else row["prompt"] + row["canonical_solution"]
    return Task(
        row["task_id"], row["entry_point"], row["prompt"], whole, tests, len(base), float(row["atol"] or 0)
    )


# ---- MBPP's inputs ----------------------------------------------------------------------------------------

_AS_STORED = ("Mbpp/98", "Mbpp/104", "Mbpp/140", "Mbpp/145")  # EvalPlus tests these with lists all the same
_OUTERMOST = ("Mbpp/596",)
_ALL_THE_WAY = ("Mbpp/580", "Mbpp/791")
_NUMBERS = {"Mbpp/124": (float, complex), "Mbpp/252": (complex,)}  # stored as text or as other numbers


def _as_in_mbpp(row: dict, inputs: list) -> list:
    """The file holds lists where MBPP has tuples; its assertions show which, by argument and depth."""
    name = row["task_id"]
    if name in _NUMBERS:
        return [[kind(x) for kind, x in zip(_NUMBERS[name], arguments, strict=True)] for arguments in inputs]
    if name in _AS_STORED:
        return inputs
    kinds: dict[tuple[int, int], set] = {}
    for node in ast.walk(ast.parse(row["assertion"])):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == row["entry_point"]:
            for i, argument in enumerate(node.args):
                _note_kinds(argument, i, 0, kinds)

    def convert(value, i: int, depth: int, above: bool):
        if isinstance(value, dict):
            return {k: convert(v, i, depth + 1, False) for k, v in value.items()}
        if not isinstance(value, list):
            return value
        tuples = kinds.get((i, depth)) == {ast.Tuple} and not (depth and name in _OUTERMOST)
        tuples = tuples or (above and name in _ALL_THE_WAY)
        inner = [convert(v, i, depth + 1, tuples) for v in value]
        return tuple(inner) if tuples else inner

    return [[convert(a, i, 0, False) for i, a in enumerate(arguments)] for arguments in inputs]


def _note_kinds(node: ast.expr, i: int, depth: int, kinds: dict) -> None:
    if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
        kinds.setdefault((i, depth), set()).add(type(node))
        for inner in node.values if isinstance(node, ast.Dict) else node.elts:
            _note_kinds(inner, i, depth + 1, kinds)


# ---- asking and reading -----------------------------------------------------------------------------------


def question(task: Task) -> str:
    """What a chat model is asked."""
    return (
        f"Write the Python function `{task.entry}`. Answer with one ```python block that holds the whole function "
        f"and what it imports.\n\n```python\n{task.prompt.strip()}\n```"
    )


def opening(task: Task) -> str:
    """What a base model continues."""
    return task.prompt.rstrip() + "\n"


def program(task: Task, text: str, chat: bool) -> str:
    """The program that a completion spells: the prompt continued, or what an answer's code block defines."""
    if not chat:
        ends = [text.find(stop) for stop in STOPS[task.set]]
        text = text[: min((e for e in ends if e >= 0), default=len(text))]
        return opening(task) + text if task.set == "humanevalplus" else _definitions(text, task)
    asked = re.compile(rf"^[^\S\n]*def {re.escape(task.entry)}\b", re.M)
    for block in _blocks(text):
        if asked.search(block):
            return task.opening + _definitions(textwrap.dedent(block), task)
    first = re.search(r"^(?:def |class |import \w|from [\w.]+ import |@\w)", text, re.M)
    return task.opening + _definitions(text[first.start() :] if first else text, task)


def _blocks(text: str) -> Iterator[str]:
    """What stands between fences, from a line that ends with ``` and a language to one that begins with ```."""
    block: list[str] | None = None
    for line in text.split("\n"):
        if block is None:
            block = [] if re.search(r"```[^`]*$", line) else None
        elif line.lstrip().startswith("```"):
            yield "\n".join([*block, ""])
            block = None
        else:
            block.append(line)
    if block:
        yield "\n".join(block)


def _definitions(text: str, task: Task) -> str:
    """Up to the first line after the function that is neither indented nor another definition: examples, prose."""
    lines, inside = text.split("\n"), False
    for i, line in enumerate(lines):
        if (
            inside
            and re.match(r"[^\s#@)\]}]", line)
            and not re.match(r"(def|class|import|from|async) ", line)
        ):
            return "\n".join(lines[:i]) + "\n"
        inside = inside or bool(re.match(rf"def {re.escape(task.entry)}\b", line))
    return text


@dataclass(frozen=True)
class Parsed:
    """A program that compiles: its text, a key that is equal for equal syntax trees, nodes of the function asked for."""

    code: str
    key: str
    operations: int


def parse(code: str, entry: str) -> Parsed | None:
    """None where the text is no program or has no such function at its top level."""
    if len(code) > LARGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
        for node in reversed(tree.body):
            if isinstance(node, ast.FunctionDef) and node.name == entry:
                count = sum(1 for _ in ast.walk(node))
                return Parsed(code, ast.dump(tree), count - 2 * (ast.get_docstring(node) is not None))
    except Exception:  # the parser, too, meets text of unknown origin: whatever it says, this is no program
        pass
    return None


# ---- judging ----------------------------------------------------------------------------------------------


class Unsound(Exception):
    """A task whose own reference solution does not pass its tests here. One line."""


def with_answers(task: Task, box: Sandbox, limits: Limits) -> Task:
    """The task with what the reference solution returns. Raises Unsound."""
    found = box.run(task.reference, task.entry, list(task.tests), limits)
    if found.status != "finished" or None in found.values:
        wrong = sorted({e for e in found.errors if e})
        raise Unsound(f"{task.name}: its reference solution {' '.join([found.status, *wrong])}")
    values = [str(v) for v in found.values]
    known = replace(task, expected=tuple(values), seconds=found.seconds)
    plain = lambda value: not value.startswith('{"digest"')
    if not all(_right(known, i, v, by_text=False) for i, v in enumerate(values) if plain(v)):
        raise Unsound(f"{task.name}: its reference solution is not right by its own rule")
    return known


def passed(task: Task, found: Outcome) -> np.ndarray:
    """Which tests [tests] a program passes. An answer counts once the program came back for more, or ended well."""
    return np.array([v is not None and _right(task, i, v) for i, v in enumerate(found.values)], bool)


def _right(task: Task, i: int, value: str, by_text: bool = True) -> bool:
    expected = task.expected[i]
    if by_text and value == expected:
        return True
    # much longer than the answer, or of many more parts, is no answer; reading it would only cost time
    if len(value) > 16 * len(expected) + 4096 or value.count(",") > 4 * expected.count(",") + 400:
        return False
    try:
        given, wanted = decode(json.loads(value)), decode(json.loads(expected))
        if isinstance(given, Opaque):
            return False
        rule = _RULES.get(task.name)
        return bool(
            rule(decode(json.loads(task.tests[i])), given, wanted, task)
            if rule
            else same(given, wanted, task.tolerance)
        )
    except Exception:  # made of what a program sent: nothing in it may end the judge's work
        return False


def same(given, wanted, tolerance: float = 0.0) -> bool:
    """Whether a value counts as the wanted one: see the module."""
    if given == wanted:
        return True
    return type(given) is type(wanted) and _close(given, wanted, tolerance)


def _close(given, wanted, tolerance: float) -> bool:
    if isinstance(wanted, list | tuple):
        inner = partial(_close, tolerance=tolerance)
        return type(given) is type(wanted) and len(given) == len(wanted) and all(map(inner, given, wanted))
    if isinstance(wanted, dict):
        return isinstance(given, dict) and given.keys() == wanted.keys() and all(
            _close(given[k], v, tolerance) for k, v in wanted.items()
        )  # fmt: skip
    if given == wanted:
        return True
    numbers = (int, float, complex)
    if not isinstance(given, numbers) or not isinstance(wanted, numbers):
        return False
    if not tolerance and not isinstance(wanted, float | complex):
        return False
    if isinstance(wanted, float) and isinstance(given, float) and math.isnan(wanted):
        return math.isnan(given)
    return abs(given - wanted) <= (tolerance or 1e-6) + 1e-7 * abs(wanted) < math.inf


def _zero(arguments, given, wanted, task) -> bool:
    return abs(sum(c * math.pow(given, k) for k, c in enumerate(arguments[0]))) <= task.tolerance


def _as_sets(arguments, given, wanted, task) -> bool:
    return set(given) == set(wanted)


def _found(arguments, given, wanted, task) -> bool:
    exists = wanted is not None
    return given == exists if isinstance(given, bool) else exists == (given is not None)


def _digits(arguments, given, wanted, task) -> bool:
    """Differences digit by digit, from the left or with leading zeros."""
    a, b = map(str, arguments)
    width = max(len(a), len(b))
    pairs = zip(a.zfill(width), b.zfill(width), strict=True)
    return given in (wanted, sum(abs(int(x) - int(y)) for x, y in pairs))


def _pyramid(arguments, given, wanted, task) -> bool:
    """The height along a face, or from the base to the top."""
    edge, height = arguments
    return given in (wanted, round(edge**2 + 2 * edge * math.hypot(edge / 2, height)))


_RULES: dict[str, Callable] = {
    "HumanEval/32": _zero,
    **dict.fromkeys(
        ("Mbpp/2", "Mbpp/7", "Mbpp/111", "Mbpp/140", "Mbpp/232", "Mbpp/579", "Mbpp/769"), _as_sets
    ),
    **dict.fromkeys(("Mbpp/737", "Mbpp/787", "Mbpp/794"), _found),
    "Mbpp/558": _digits,
    "Mbpp/581": _pyramid,
}
