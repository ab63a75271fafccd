"""Open code models under resampling: answers read, hand-written programs counted, a tiny model end to end."""

import argparse
import contextlib
import io
import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalinglaws import commands, datasets
from scalinglaws.__main__ import main
from scalinglaws.commands import resample
from scalinglaws.resampling import codemodels, coders, estimators, evalplus, plain, sandbox
from scalinglaws.resampling.evalplus import program, same
from scalinglaws.resampling.sandbox import Sandbox
from test_testtime_open import tiny  # noqa: F401

pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("contained_here")


@pytest.fixture(scope="module")
def tasks():
    """Both sets by the function asked for, or a skip where the data cannot be had."""
    try:
        found = {t.name: t for name in evalplus.FILES for t in evalplus.load(name)}
    except datasets.DataMissing as error:
        if os.environ.get("SCALINGLAWS_REQUIRE_DATA"):
            raise
        pytest.skip(f"dataset missing (set SCALINGLAWS_MIRROR or run make data): {str(error).split(':')[0]}")
    assert len(found) == 164 + 378
    return found


def answered(task):
    with Sandbox() as box:
        return evalplus.with_answers(task, box, codemodels.REFERENCE)


def tallied(task, programs):
    written = [evalplus.parse(p, task.entry) for p in programs]
    limits = codemodels.limits_of(task, 1)
    return codemodels.tally(task, written, codemodels.judge(task, written, limits, 2))


# Ours, not the references: task, then (program, what becomes of it) …
PROGRAMS = {
    "HumanEval/13": [
        ("def greatest_common_divisor(a, b):\n    while b:\n        a, b = b, a % b\n    return a", "right"),
        ("import math\ndef greatest_common_divisor(a, b):\n    return math.gcd(a, b)", "right"),
        ("def greatest_common_divisor(a, b):\n    while a != b:\n        pass\n    return a", "timeout"),
    ],
    "HumanEval/31": [
        ("def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))", "right"),
        ("def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, min(n, 30)))", "false"),
        ("def is_prime(n):\n    return n % 2 == 1", "wrong"),
        ("def is_prime(n)\n    return True", "broken"),
    ],
    "HumanEval/35": [
        ("def max_element(l):\n    return sorted(l)[-1]", "right"),
        ("def max_element(l):\n    best = 0\n    for x in l:\n        if x > best:\n            best = x\n    return best", "false"),
    ],
    "HumanEval/23": [
        ("def strlen(string):\n    return sum(1 for _ in string)", "right"),
        ("def strlen(string):\n    return len(string.strip())", "false"),
        ("def length(string):\n    return len(string)", "broken"),
    ],
    "HumanEval/27": [
        ("def flip_case(s):\n    return ''.join(c.lower() if c.isupper() else c.upper() for c in s)", "right"),
        ("def flip_case(s):\n    return s.upper()", "wrong"),
        ("def flip_case(s):\n    raise SystemExit(0)", "wrong"),
    ],
    "HumanEval/42": [
        ("def incr_list(l):\n    for i in range(len(l)):\n        l[i] += 1\n    return l", "right"),  # changes its input
        ("def incr_list(l):\n    return tuple(x + 1 for x in l)", "wrong"),
        ("import numpy\ndef incr_list(l):\n    return list(numpy.array(l) + 1)", "broken"),
    ],
    "HumanEval/2": [
        ("def truncate_number(number):\n    return number % 1", "right"),
        ("def truncate_number(number):\n    return round(number % 1, 3)", "false"),
        ("def truncate_number(number):\n    return round(number % 1, 12)", "right"),  # within the tolerance
    ],
    "HumanEval/55": [
        ("def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a", "right"),
        ("def fib(n):\n    return round(((1 + 5**0.5) / 2) ** n / 5**0.5)", "false"),
        ("def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)", "false timeout"),
    ],
    "HumanEval/58": [
        ("def common(l1, l2):\n    return sorted({x for x in l1 if x in l2})", "right"),
        ("def common(l1, l2):\n    return sorted(x for x in l1 if x in l2)", "false"),
        ("def common(l1, l2):\n    return iter(sorted({x for x in l1 if x in l2}))", "wrong"),
    ],
    "HumanEval/3": [
        ("def below_zero(operations):\n    total = 0\n    for x in operations:\n        total += x\n        if total < 0:\n"
         "            return True\n    return False", "right"),
        ("def below_zero(operations):\n    return sum(operations) < 0", "wrong"),
        ("import os\ndef below_zero(operations):\n    os._exit(0)", "refused"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_hand_written_programs_are_counted_as_they_are(tasks, name):
    task = answered(tasks[name])
    repeated = [pair for i, pair in enumerate(PROGRAMS[name]) for _ in range(i + 1)]
    row, kept = tallied(task, [p for p, _ in repeated])
    kinds = [k for _, k in repeated]
    times = lambda word: sum(word in k for k in kinds)
    assert row["n"] == len(repeated)
    assert row["broken"] == times("broken")
    assert row["c"] == times("right")
    assert row["b"] == times("right") + times("false")
    assert row["timeouts"] == times("timeout")
    assert row["refused"] == times("refused")
    assert (
        row["n"] - row["broken"]
        >= row["b1"]
        >= row["b2"]
        >= row["b3"]
        >= row["b5"]
        >= row["b10"]
        >= row["b"]
        >= row["c"]
    )
    assert {(k["kind"], k["times"]) for k in kept} >= {("right", 1)}
    nodes = {p: evalplus.parse(p, task.entry).operations for p, k in repeated if "broken" not in k}
    assert row["right_operations"] == sum(nodes[p] for p, k in repeated if k == "right")
    assert row["false_operations"] == sum(nodes[p] for p, k in repeated if "false" in k)


def test_votes_are_by_behaviour(tasks):
    """Two spellings of the right behaviour outvote a wrong one; a program that never returns has no vote."""
    task = answered(tasks["HumanEval/35"])
    right = ["def max_element(l):\n    return max(l)", "def max_element(l):\n    return sorted(l)[-1]"]
    wrong = "def max_element(l):\n    return l[0]"
    never = "def max_element(l):\n    return missing"
    assert tallied(task, [*right, wrong, wrong, never, never, never])[0]["majority"] == 0.5
    assert tallied(task, [*right, wrong, never, never])[0]["majority"] == 1.0
    row = tallied(task, [never, "x ="])[0]
    assert (row["majority"], row["most1"], row["b1"], row["broken"]) == (0.0, 0.0, 0, 1)


def test_equal_programs_are_judged_once(tasks, monkeypatch):
    asked = []
    honest = Sandbox.run
    monkeypatch.setattr(
        Sandbox, "run", lambda self, code, *rest: asked.append(code) or honest(self, code, *rest)
    )
    task = answered(tasks["HumanEval/35"])
    asked.clear()
    spelt = [
        "def max_element(l):\n    return max(l)",
        "def max_element(l):\n\n    # the largest\n    return max( l )\n",
    ]
    row, _ = tallied(task, spelt * 3)
    assert (row["c"], len(asked)) == (6, 1)


# ---- reading what models write ----------------------------------------------------------------------------


def test_a_completion_ends_where_something_else_begins(tasks):
    task = tasks["HumanEval/35"]
    body = "    return max(l)\n"
    for rest in (
        "\n\nprint(max_element([1]))",
        "\ndef other():\n    return (",
        "\n```\nprose",
        '\nif __name__ == "x":\n    1',
    ):
        assert (
            program(task, body + rest, chat=False).rstrip() == (task.prompt.rstrip() + "\n" + body).rstrip()
        )
    assert evalplus.parse(program(task, "    return (", chat=False), task.entry) is None


ANSWERS = [
    "Sure!\n```python\n{code}\n```\nIt works: `max_element([1])`.",
    "```\n{code}\n\nprint(max_element([1, 2]))\nassert False\n```",
    "First a test:\n```python\nassert max_element([1]) == 1\n```\nthen\n```py\n{code}\n```",
    "1. Here:\n   ```python\n   {indented}\n   ```\n",
    "Here it is:\n\n{code}\n\nThat is all.",
    "```python\n{code}",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_function_is_found_in_an_answer(tasks, answer):
    task = tasks["HumanEval/35"]
    code = (
        "import math\n\ndef helper(x):\n    return x\n\ndef max_element(l):\n    return max(map(helper, l))"
    )
    text = answer.format(code=code, indented=code.replace("\n", "\n   "))
    found = program(task, text, chat=True)
    assert found.strip() == code
    assert tallied(answered(task), [found])[0]["c"] == 1


def test_an_answer_may_use_what_the_prompt_defines(tasks):
    """HumanEval/38's prompt holds the coder, its answer only the decoder; HumanEval/0's prompt imports List."""
    task = tasks["HumanEval/38"]
    assert "def encode_cyclic" in task.opening
    code = "```python\ndef decode_cyclic(s: str):\n    return encode_cyclic(encode_cyclic(s))\n```"
    assert tallied(answered(task), [program(task, code, chat=True)])[0]["c"] == 1
    assert tasks["HumanEval/0"].opening.strip() == "from typing import List"
    assert "max_element" in evalplus.question(tasks["HumanEval/35"])


def test_mbpp_completions_bring_their_function(tasks):
    task = tasks["Mbpp/4"]
    text = "import heapq\ndef heap_queue_largest(nums, n):\n    return heapq.nlargest(n, nums)\n\nassert 1\nx = 1"
    found = program(task, text, chat=False)
    assert found.rstrip().endswith("nlargest(n, nums)")
    assert tallied(answered(task), [found, "def g(): pass"])[0]["c"] == 1


@pytest.mark.parametrize(
    "code", ["", "x", "f(", "(" * 5000, "-" * 9000 + "1", "max_element = 3", "\0", "a = 1\n" * 9000]
)
def test_no_program_is_told(code):
    assert evalplus.parse(code, "max_element") is None


# ---- the data and the rules -------------------------------------------------------------------------------


def test_mbpp_inputs_have_the_types_of_mbpp(tasks):
    arguments = lambda name, i=0: plain.decode(json.loads(tasks[name].tests[i]))
    assert arguments("Mbpp/2") == [(3, 4, 5, 6), (5, 7, 4, 10)]
    assert arguments("Mbpp/63")[0][0] == (3, 5)
    assert arguments("Mbpp/124") == [0.0, 1j]
    assert arguments("Mbpp/252") == [1 + 0j]
    assert isinstance(arguments("Mbpp/580")[0][2][2], tuple)
    assert arguments("Mbpp/4") == [[25, 35, 22, 85, 14, 65, 75, 22, 58], 3]
    assert tasks["Mbpp/793"].base == len(tasks["Mbpp/793"].tests)
    assert [t.base for t in tasks.values()] == [len(x) for x in (t.tests[: t.base] for t in tasks.values())]


def test_values_are_compared_as_evalplus_does():
    assert same(1, 1.0)
    assert same(True, 1)
    assert not same([1], (1,))
    assert not same("1", 1)
    assert same(0.1 + 0.2, 0.3)
    assert same([(0.1 + 0.2, "a")], [(0.3, "a")])
    assert same({"a": 0.1 + 0.2}, {"a": 0.3})
    assert not same(0.30001, 0.3)
    assert same(0.30001, 0.3, 1e-4)
    assert not same(2, 2.0000001)  # another type
    assert not same(10**20 + 1, 10**20)
    assert same(float("inf"), float("inf"))
    assert not same(1e308, float("inf"))
    assert same(float("nan"), float("nan"))
    assert not same(None, 0)
    assert not same([1.0], [1.0, 2.0])


RULES = {
    "Mbpp/2": ("def similar_elements(a, b):\n    return [x for x in set(b) & set(a)]", "def similar_elements(a, b):\n    return list(a)"),
    "Mbpp/737": ("def check_str(s):\n    return s[:1].lower() in set('aeiou')", "def check_str(s):\n    return None"),
    "Mbpp/558": ("def digit_distance_nums(a, b):\n    w = max(len(str(a)), len(str(b)))\n"
                 "    return sum(abs(int(x) - int(y)) for x, y in zip(str(a).zfill(w), str(b).zfill(w)))", "def digit_distance_nums(a, b):\n    return 1"),
    "Mbpp/581": ("def surface_Area(b, h):\n    return round(b * b + 2 * b * ((b / 2) ** 2 + h * h) ** 0.5)", "def surface_Area(b, h):\n    return b * h"),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_some_tasks_have_rules_of_their_own(tasks, name):
    task = answered(tasks[name])
    found = tallied(task, RULES[name])[0]
    assert (found["c"], found["n"]) == (1, 2)


def test_any_zero_of_a_polynomial_is_right(tasks):
    task = replace(tasks["HumanEval/32"], tests=("[[-6,11,-6,1]]",), expected=("1.0",), base=1)
    right = lambda value: evalplus.passed(task, sandbox.Outcome("finished", (value,), (None,), 0.0)).all()
    assert [right(x) for x in ("1.0", "1", "2.0", "3.00001", "2.5", "[1]", '"1"')] == [True] * 4 + [False] * 3


def test_a_reference_that_fails_is_told_by_name(tasks):
    task = tasks["HumanEval/35"]
    with pytest.raises(evalplus.Unsound, match="HumanEval/35: its reference solution finished TypeError"):
        answered(replace(task, reference="def max_element(l):\n    return l + 1"))


# ---- runs -------------------------------------------------------------------------------------------------


class Script:
    """A writer that draws its bodies from a list."""

    chat = False

    def __init__(self, most=99):
        self.left, self.asked = most, []

    def write(self, text, count, temperature, stops, limit, seed):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked.append(text)
        bodies = [
            "    return True\n",
            "    return []\n",
            "    return (\n",
            "    s = sorted(numbers)\n    return any(b - a < threshold for a, b in zip(s, s[1:]))\n",
        ]
        return [bodies[i] for i in np.random.default_rng(seed).integers(4, size=count)]


SETTINGS = codemodels.Settings("script", "humanevalplus", 8, timeout=1)


def worked(tasks, folder, coder, settings=SETTINGS):
    run = codemodels.Run(settings, {"N": 7, "N_total": 9, "revision": "none"}, folder)
    return run.work(tasks, coder, 2, lambda text: None)


def test_a_killed_run_goes_on_to_the_same_counts(tasks, tmp_path):
    some = [tasks[f"HumanEval/{i}"] for i in (0, 3, 35)]
    whole = worked(some, tmp_path / "whole", Script)
    with pytest.raises(KeyboardInterrupt):
        worked(some, tmp_path / "cut", lambda: Script(1))
    assert not (tmp_path / "cut" / "counts.parquet").exists()
    assert len(list((tmp_path / "cut" / "tasks").iterdir())) == 1
    second = Script()
    pd.testing.assert_frame_equal(worked(some, tmp_path / "cut", lambda: second), whole)
    assert [t.rstrip().endswith('"""') for t in second.asked] == [True] * 2
    assert whole.loc[0, "c"] > 0
    assert (whole["n"] == 8).all()
    assert list(whole["task"]) == [t.name for t in some]
    # all there: nothing is loaded
    pd.testing.assert_frame_equal(worked(some, tmp_path / "cut", None), whole)
    facts = json.loads((tmp_path / "cut" / "provenance.json").read_text())
    assert facts.keys() >= {
        "commit",
        "date",
        "hardware",
        "packages",
        "revision",
        "N",
        "temperature",
        "left_out",
    }


def test_a_run_is_not_mixed_with_another(tasks, tmp_path):
    some = [tasks["HumanEval/0"]]
    worked(some, tmp_path, Script)
    with pytest.raises(codemodels.RunError, match="seed 0 instead of 1: give another --out"):
        worked(some, tmp_path, Script, replace(SETTINGS, seed=1))
    run = codemodels.Run(SETTINGS, {}, tmp_path)
    with run._held(), pytest.raises(codemodels.RunError, match="another process"):
        worked(some, tmp_path, Script)


def test_samples_are_added_to_a_finished_run(tasks, tmp_path):
    """What was drawn stays, what is new comes on top, and both are judged and voted on together."""
    some = [tasks[f"HumanEval/{i}"] for i in (0, 35)]
    texts = lambda: [
        json.loads(p.read_text())["texts"]
        for p in sorted((tmp_path / "tasks").iterdir(), key=lambda p: p.name)
    ]
    first = worked(some, tmp_path, Script)
    before = texts()
    with pytest.raises(KeyboardInterrupt):
        worked(some, tmp_path, lambda: Script(1), replace(SETTINGS, samples=20))
    more = worked(some, tmp_path, Script, replace(SETTINGS, samples=20))
    assert list(first["n"]) == [8, 8]
    assert list(more["n"]) == [20, 20]
    assert [t[:8] for t in texts()] == before
    assert all(len(t) == 20 for t in texts())
    for task, row, drawn in zip(some, more.to_dict("records"), texts(), strict=True):
        again, _ = tallied(answered(task), [program(task, t, chat=False) for t in drawn])
        assert {k: row[k] for k in again} == again
    with pytest.raises(codemodels.RunError, match="samples 20 instead of 8: give another --out"):
        worked(some, tmp_path, Script)
    path = tmp_path / "tasks" / "HumanEval-0.json"
    piece = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in piece.items() if k != "texts"}))
    with pytest.raises(codemodels.RunError, match="samples were not kept, so none can be added"):
        worked(some, tmp_path, Script, replace(SETTINGS, samples=30))
    path.write_text(json.dumps(piece)[:50])
    with pytest.raises(codemodels.RunError, match=r"HumanEval-0\.json is damaged: delete it"):
        worked(some, tmp_path, Script, replace(SETTINGS, samples=30))


def test_greedy_is_the_likeliest_continuation(tiny):  # noqa: F811
    import torch

    coder = coders.Transformers(str(tiny))
    (text,) = coder.write("def f(x):\n", 1, 0.0, [], 6, 0)
    assert coder.write("def f(x):\n", 1, 0.0, [], 6, 1) == [text]
    ids = coder.tokenizer("def f(x):\n", add_special_tokens=False)["input_ids"]
    start = len(ids)
    for _ in range(6):
        ids.append(int(coder.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert text == coder.tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_a_left_out_task_is_told_and_not_counted(tasks, tmp_path, monkeypatch):
    some = [
        replace(tasks["HumanEval/35"], reference="def max_element(l):\n    return g(l)"),
        tasks["HumanEval/0"],
    ]
    assert list(worked(some, tmp_path, Script)["task"]) == ["HumanEval/0"]
    assert codemodels.Run(SETTINGS, {}, tmp_path).left_out() == [
        "HumanEval/35: its reference solution finished NameError"
    ]


def test_the_summary_is_that_of_the_estimators():
    counts = pd.DataFrame({"n": [4, 4, 4], "b": [2, 4, 0], "c": [1, 4, 0]})
    text = codemodels.summary(counts)
    assert f"pass@1{'':18}{5 / 12:.3f} (" in text
    assert ") on 2 tasks; between 0.500 and 0.833" in text
    low, high = estimators.task_bootstrap(
        lambda b, c: estimators.ceiling(b, c).passed,
        [counts["b"].to_numpy(), counts["c"].to_numpy()],
        codemodels.RESAMPLES,
        0,
    )
    assert f"0.750 ({low:.3f} to {high:.3f})" in text
    best = estimators.best_budget(counts["n"], counts["b"], counts["c"], 2)
    assert f"K* = {best.K} (" in text
    nothing = codemodels.summary(counts.assign(b=0, c=0))
    assert "0.000 (0.000 to 0.000;" in nothing
    assert "– (–) on 0 tasks" in nothing


def command(*arguments):
    """The command line in this process: exit code, what it printed, what it said on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["resample", *map(str, arguments)])
    return argparse.Namespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.mark.long
def test_a_tiny_model_end_to_end(tiny, tasks, tmp_path):  # noqa: F811
    options = [
        "--model",
        tiny,
        "--tasks",
        "humanevalplus",
        "--limit",
        2,
        "--samples",
        4,
        "--max-tokens",
        24,
        "--batch",
        3,
    ]
    out = tmp_path / "out"
    done = command(*options, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "accuracy given a pass" in done.stdout
    assert "HumanEval/1 (2 of 2)" in done.stderr
    counts = pd.read_parquet(out / "counts.parquet")
    assert list(counts["n"]) == [4, 4]
    model = coders.Transformers(str(tiny)).model
    embeddings = model.get_input_embeddings().weight.numel() + model.lm_head.weight.numel()
    assert (counts["N"] == sum(p.numel() for p in model.parameters()) - embeddings).all()
    (out / "tasks" / "HumanEval-1.json").unlink()
    (out / "counts.parquet").unlink()
    again = command(*options, "--out", out)
    assert again.returncode == 0, again.stderr
    assert "HumanEval/0 (" not in again.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(out / "counts.parquet"), counts)
    other = command(*options, "--out", out, "--seed", 1)
    assert other.returncode == 2
    assert "seed 0 instead of 1: give another --out" in other.stderr


def test_samples_depend_on_the_seed_alone(tiny):  # noqa: F811
    coder = coders.Transformers(str(tiny), batch=2)
    assert coder.chat
    draw = lambda seed: coder.write("def f(x):\n", 3, 0.8, ["\ndef "], 12, seed)
    first = draw(5)
    assert len(first) == 3
    assert len(set(first)) == 3
    assert first == draw(5) != draw(6)
    coder.chat = False
    assert len(coder.write("def f(x):\n", 1, 0.8, [], 12, 5)) == 1
    assert coder.prompt("why?") == "<user>why?</user><assistant>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model m", "the following arguments are required: --tasks"),
        ("--model m --tasks humanevalplus --samples -3", "--samples must be at least 1, got -3"),
        ("--model m --tasks humanevalplus --max-tokens 0", "--tokens must be at least 1"),
        ("--model m --tasks humanevalplus --temperature -1", "--temperature must be at least 0 (greedy)"),
        ("--model m --tasks humanevalplus --temperature 0 --samples 5", "greedy, every sample the same"),
        ("--model m --tasks humanevalplus --timeout nan", "--timeout must be above 0"),
        ("--model /no/such/folder --tasks mbppplus --limit 1", "no folder /no/such/folder"),
        ("", "the following arguments are required: --model, --tasks"),
        ("--model m --tasks spider", "invalid choice: 'spider'"),
    ],
)
def test_bad_input_is_one_line(options, message, tasks, capsys):
    try:
        code = main(["resample", *options.split()])
    except SystemExit as error:  # argparse
        code = error.code
    assert code == 2
    last = [x for x in capsys.readouterr().err.splitlines() if x.startswith("scalinglaws")]
    assert len(last) == 1
    assert message in last[0]


def test_greedy_and_the_context_on_the_command_line(tiny, tasks, tmp_path):  # noqa: F811
    options = ["--model", tiny, "--tasks", "humanevalplus", "--limit", 1, "--out", tmp_path / "out"]
    done = command(*options, "--temperature", 0, "--max-tokens", 8)
    assert done.returncode == 0, done.stderr
    assert "greedy, one sample a task" in done.stderr
    assert list(pd.read_parquet(tmp_path / "out" / "counts.parquet")["n"]) == [1]
    long = command(*options, "--max-tokens", 2000)
    assert long.returncode == 2
    assert long.stderr.count("\n") == 1
    assert "reads at most 2048 tokens, of which the longest question takes" in long.stderr
    fewer = int(long.stderr.split("give --max-tokens ")[1].split()[0])
    coder = coders.Transformers(str(tiny))
    asked = coder.prompt(evalplus.question(evalplus.load("humanevalplus", 1)[0]))
    assert fewer == 2048 - len(coder.tokenizer(asked, add_special_tokens=False)["input_ids"])


def test_missing_data_are_told(tiny, tmp_path, monkeypatch):  # noqa: F811
    for name in ("MIRROR", "CACHE"):
        monkeypatch.setenv(f"SCALINGLAWS_{name}", str(tmp_path))
    monkeypatch.setenv("SCALINGLAWS_OFFLINE", "1")
    monkeypatch.setattr(datasets.registry, "_missing", {})
    found = command("--model", tiny, "--tasks", "humanevalplus")
    assert found.returncode == 2
    assert "HumanEvalPlus-v0.1.10.jsonl.gz" in found.stderr
    assert found.stderr.count("\n") == 1


def test_without_a_sandbox_nothing_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "LAYERS", ("limits", "calls"))
    monkeypatch.setattr(codemodels, "sizes", lambda name: pytest.fail("the model was asked for"))
    parser = argparse.ArgumentParser()
    resample.register(parser.add_subparsers())
    options = parser.parse_args(
        ["resample", "--model", "m", "--tasks", "humanevalplus", "--out", str(tmp_path)]
    )
    with pytest.raises(commands.UserError, match=r"open: reading files\); needs Linux 5\.13"):
        resample.run(options)
    assert not list(tmp_path.iterdir())
