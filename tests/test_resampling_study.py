"""The study: counts against a plain recount, votes by behaviour, plans that say what is wrong."""

import numpy as np
import pytest
import yaml

from scalinglaws.lm.store import StoreError
from scalinglaws.resampling import demonstration, language, pipeline, plan, study, tasks, writing
from scalinglaws.resampling.language import parse
from scalinglaws.studies import study as studies
from test_resampling_language import plain

MIX = tasks.Mix(seen=((1, 3),), unseen=((2, 3),), deep=((3, 2),), held_out=((2, 2),))


def words(text):
    return parse(text.split())


def test_a_tally_is_a_plain_recount():
    rng = np.random.default_rng(0)
    for task in tasks.draw_tasks(MIX, 1):
        near = [
            task.program,
            (*task.program, (language.NAMES["take"], 5)),
            words("sort"),
            words("take 5"),
            None,
        ]
        written = [near[i] for i in rng.integers(0, 5, 60)]
        row, _ = study.tally(task, written)
        inputs = language.unpack(*task.hidden)
        truth = [plain(task.program, x) for x in inputs]
        right = [p is not None and [plain(p, x) for x in inputs] == truth for p in written]
        assert (row["n"], row["c"], row["broken"]) == (60, sum(right), written.count(None))
        assert row["right_operations"] == sum(len(p) for p, ok in zip(written, right, strict=True) if ok)
        for m in tasks.VISIBLE:
            passed = [p is not None and [plain(p, x) for x in inputs[:m]] == truth[:m] for p in written]
            assert row[f"b{m}"] == sum(passed) >= row["c"]
            false = [p for p, a, b in zip(written, passed, right, strict=True) if a and not b]
            assert row[f"false{m}_operations"] == sum(map(len, false))


def test_votes_are_by_behaviour_not_by_spelling():
    """Three spellings of one right behaviour outvote two copies of a wrong one; a tie counts half."""
    task = tasks.describe(words("sort"), "seen", np.random.default_rng(2))
    same = [words("sort"), words("reverse sort"), words("descending reverse")]
    row, _ = study.tally(task, [*same, words("tail"), words("tail"), None])
    assert (row["c"], row["majority"]) == (3, 1.0)
    assert study.tally(task, [*same[:2], words("tail"), words("tail")])[0]["majority"] == 0.5
    assert study.tally(task, [words("tail"), words("init"), same[0]])[0]["majority"] == pytest.approx(1 / 3)
    nothing = study.tally(task, [None, None])[0]
    assert (nothing["c"], nothing["b1"], nothing["majority"], nothing["most3"]) == (0, 0, 0.0, 0.0)


def test_redundant_programs_are_counted_as_such():
    task = tasks.describe(words("sort"), "seen", np.random.default_rng(3))
    row, kept = study.tally(task, [words("sort"), words("reverse sort"), words("reverse sort")])
    assert (row["right_redundant"], row["right_operations"]) == (2, 5)
    assert kept[0] == {"kind": "right", "program": "reverse sort", "times": 2}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A study of seconds in an empty folder."""
    entry = {
        "tasks": {"seen": {1: 3}, "unseen": {2: 2}, "deep": {3: 2}, "held out": {2: 1}},
        "training": {"depths": [0.7, 0.3], "examples": 512},
        "samples": 8,
        "temperature": 0.8,
        "seeds": [0],
        "shown": ["a"],
        "models": {
            "a": {"shape": [1, 16, 1], "examples": 256, "learning_rate": 0.01, "batch": 64},
            "b": {"shape": [1, 16, 1], "examples": 512, "epochs": 2, "learning_rate": 0.01, "batch": 64},
        },
    }

    def write(**changes):
        (tmp_path / "data" / "studies").mkdir(parents=True, exist_ok=True)
        head = {
            "question": "?",
            "made_by": "scalinglaws.resampling.pipeline",
            "tables": ["counts", "programs"],
        }
        (tmp_path / "data" / "registry.toml").touch()
        file = tmp_path / "data" / "studies" / "resampling.yaml"
        file.write_text(yaml.safe_dump(head | {"profiles": {"tiny": {**entry, **changes}}}))
        monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))

    write()
    return write


def test_the_study_runs_and_goes_on(small, tmp_path):
    artefacts = studies.work("resampling", "tiny", tmp_path / "artefacts", say=lambda text: None)
    counts = artefacts.whole("counts")
    assert len(counts) == 2 * 8
    assert (counts["n"] == 8).all()
    assert (counts["c"] <= counts["b10"]).all()
    for small_m, large_m in zip(tasks.VISIBLE, tasks.VISIBLE[1:], strict=False):
        assert (counts[f"b{large_m}"] <= counts[f"b{small_m}"]).all()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "artefacts").rglob("*.parquet")}
    lost = next(p for p in made if p.parent.name == "counts")
    lost.unlink()
    again = studies.work("resampling", "tiny", tmp_path / "artefacts", say=lambda text: None)
    assert again.whole("counts").equals(counts)
    assert all(p.stat().st_mtime_ns == t for p, t in made.items() if p != lost)
    assert {"commit", "date", "processor", "seconds"} <= set(again.notes().columns)


def test_training_examples_show_nothing_that_is_kept_out(small, tmp_path):
    s = study.Study(plan.load("tiny"), 0, studies.load("resampling", "tiny").store(tmp_path))
    data = s.data()
    shown = []
    for row, weight in zip(data.tokens, data.weight, strict=True):
        shown.append(writing.read(row[weight > 0].tolist()))
    assert None not in shown
    assert not set(tasks.behaviours(shown)) & tasks.kept_out(s.tasks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {"a": {"shape": [1, 16, 1], "examples": 9999, "learning_rate": 0.01, "batch": 64}}},
         "model a: 9999 examples of 512"),
        ({"models": {"a": {"shape": [1, 16, 1], "examples": 1, "learning_rate": 0.01, "batch": 64, "sped": 1}}},
         "model a: unknown field 'sped'"),
        ({"models": {"a": {"shape": [1, 16, 1]}}}, "'examples' is missing"),
        ({"shown": ["c"]}, "shown names no model 'c'"),
        ({"tasks": {"seen": {1: 1}}}, "resampling.yaml: "),
    ],
)  # fmt: skip
def test_a_broken_plan_is_told_in_one_line(small, changes, message):
    small(**changes)
    with pytest.raises(plan.StudyError, match=message) as caught:
        plan.load("tiny")
    assert "\n" not in str(caught.value)


def test_published_models_write_what_the_trained_ones_do(small, tmp_path, monkeypatch):
    studies.work("resampling", "tiny", tmp_path / "artefacts", say=lambda text: None)
    (tmp_path / "data" / "resampling").mkdir(parents=True)
    monkeypatch.setattr(demonstration, "root", lambda: tmp_path)
    monkeypatch.setattr(demonstration, "data_file", lambda *parts: tmp_path.joinpath("data", *parts))
    with pytest.raises(StoreError, match="no models data/resampling"):
        demonstration.writers("tiny")
    demonstration.publish("tiny", tmp_path / "artefacts")
    artefacts = studies.load("resampling", "tiny").store(tmp_path / "artefacts")
    s = study.Study(plan.load("tiny"), 0, artefacts)
    name, stored = demonstration.writers("tiny").popitem()
    assert name == "a"
    prompts = [writing.prompt(t) for t in s.tasks]
    mine = writing.Writer(s.plan.models["a"].size, s.weights("a").half().float(), 0)
    assert np.array_equal(stored.write(prompts, 4), mine.write(prompts, 4))


def test_a_missing_profile_is_told(small):
    with pytest.raises(plan.StudyError, match="no profile 'cpu'; it has: tiny"):
        plan.load("cpu")


def test_committed_plans_load():
    for profile in ("cpu", "gpu", "smoke"):
        found = plan.load(profile)
        assert found.mix.size > 0
        assert len(found.models) >= 3
    assert tuple(demonstration.writers("cpu")) == plan.load("cpu").shown  # the smaller first


def test_examples_are_made_in_parts_and_are_the_same_for_every_size(small, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "PART", 200)
    store = studies.load("resampling", "tiny").store(tmp_path)
    s = study.Study(plan.load("tiny"), 0, store)
    assert s.parts == 3
    assert [j.name for j in pipeline.jobs(studies.load("resampling", "tiny").sizes, store)][:3] == [
        "data 0 0",
        "data 0 1",
        "data 0 2",
    ]
    whole, some = s.data(), s.data(256)
    assert len(whole) == 512
    assert (some.tokens == whole.tokens[:256, : some.tokens.shape[1]]).all()
    assert (some.weight == whole.weight[:256, : some.tokens.shape[1]]).all()
    assert len(np.unique(whole.tokens, axis=0)) > 500  # no part repeats another
    assert len(list((tmp_path / "data").glob("*.pickle"))) == 3
