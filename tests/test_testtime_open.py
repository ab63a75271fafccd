"""Open models: a tiny randomly initialised one, a scripted one, verifiers with known scores, the command line."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from scalinglaws.__main__ import main
from scalinglaws.studies.artefacts import packed
from scalinglaws.testtime import answers, open_load, open_models, open_run, open_verifiers, search, tree
from scalinglaws.testtime.answers import Form, Question, boxed, hashes, last_number, lenient, same_answer
from scalinglaws.testtime.open_models import OpenEngine, split_steps

pytest.importorskip("transformers")

CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</{{ m['role'] }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A two-layer Llama over bytes with its tokenizer, saved in a folder, as a hub model would be."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    symbols = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(symbols), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        eos_token_id=0, bos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


class Script:
    """A writer that draws its next step from a list; the third step boxes what was drawn and ends."""

    def __init__(self, seed=0):
        self.rng, self.limits = np.random.default_rng(seed), []

    class tokenizer:
        chat_template = "<{problem}>"

        def __new__(cls, text, add_special_tokens=False):
            return {"input_ids": text.split()}

        @staticmethod
        def apply_chat_template(turns, **how):
            return f"<{turns[-1]['content']}>"

    def write(self, texts, temperature, stop, limit):
        out = []
        self.limits.append(limit)
        for text in texts:
            done, wrote = len(split_steps(text.split(">", 1)[1])), ""
            while done < 3:
                good = int(self.rng.random() < 0.5) if temperature else 1
                wrote += (
                    f"step {'good' if good else 'bad'}\n\n"
                    if done < 2
                    else f"so \\boxed{{{'2/4' if good else 7}}}"
                )
                done += 1
                if stop is not None and done < 3:
                    break
            out.append((wrote, len(wrote.split()), done == 3))
        return out


class Known:
    """A verifier with known scores: the share of good steps."""

    def __init__(self):
        self.asked = []

    def scores(self, question, steps):
        self.asked.append((question, tuple(steps)))
        return [np.mean(["good" in s or "2/4" in s for s in steps[: k + 1]]) for k in range(len(steps))]


QUESTIONS = [Question("one", "\\frac{1}{2}"), Question("two", "0.5")]


def test_answers_are_compared_by_meaning():
    assert same_answer("\\frac{1}{2}", "0.5")
    assert same_answer("x+1", "1+x")
    assert not same_answer("3", "4")
    assert boxed("so \\boxed{\\frac{1}{2}} and \\boxed{a{b}c} end") == "a{b}c"
    assert boxed("\\boxed{open") is None
    assert boxed("nothing") is None


@pytest.mark.parametrize(
    ("read", "text", "answer"),
    [
        (hashes, "so it is 18.\n#### $1,234.50 dollars", "1234.50"),
        (hashes, "#### 3 and then #### −4", "-4"),
        (hashes, "the answer is 18", None),
        (hashes, "####", None),
        (last_number, "first 3, then 1,200.", "1200"),
        (last_number, "it costs $.50", ".50"),
        (last_number, "none at all", None),
        (lenient, "first 3\n#### 4\nthen 5", "4"),
        (lenient, "first 3, then 5", "5"),
    ],
)
def test_a_number_is_read_where_the_form_says(read, text, answer):
    assert read(text) == answer


def test_a_form_asks_with_worked_examples_that_end_as_it_wants():
    shots = (Question("1 + 1?", "2", "One and one."),)
    turns = Form("hashes", "Q: {problem}", shots).turns("2 + 2?")
    assert [t["content"] for t in turns] == ["Q: 1 + 1?", "One and one.\n#### 2", "Q: 2 + 2?"]
    assert Form("hashes").read(Form("hashes").told(shots[0])) == "2"
    assert Form("boxed").read(Form("boxed").told(shots[0])) == "2"
    assert Form("last-number").read(Form("last-number").told(shots[0])) == "2"
    for bad, said in ((("guess", ""), "there are boxed, hashes, last-number, lenient"), (("boxed", "Do it."), "needs {problem}"),
                      (("boxed", "{x} {problem}"), "other than {problem}")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            Form(*bad)


def test_answers_that_cannot_be_read_are_counted_and_said(tmp_path):
    """A writer that never writes #### scores nothing, and a line says why."""
    form = Form("hashes")
    engine = OpenEngine(Script(), None, QUESTIONS, most=30, longest_step=3, form=form)
    about = {"model": "m", "prm": None, "data": "d", "seed": 0}
    table = open_run.run(engine, about, "best_of", 4, tmp_path)
    assert (table["unread"] == 1).all()
    assert (table["right"] == 0).all()
    assert "100 % of the finished solutions" in answers.said(form, 1.0)
    assert "--answer boxed or --answer last-number" in answers.said(form, 1.0)
    assert answers.said(form, 0.0) == ""


def test_questions_of_gsm8k_come_with_their_working(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text(
        '{"question": "q", "answer": "2 + 2 = <<2+2=4>>4 eggs.\\n#### 1,004"}\n{"problem": "p", "answer": 5}\n'
    )
    first, second = open_run.questions(str(path))
    assert (first.text, first.answer, first.solution) == ("q", "1004", "2 + 2 = 4 eggs.\n")
    assert (second.answer, second.solution) == ("5", "")
    form, left = open_run.form("some", [first, second], "hashes", None, 1)
    assert left == [first]
    assert form.shots == (second,)
    with pytest.raises(open_run.DataError, match="leave none to ask"):
        open_run.form("some", [first], None, None, 1)


def test_steps_are_never_empty():
    assert split_steps("a\n\n\n\nb\n\n") == ["a", "b"]


@pytest.mark.parametrize("method", [search.best_of, search.beam, search.diverse, tree.mcts])
def test_the_same_search_runs_on_text(method):
    engine = OpenEngine(Script(), Known(), QUESTIONS, most=30, longest_step=3)
    found = method(engine, [0, 1], 8)
    for i, f in enumerate(found):
        assert f.solutions
        assert f.generated <= 8 * 30
        # 2/4 means 1/2 means 0.5: answer number 0 is the right one
        assert all((a == 0) == ("2/4" in s) for a, s in zip(f.answers, f.solutions, strict=True))
        assert len(engine.known[i]) <= 2


def test_search_with_a_known_verifier_beats_chance():
    """A right answer is a coin; the verifier prefers it, so a beam finds it almost always."""
    engine = OpenEngine(Script(1), Known(), QUESTIONS * 30, most=30, longest_step=3)
    beams = search.beam(engine, list(range(60)), 8)
    assert np.mean([f.choose().get(0, 0.0) for f in beams]) > 0.9
    votes = search.best_of(OpenEngine(Script(1), None, QUESTIONS * 30, most=30), list(range(60)), 1)
    assert 0.25 < np.mean([f.choose().get(0, 0.0) for f in votes]) < 0.75


def test_equal_texts_are_read_once():
    judge = Known()
    engine = OpenEngine(Script(), judge, QUESTIONS, most=30, longest_step=3)
    rows = engine.begin([0, 0, 1], ["same\n\n", "same\n\n", "same\n\n"])
    engine.score(rows)
    assert len(judge.asked) == 2


def test_a_real_model_continues_texts_and_counts_its_tokens(tiny):
    writer = open_models.Transformers(str(tiny), batch=2)
    prompt = answers.asked(writer.tokenizer, Form(), "1 + 1?")
    assert prompt.startswith("<user>Solve")
    assert prompt.endswith("<assistant>")
    one = writer.write([prompt, prompt + "longer", "x"], 0.0, None, 12)
    assert len(one) == 3
    again = writer.write([prompt], 0.0, None, 12)
    assert again[0] == one[0]
    for text, tokens, ended in one:
        assert isinstance(text, str)
        assert tokens == 12 or ended
    assert writer.parameters == sum(p.numel() for p in writer.model.parameters()) > 10_000


def test_a_row_ends_at_its_own_stop(tiny):
    writer = open_models.Transformers(str(tiny))
    ids = writer.tokenizer("ab\n\ncd", add_special_tokens=False)["input_ids"]
    text, tokens, ended = writer._read(ids, "\n\n")
    assert (text, tokens, ended) == ("ab\n\n", 4, False)
    assert writer._read([*ids, 0, 0], None) == ("ab\n\ncd", 7, True)


def test_a_search_with_a_real_model_and_verifier_keeps_its_budget(tiny):
    judge = open_verifiers.open_verifier(str(tiny), "rlhflow")
    engine = OpenEngine(open_models.Transformers(str(tiny)), judge, QUESTIONS, most=24, longest_step=8)
    for method in (search.best_of, search.beam, tree.mcts):
        for f in method(engine, [0, 1], 4):
            assert f.generated <= 4 * 24


def test_a_chat_verifier_asks_one_step_a_turn(tiny):
    """Its scores are the softmax of + and − after each turn, computed here by hand."""
    import torch

    judge = open_verifiers.open_verifier(str(tiny), "rlhflow")
    found = judge.scores("Q", ["first", "second"])
    text = "<user>Q first</user><assistant>+</assistant><user>second</user><assistant>"
    ids = judge.tokenizer(text, add_special_tokens=False)["input_ids"]
    logits = judge.model(torch.tensor([ids])).logits[0, -1].float()
    plus, minus = (judge.tokenizer(t, add_special_tokens=False)["input_ids"][-1] for t in "+-")
    expected = torch.softmax(logits[[plus, minus]], -1)[0]
    assert found[1] == pytest.approx(expected.item(), rel=1e-4)
    assert len(found) == 2


def test_a_tag_verifier_reads_at_its_tags(tiny):
    judge = open_verifiers.open_verifier(str(tiny), "math-shepherd")
    found = judge.scores("Q", ["first", "second", "third"])
    assert len(found) == 3
    assert all(0 < p < 1 for p in found)
    shorter = judge.scores("Q", ["first"])
    assert found[0] == pytest.approx(shorter[0], rel=1e-4)


def test_a_verifier_of_no_known_family_is_named():
    with pytest.raises(open_verifiers.VerifierError, match="--prm-family rlhflow or math-shepherd"):
        open_verifiers.open_verifier("someone/some-model")


def test_a_price_is_two_flops_a_parameter_and_token():
    cost = open_run.price(1e9, 8e9, 500, 256, 512)
    assert cost.tokens == 500 * 256 * 512
    assert cost.flops == 2 * 9e9 * cost.tokens
    assert cost.memory == 18e9
    assert cost.hours(1e14) == pytest.approx(cost.flops / 3.6e17)


def test_a_run_is_stored_problem_by_problem_and_goes_on(tmp_path):
    about = {"model": "script", "prm": "known", "data": "two", "seed": 0}
    engine = OpenEngine(Script(), Known(), QUESTIONS, most=30, longest_step=3)

    class Broken(Script):
        def write(self, texts, *rest):
            if "two" in texts[0]:
                raise KeyboardInterrupt
            return super().write(texts, *rest)

    with pytest.raises(KeyboardInterrupt):
        open_run.run(
            OpenEngine(Broken(), Known(), QUESTIONS, most=30, longest_step=3), about, "beam", 4, tmp_path
        )
    said = []
    table = open_run.run(engine, about, "beam", 4, tmp_path, said.append)
    assert len(said) == 1
    assert said[0].startswith("problem 2")
    assert list(table["problem"]) == [0, 1]
    stored = pd.read_parquet(tmp_path / "searches-open.parquet")
    ours = packed("searches", "cpu", "testtime")
    assert list(stored.columns) == [*ours.columns, "unread", "texts"]
    assert (stored["unread"] == 0).all()
    assert all(any("boxed" in text for text in some) for some in stored["texts"])


def command(*arguments):
    """The command line in this process: exit code, what it printed, what it said on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["testtime", *map(str, arguments)])
        except SystemExit as error:  # argparse
            code = error.code
    return argparse.Namespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def test_the_command_line_end_to_end(tiny, tmp_path):
    data = tmp_path / "two.jsonl"
    data.write_text("\n".join(json.dumps({"problem": q.text, "answer": q.answer}) for q in QUESTIONS))
    options = ["--model", tiny, "--prm", tiny, "--prm-family", "rlhflow", "--data", data, "--method", "beam"]
    options += ["--budget", 4, "--tokens", 16, "--out", tmp_path / "out"]
    greedy = [
        *options[:2],
        *options[6:8],
        "--temperature",
        0,
        "--budget",
        1,
        "--tokens",
        8,
        "--out",
        tmp_path / "g",
    ]
    assert "best_of, N = 1, greedy: right 0.000" in command(*greedy).stdout
    dry = command(*options, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    size = open_models.Transformers(str(tiny)).parameters
    assert open_run.parameters(str(tiny)) == size
    tokens = 2 * 4 * 16
    assert f"{tokens:.1e} tokens, {2 * 2 * size * tokens:.1e} FLOPs" in dry.stdout
    assert not (tmp_path / "out").exists()
    done = command(*options)
    assert done.returncode == 0, done.stderr
    assert "beam, N = 4: right 0.000" in done.stdout
    assert len(pd.read_parquet(tmp_path / "out" / "searches-open.parquet")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "{tiny}", "--data", "nowhere.jsonl"], "no such file"),
        (["--model", "{tiny}", "--data", "{bad}"], "line 2: needs JSON"),
        (["--model", "{tiny}", "--data", "{good}", "--method", "swim"], "there are best_of"),
        (["--model", "{tiny}", "--data", "{good}", "--budget", "0"], "--budget must be at least 1"),
        (["--model", "{tiny}", "--data", "{good}", "--prm", "{tiny}"], "--prm-family"),
        (["--model", "/no/such/folder", "--data", "{good}"], "cannot load the model"),
        (
            ["--model", "{tiny}", "--data", "{good}", "--method", "beam"],
            "beam is guided by a verifier: give one with --prm",
        ),
        (["--model", "{tiny}", "--data", "{good}", "--method", "lookahead_1"], "guided by a verifier"),
        (
            ["--model", "{tiny}", "--data", "{good}", "--temperature", "0"],
            "--method best_of --budget 1 with it",
        ),
        (["--model", "{tiny}", "--data", "{good}", "--temperature", "-1"], "must be at least 0 (greedy)"),
        (
            ["--model", "{tiny}", "--data", "{good}", "--tokens", "2048"],
            "reads at most 2048 tokens, of which the longest",
        ),
        (["--model", "{tiny}", "--data", "{good}", "--tokens", "2048", "--dry-run"], "give --tokens 1"),
        (["--model", "{tiny}", "--data", "{latin}"], "line 2: not UTF-8"),
    ],
)
def test_bad_input_is_one_line(options, message, tiny, tmp_path):
    (tmp_path / "good.jsonl").write_text('{"problem": "1", "answer": "1"}\n')
    (tmp_path / "bad.jsonl").write_text('{"problem": "1", "answer": "1"}\n{"problem": 1\n')
    (tmp_path / "latin.jsonl").write_bytes(
        b'{"problem": "1", "answer": "1"}\n{"problem": "\xe9", "answer": "1"}\n'
    )
    names = {"tiny": tiny} | {n: tmp_path / f"{n}.jsonl" for n in ("good", "bad", "latin")}
    found = command(*[str(o).format(**names) for o in options])
    assert found.returncode == 2, found.stdout + found.stderr
    last = [x for x in found.stderr.splitlines() if x.startswith("scalinglaws")]
    assert len(last) == 1
    assert message in last[0]


# ---- strangers' files -------------------------------------------------------------------------------------


def test_questions_are_read_line_by_line(tmp_path):
    """Separators that Unicode knows are text inside a line; what is no question is told with its line."""
    path = tmp_path / "some.jsonl"
    text = "a\u2028b\u2029c\x85d\x0b"
    lines = [
        json.dumps({"problem": text, "answer": 2}, ensure_ascii=False),
        "",
        json.dumps({"problem": 1, "answer": "x"}),
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert open_run.questions(str(path)) == [Question(text, "2"), Question("1", "x")]
    for bad in (
        "[]", "3", '"x"', "null", '{"problem": 1}', '{"problem": null, "answer": 1}', '{"problem": [], "answer": 1}',
        '{"problem": "\\ud800", "answer": 1}', "[" * 100_000, "9" * 10_000, '{"problem": 1, "answer": 1',
    ):  # fmt: skip
        path.write_text(f"{lines[0]}\n{bad}\n")
        with pytest.raises(open_run.DataError, match=r"^some\.jsonl, line 2: needs JSON") as caught:
            open_run.questions(str(path))
        assert "\n" not in str(caught.value)


def damage(folder, how):
    """Break a model's folder in one way."""
    import torch
    from safetensors.torch import load_file, save_file

    config, weights, words = (folder / n for n in ("config.json", "model.safetensors", "tokenizer.json"))
    about = json.loads(config.read_text())
    if how == "no config":
        config.unlink()
    elif how == "config is no JSON":
        config.write_text("{")
    elif how == "config is a list":
        config.write_text("[]")
    elif how == "unknown kind":
        config.write_text(json.dumps(about | {"model_type": "nothing"}))
    elif how == "odd heads":
        config.write_text(json.dumps(about | {"num_attention_heads": 0}))
    elif how == "wrong kinds of number":
        config.write_text(json.dumps(about | {"hidden_size": "many"}))
    elif how == "other sizes":
        config.write_text(json.dumps(about | {"intermediate_size": 48}))
    elif how == "no weights":
        weights.unlink()
    elif how == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif how == "empty weights":
        weights.write_bytes(b"")
    elif how == "a weight is missing":
        tensors = load_file(weights)
        tensors.pop("model.layers.0.mlp.up_proj.weight")
        save_file(tensors, weights, metadata={"format": "pt"})
    elif how == "pickled weights":
        torch.save(load_file(weights), folder / "pytorch_model.bin")
        weights.unlink()
    elif how == "no tokenizer":
        words.unlink()
        (folder / "tokenizer_config.json").unlink()
    elif how == "cut tokenizer":
        words.write_text(words.read_text()[:200])
    elif how == "broken template":
        (folder / "chat_template.jinja").write_text("{% for m in %}")
    elif how == "template that raises":
        (folder / "chat_template.jinja").write_text("{{ raise_exception('no\\nno') }}")
    elif how == "binary config":
        config.write_bytes(bytes(range(256)))


@pytest.mark.parametrize(
    "how",
    [
        "no config", "config is no JSON", "config is a list", "unknown kind", "odd heads", "wrong kinds of number",
        "other sizes", "no weights", "cut weights", "empty weights", "a weight is missing", "pickled weights",
        "no tokenizer", "cut tokenizer", "broken template", "template that raises", "binary config",
    ],
)  # fmt: skip
def test_a_broken_model_folder_is_one_line(tiny, tmp_path, how):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    damage(folder, how)
    load = lambda name: (open_load.skeleton(name), open_models.Transformers(name))
    with pytest.raises(open_load.ModelError) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"cannot load the model {folder}: ")


def test_a_model_s_own_code_is_never_run(tiny, tmp_path, monkeypatch):
    """Not even where somebody answers yes to every question."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    folder, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny, folder)
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    names = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", None]}
    for file in ("config.json", "tokenizer_config.json"):
        about = json.loads((folder / file).read_text())
        (folder / file).write_text(
            json.dumps(about | {"auto_map": names, "model_type": "own", "tokenizer_class": "T"})
        )
    for load in (open_load.config, open_load.skeleton, open_load.tokenizer, open_load.model):
        with contextlib.suppress(open_load.ModelError):
            load(str(folder))
    with pytest.raises(open_load.ModelError):
        open_load.model(str(folder))
    assert not mark.exists()


def test_a_verifier_says_when_it_cannot_read_that_much(tiny):
    judge = open_verifiers.open_verifier(str(tiny), "math-shepherd")
    with pytest.raises(open_verifiers.VerifierError, match=r"reads at most 2048 tokens .*smaller --tokens"):
        judge.scores("Q" * 3000, ["step"])


def test_the_rate_is_measured_before_the_first_question_that_is_not_stored(tiny, tmp_path):
    data = tmp_path / "one.jsonl"
    data.write_text(json.dumps({"problem": "1+1", "answer": "2"}))
    options = ["--model", tiny, "--data", data, "--budget", 2, "--tokens", 8, "--out", tmp_path / "out"]
    assert "tokens a second" in command(*options).stderr
    assert "tokens a second" not in command(*options).stderr


def test_without_math_verify_one_line_names_it(tiny, tmp_path, monkeypatch):
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "math_verify" else there(name, *more)
    )
    found = command("--model", tiny, "--data", tmp_path / "none.jsonl")
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "pip install math-verify" in found.stderr
