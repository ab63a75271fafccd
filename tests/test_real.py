"""The study of a real model: its head against known truth, its readings against transformers, its pieces end to end."""

from __future__ import annotations

import importlib.util
import json
import os

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from scalinglaws import datasets
from scalinglaws.real import (
    choosing,
    evidence,
    head,
    live,
    luck,
    pipeline,
    reading,
    searching,
    thinking,
    verifying,
)
from scalinglaws.real.plan import plan
from scalinglaws.resampling.estimators import pass_at
from scalinglaws.studies.artefacts import ArtefactStore
from scalinglaws.studies.study import StudyError
from scalinglaws.testtime import embedded, open_own, open_run
from scalinglaws.testtime.verifier import auc
from test_testtime_open import tiny  # noqa: F401

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def drawn(n=4000, d=6, seed=0):
    rng = np.random.default_rng(seed)
    states, truth = rng.normal(2.0, [1, 3, 1, 1, 0.5, 1], (n, d)), np.array([1.5, -0.5, 0, 0, 2.0, 0])
    odds = (states - 2.0) @ truth - 1.0
    return states, rng.random(n) < expit(odds), odds, rng.integers(0, 40, n)


def test_a_head_finds_the_odds_that_made_the_labels():
    states, right, odds, problem = drawn()
    found = head.fit(states, right, problem)
    assert np.corrcoef(found.log_odds(states), odds)[0, 1] > 0.995
    assert np.polyfit(odds, found.log_odds(states), 1) == pytest.approx([1.0, 0.0], abs=0.15)
    assert auc(found.probability(states), right) > 0.8


def test_a_head_is_where_the_slope_is_nought_and_a_penalty_shrinks_it():
    states, right, _, _ = drawn(300)
    x = (states - states.mean(0)) / states.std(0)

    def loss(t, penalty):
        sign = np.where(right, 1.0, -1.0)
        return np.logaddexp(0, -sign * (x @ t[:-1] + t[-1])).sum() + penalty / 2 * t[:-1] @ t[:-1]

    sizes = []
    for penalty in (0.1, 10.0, 1000.0):
        found = head.fit_one(states, right, penalty)
        slope = approx_fprime(np.append(found.weight, found.bias), loss, 1e-6, penalty)
        assert np.abs(slope).max() < 0.05
        sizes.append(np.linalg.norm(found.weight))
    assert sizes[0] > sizes[1] > 5 * sizes[2]


def test_noise_gets_the_strongest_penalty_and_one_kind_the_base_rate():
    rng = np.random.default_rng(0)
    states, right = rng.normal(size=(400, 30)), rng.random(400) < 0.2
    assert head.fit(states, right, rng.integers(0, 20, 400)).penalty >= 1000
    none = head.fit(states, np.zeros(400, bool), rng.integers(0, 20, 400))
    assert none.probability(states) == pytest.approx(np.full(400, 0.5 / 401))


def test_states_and_opinions_are_those_of_transformers(tiny, monkeypatch):  # noqa: F811
    writer = open_own.Own(str(tiny), dtype="float32")
    monkeypatch.setattr(reading, "YES", ("y", " yes"))
    monkeypatch.setattr(reading, "NO", ("n", " no"))
    monkeypatch.setattr(reading, "ROWS", 2)
    solutions = ["a first one", "b", "", "a second, longer one", "two\nlines\n", "\nx"]
    states, opinions, lines = reading.read(writer, "Q?", solutions)
    model = transformers.LlamaForCausalLM.from_pretrained(tiny).eval()
    before, after = reading.judging(writer, "Q?")
    assert before == "<user>Q?</user><assistant>"
    assert after == f"</assistant><user>{reading.ASKED}</user><assistant>"
    for state, opinion, text in zip(states, opinions, solutions, strict=True):
        with torch.no_grad():
            whole = model(torch.tensor([writer.tokens(before + text + after)]), output_hidden_states=True)
        # ours is the normed stream without the last gains, which are 1 here
        want = whole.hidden_states[-1][0, len(writer.tokens(before + text)) - 1]
        assert np.allclose(state, want, atol=5e-3)
        odds = whole.logits[0, -1]
        y, n = (odds[writer.tokens(word)[0]] for word in "yn")
        assert opinion == pytest.approx(float(y - n), abs=2e-3)
    alone, nothing, _ = reading.read(writer, "Q?", solutions, ask=False)
    assert np.allclose(alone, states, atol=2e-3)
    assert not nothing.any()
    assert [len(states_of) for states_of in lines] == [1, 1, 1, 1, 2, 2]
    begun, _, _ = reading.read(writer, "Q?", ["two\n", "\n"], ask=False)
    assert np.allclose(lines[4], [begun[0], states[4]], atol=2e-3)
    assert np.allclose(lines[5], [begun[1], states[5]], atol=2e-3)


def test_a_plan_that_cannot_be_is_refused():
    with pytest.raises(StudyError, match="unknown field 'sample'; did you mean 'samples'"):
        plan({"model": "m", "sample": 3})
    with pytest.raises(StudyError, match="missing"):
        plan({"model": "m"})


def test_what_luck_reaches_is_counted_by_hand():
    """Three problems, two answers each; the right answers are 1, 2 and 3."""
    answers = [["1", "2.0"], ["2", None], ["1", "x"]]
    counts = luck.hits(["1", "2", "3"], answers)
    assert counts.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert luck.by_luck(counts, 2, 1) == pytest.approx([1 / 4, 1 / 4, 0])
    assert luck.by_luck(counts, 2, 2) == pytest.approx([1 / 2, 1 / 2, 0])


def excess(counts, K):
    """Coverage with answers to the problems themselves, less what luck reaches."""
    return (pass_at(np.full(len(counts), 64), np.diag(counts), K) - luck.by_luck(counts, 64, K)).mean()


def test_a_model_that_does_not_read_the_question_is_all_luck_and_one_that_does_is_not():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 20, 100).astype(str).tolist()
    blind = rng.integers(0, 20, (100, 64)).astype(str)
    counts = luck.hits(reference, blind.tolist())
    assert abs(excess(counts, 16)) < 0.03
    assert luck.beyond(counts, 64).sum() == 0
    knows = np.where(rng.random((100, 64)) < 0.3, np.array(reference)[:, None], blind)
    counts = luck.hits(reference, knows.tolist())
    assert luck.beyond(counts, 64).mean() > 0.95
    assert excess(counts, 4) > 0.4


def table(answers, right):
    rows = [
        {
            "split": "test",
            "problem": i,
            "sample": j,
            "reference": "1",
            "answer": a,
            "right": r,
            "logp": -1.0,
            "tokens": 10 * j + (0 if r else 5),
            "text": "t",
        }
        for i, (some, good) in enumerate(zip(answers, right, strict=True))
        for j, (a, r) in enumerate(zip(some, good, strict=True))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_solutions_are_read_in_order_and_answers_are_numbered_by_meaning():
    answers = [["1", "1.0", "5", None], ["7", "7.00", "8", "x"]]
    right = [[True, True, False, False], [False] * 4]
    found = evidence.solutions(table(answers, right))
    assert found.numbered.tolist() == [[0, 0, 1, -1], [1, 1, 2, 3]]
    assert found.unread == 1 / 8
    assert found.counts[1].tolist() == [2, 0]
    assert found.chosen([4]).ravel() == pytest.approx([1.0, 0.0])
    named = evidence.solutions(table(answers, right).drop(columns="reference"), ["4", "5", "6"])
    assert named.reference == ("4", "5")
    assert named.first(1).reference == ("4",)
    assert named.first(1).right.tolist() == [right[0]]


def test_a_verifier_that_knows_is_told_from_one_that_does_not():
    right = np.array([[True, False, False], [False, True, False], [False, False, False]])
    assert choosing.knows(right * 1.0, right, 50, 0) == (1.0, (1.0, 1.0))
    assert choosing.knows(np.zeros((3, 3)), right, 50, 0) == (0.5, (0.5, 0.5))
    unread = np.where([[False, False, True]] * 3, -np.inf, 0.0)  # what cannot be read speaks for nobody
    assert choosing.knows(unread, right, 50, 0) == (0.5, (0.5, 0.5))
    assert choosing.knows(right * 1.0, np.zeros((3, 3), bool), 50, 0) == (0.5, (0.0, 1.0))


def test_what_verifiers_say_is_a_log_probability_and_what_cannot_be_read_is_never_chosen(monkeypatch):
    of = evidence.solutions(table([["1", "1.0", "5", None]], [[True, True, False, False]]))
    scores = pd.DataFrame({"problem": 0, "sample": range(4), "yes": [0.0, np.log(3), -50.0, 9.0]})
    scores = scores.assign(head=0.0, last=-1.0, min=-2.0, product=-5.0).sample(frac=1, random_state=3)
    monkeypatch.setattr(choosing.study, "tables", lambda name, profile: {"scores": scores})
    told = choosing.opinions("cpu", of)
    assert np.exp(told["frequency"][0]) == pytest.approx([1 / 3, 1 / 3, 0, 0], abs=1e-8)
    assert np.exp(told["yes"][0]) == pytest.approx([1 / 2, 3 / 4, 0, 0], abs=1e-8)
    assert np.exp(told["outcome"][0]) == pytest.approx([1 / 2, 1 / 2, 1 / 2, 0])
    assert [told[name][0, 0] for name in ("likelihood", "process", "min", "product")] == [-1, -1, -2, -5]
    assert all(score[0, 3] == -np.inf for score in told.values())
    assert choosing.best(of, told["yes"], [1, 2, 4]).tolist() == [[1 / 2, 1 / 2, 1]]
    sure = choosing.overconfidence(told["yes"], of.right, of.numbered >= 0)
    assert sure == pytest.approx([(1 / 2 + 3 / 4 + 0) / 3 - 2 / 3])
    assert choosing.longer(of).tolist() == [5.0 - 25.0]


def test_a_judge_of_numbers_knows_as_much_by_luck_and_a_judge_of_solutions_more():
    """Right answers are small numbers. One verifier likes small numbers, the other what is right."""
    rng = np.random.default_rng(2)
    answers = rng.integers(1, 40, (60, 64))
    reference = rng.integers(1, 8, 60)
    right = answers == reference[:, None]
    of = evidence.Solutions(
        tuple(map(str, reference)), answers.astype(str).astype(object), right, *(np.zeros(right.shape),) * 3
    )
    own, lucky = choosing.own_and_lucky(of, -answers + 0.1 * rng.random(right.shape))
    assert own.mean() > 0.8
    assert abs((own - lucky).mean()) < 0.03
    own, lucky = choosing.own_and_lucky(of, right + 0.1 * rng.random(right.shape))
    assert own.mean() == 1.0
    assert abs(lucky.mean() - 0.5) < 0.05
    by_luck, gap, (low, high) = choosing.beyond_luck(of, right + 0.1 * rng.random(right.shape), 50, 0)
    assert abs(by_luck - 0.5) < 0.05
    assert 0.4 < low <= gap <= high < 0.6
    nothing = evidence.Solutions(of.reference, of.answers, right & False, *(np.zeros(right.shape),) * 3)
    assert choosing.beyond_luck(nothing, -answers, 50, 0) == (0.5, 0.0, (-1.0, 1.0))


def test_false_positives_are_held_against_right_programs_of_the_same_task_and_a_toy_run_without_any_shows_stored_ones(monkeypatch, capsys):
    def counts(split, c):
        return pd.DataFrame(
            {"split": split, "n": 9, "b": [4, 2, 3], "c": c, "false_operations": [40, 0, 36], "right_operations": [30, 8, 0]}
        )

    toy, stored = counts("a", [2, 2, 0]), pd.concat([counts("a", [0, 0, 0]), counts("b", [2, 2, 0])])
    monkeypatch.setattr(
        evidence.study, "tables", lambda name, profile: {"counts": toy if profile == "smoke" else stored}
    )
    monkeypatch.setattr(evidence, "possible", lambda profile, name: profile)
    found = evidence.programs("smoke")
    assert found["a"].counts["c"].tolist() == found["b"].counts["c"].tolist() == [2, 2, 0]
    assert capsys.readouterr().out == "b: no program of the toy run is right: stored results\n"
    assert found["a"].longer.tolist() == [40 / 2 - 30 / 2]


def test_without_the_model_a_toy_run_shows_what_is_stored_and_a_question_is_not_asked(monkeypatch, capsys):
    def missing():
        raise embedded.EmbeddedError("no package here")

    monkeypatch.setattr(embedded, "packaged", missing)
    assert evidence.possible("smoke", "smollm2") == "cpu"
    assert evidence.possible("gpu", "smollm2") == "gpu"
    assert live.ask("What is 1+1?") is None
    assert capsys.readouterr().out.count("no package here") == 2


SIZES = {
    "model": "",
    "problems": 3,
    "samples": 4,
    "training": 3,
    "training_samples": 4,
    "shots": 1,
    "together": 2,
    "tokens": 12,
}


@pytest.fixture
def world(tiny, tmp_path, monkeypatch):  # noqa: F811
    """A data set of sums instead of GSM8K, and the three studies over it with the tiny model."""
    path = tmp_path / "test.jsonl"
    path.write_text(
        "\n".join(json.dumps({"question": f"{i} + {i}?", "answer": f"Add.\n#### {2 * i}"}) for i in range(9))
    )
    monkeypatch.setattr(open_run.datasets, "fetch", lambda name: {"test.jsonl": path})
    stores = {name: ArtefactStore("smoke", tmp_path / name, name, kinds) for name, kinds in (
        ("smollm2", ("samples",)), ("smollm2_training", ("samples",)), ("smollm2_verifiers", ("scores", "heads")), ("smollm2_thinking", ("searches", "chains")),
    )}  # fmt: skip
    monkeypatch.setattr(
        "scalinglaws.studies.study.tables",
        lambda name, profile: {k: stores[name].whole(k) for k in stores[name].kinds},
    )
    sizes = SIZES | {"model": str(tiny)}
    for user in (searching, verifying):
        monkeypatch.setattr(user, "load", lambda profile, name="": plan(sizes))
    makers = {
        "smollm2": lambda: pipeline.jobs(sizes | {"training_samples": 0}, stores["smollm2"]),
        "smollm2_training": lambda: pipeline.jobs(sizes | {"samples": 0}, stores["smollm2_training"]),
        "smollm2_verifiers": lambda: verifying.jobs(
            {"model": str(tiny), "together": 2}, stores["smollm2_verifiers"]
        ),
        "smollm2_thinking": lambda: searching.jobs(
            {
                "model": str(tiny),
                "problems": 3,
                "search": [["beam", 4]],
                "chains": 2,
                "rounds": 2,
                "together": 2,
            },
            stores["smollm2_thinking"],
        ),
    }
    return makers, stores


def test_the_studies_follow_from_one_another_and_are_the_same_a_second_time(world, monkeypatch):
    makers, stores = world
    first = {}
    for name, jobs in makers.items():
        for job in jobs():
            job.make()
        first |= {(name, kind): stores[name].whole(kind) for kind in stores[name].kinds}
    for name, split in (("smollm2", "test"), ("smollm2_training", "training")):
        samples = first[name, "samples"]
        assert set(samples["split"]) == {split}
        assert samples.groupby("problem").size().tolist() == [4] * 3
        assert (samples["logp"] < 0).all()
    scores = first["smollm2_verifiers", "scores"]
    assert len(scores) == 12
    assert np.isfinite(scores[["yes", "head", "last", "min", "product"]]).all(axis=None)
    assert (scores["product"] <= scores["min"]).all()
    assert (scores["min"] <= scores["last"]).all()
    chains = first["smollm2_thinking", "chains"]
    assert chains.groupby(["way", "round"]).size().tolist() == [6] * 6
    assert (chains["text"][(chains["way"] == "wait") & (chains["round"] == 2)].str.count("Wait,") == 2).all()
    assert first["smollm2_thinking", "searches"]["generated"].gt(0).all()

    monkeypatch.setattr(
        open_own.Own, "__init__", lambda *a, **k: pytest.fail("the model is loaded though all is stored")
    )
    for name, jobs in makers.items():
        for job in jobs():
            job.make()
        for kind in stores[name].kinds:
            pd.testing.assert_frame_equal(stores[name].whole(kind), first[name, kind])


def test_verifiers_are_trained_on_problems_that_are_never_asked(world):
    makers, stores = world
    for name in ("smollm2", "smollm2_training"):
        for job in makers[name]():
            job.make()
    own = verifying.Readings({"model": SIZES["model"], "together": 2}, stores["smollm2_verifiers"])
    told = pipeline.Study(plan(SIZES | {"model": "x"}), stores["smollm2"])
    asked, training, shots = told.questions("test"), told.questions("training"), told.form.shots
    texts = [q.text for q in (*asked, *training, *shots)]
    assert len(set(texts)) == len(texts) == 7
    assert own.problems("training").tolist() == [0, 1, 2]


@pytest.mark.long
def test_the_real_model_runs_through_its_studies(tmp_path):
    if importlib.util.find_spec(embedded.PACKAGE) is None:
        if os.environ.get("SCALINGLAWS_REQUIRE_MODEL"):
            pytest.fail(f"no packaged model: {embedded.INSTALL}")
        pytest.skip(f"no packaged model: {embedded.INSTALL}")
    try:
        datasets.fetch("gsm8k")
    except datasets.DataError:
        if os.environ.get("SCALINGLAWS_REQUIRE_DATA"):
            raise
        pytest.skip("dataset missing (set SCALINGLAWS_MIRROR or run make data)")
    sizes = {"model": "smollm2", "problems": 2, "samples": 4, "shots": 2, "tokens": 80}
    store = ArtefactStore("smoke", tmp_path, "smollm2", ("samples",))
    for job in pipeline.jobs(sizes, store):
        job.make()
    found = store.whole("samples")
    assert found["answer"].notna().mean() > 0.2  # worked examples teach it where the number goes
    assert found["logp"].between(-3, -0.1).all()


def test_chains_are_read_out_round_by_round_as_by_hand():
    rows = []
    told = {
        (0, 0): ("5", "1", "1"),
        (0, 1): ("5", "5", None),
        (1, 0): (None, None, None),
        (1, 1): ("1", "2", "2"),
    }
    for (problem, chain), answers in told.items():
        for turn, answer in enumerate(answers):
            rows.append(("wait", problem, chain, turn, answer == "1", answer, 10 + turn, "t"))
    columns = ["way", "problem", "chain", "round", "right", "answer", "tokens", "text"]
    found = thinking.chains(pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=1), "wait")
    assert [s.right.tolist() for s in found["last"]] == [[0, 0.5], [0.5, 0], [0.5, 0]]
    assert [s.right.tolist() for s in found["majority"]] == [[0, 0.5], [0.25, 0.25], [0.5, 0]]
    assert [s.right.tolist() for s in found["covered"]] == [[0, 0.5], [0.5, 0.5], [0.5, 0.5]]
    assert [s.tokens.tolist() for s in found["last"]] == [[10, 10], [21, 21], [33, 33]]
    # readable pairs of neighbouring rounds: 5→1, 1→1, 5→5, 1→2, 2→2
    assert thinking.changed(pd.DataFrame(rows, columns=columns), "wait") == pytest.approx(2 / 5)
    tokens, mean, low, high = thinking.curve(found["last"], 200, 0)
    assert tokens.tolist() == [10, 21, 33]
    assert mean.tolist() == [0.25, 0.25, 0.25]
    assert (low.tolist(), high.tolist()) == ([0, 0, 0], [0.5, 0.5, 0.5])


def test_ways_are_compared_at_equal_tokens():
    right = np.array([[True, False, False, False], [False] * 4])
    of = evidence.solutions(
        table([["1", "2", "3", "4"], ["2", "2", "3", "4"]], right).assign(tokens=100)
    )
    spent = thinking.parallel(of, [1, 2, 4], "covered")
    assert [s.mean for s in spent] == [(100, 1 / 8), (200, 1 / 4), (400, 1 / 2)]
    assert thinking.at(spent, 200).tolist() == [0.5, 0]
    assert thinking.at(spent, 200 * 2**0.5).tolist() == pytest.approx([0.75, 0])
    with pytest.raises(ValueError, match="outside of 100 to 400"):
        thinking.at(spent, 500)
    voted = thinking.parallel(of, [4])
    assert voted[0].right.tolist() == pytest.approx([0.25, 0])


def test_searches_are_told_apart():
    searches = pd.DataFrame(
        [("beam", 4, 1, 1.0, 30), ("beam", 4, 0, 0.5, 20), ("dvts", 4, 0, 0.0, 9), ("dvts", 4, 1, 0.0, 9)],
        columns=["method", "budget", "problem", "right", "generated"],
    )
    found = thinking.searched(searches)
    assert list(found) == [("beam", 4), ("dvts", 4)]
    assert found["beam", 4].right.tolist() == [0.5, 1.0]
    assert found["beam", 4].mean == (25.0, 0.75)
