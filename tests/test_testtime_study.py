"""A tiny study end to end: what is stored, what is read back, what survives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from scalinglaws.paths import root
from scalinglaws.studies import study as studies
from scalinglaws.studies.artefacts import ArtefactStore, packed
from scalinglaws.testtime import demonstration, pipeline, plan, readout, search, select, study
from scalinglaws.testtime.worlds import worlds

KINDS = ("samples", "scores", "searches", "chains", "verifiers")
TINY = """
question: a tiny study
made_by: scalinglaws.testtime.pipeline
tables: [samples, scores, searches, chains, verifiers]
profiles:
  smoke:
    chain:
      problems: 16
      samples: 16
      difficulty: 32
      proposers:
        base: {shape: [1, 16, 1], steps: 60, batch: 32, learning_rate: .02, warmup: 5, seeds: [0, 1]}
        large: {shape: [1, 32, 1], steps: 60, batch: 32, learning_rate: .01, warmup: 5, seeds: [0]}
        answer: {shape: [1, 16, 1], steps: 20, learning_rate: .02, seeds: [0]}
      labels: {questions: 24, samples: 4, rollouts: 2, judge: mc}
      verifiers:
        mc: {head: factored, labels: rollout, steps: 5, batch: 16}
        plain: {head: plain, labels: exact, steps: 5, batch: 16, flip: .1, solutions: 40, seeds: [0]}
      searches:
        - {method: beam, verifiers: [mc], budgets: [4, 16]}
        - {method: dvts, verifiers: [plain], budgets: [4], seeds: [0]}
      revision:
        questions: 12
        samples: 8
        each: 2
        verifier: mc
        recipe: {steps: 5, batch: 8}
        chains: [[0.0, 6, [0, 1]]]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A root that holds nothing but the tiny plan."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "data" / "studies").mkdir(parents=True)
    (folder / "data" / "registry.toml").write_text((root() / "data" / "registry.toml").read_text())
    (folder / "data" / "studies" / "testtime.yaml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def tables(house):
    before = os.environ.get("SCALINGLAWS_ROOT")
    os.environ["SCALINGLAWS_ROOT"] = str(house)
    try:
        yield pipeline.tables("smoke")
    finally:
        os.environ.pop("SCALINGLAWS_ROOT")
        if before:
            os.environ["SCALINGLAWS_ROOT"] = before


def test_every_kind_of_table_is_made_with_its_provenance(tables):
    assert set(tables) == {*KINDS, "provenance"}
    pieces = tables["provenance"]
    assert set(pieces["kind"]) == {*KINDS, "proposer", "labels", "verifier", "revision"}
    assert pieces[["commit", "date", "processor", "torch"]].ne("").all().all()
    assert len(tables["samples"]) == 16 * 4
    assert len(tables["searches"]) == 16 * (2 * 2 + 1)
    assert tables["searches"].groupby(["method", "budget"])["generated"].mean().between(1, 16 * 20).all()


def test_a_second_call_makes_nothing(tables, house, monkeypatch):
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(house))
    made = []
    monkeypatch.setattr(ArtefactStore, "_held", lambda *_: made.append(1))
    again = pipeline.tables("smoke")
    assert not made
    for kind in (*KINDS, "provenance"):
        pd.testing.assert_frame_equal(again[kind], tables[kind])


def test_stored_samples_read_back_as_they_were_drawn(tables):
    """pass@1 from the draws, answers against the world, scores in range; N = 1 is pass@1 by every rule."""
    world, problems = worlds()["chain"], study.test_problems("chain", 16)
    found = readout.sampled(tables["samples"], tables["scores"], 0)
    raw = tables["samples"].query("proposer == 'base' and seed == 0").sort_values("problem")
    for i, row in enumerate(raw.itertuples()):
        distinct = study.cut(row.solutions, row.lengths)
        assert len(set(distinct)) == len(distinct)
        assert row.answer == problems[i].answer
        for j, d in enumerate(row.draws):
            assert found.answers[i, j] == world.answer(distinct[d])
            assert found.lengths[i, j] == len(distinct[d])
        assert (found.answers[i] == row.answer).sum() <= row.right <= row.samples == 32
        assert [len(s) for s in found.steps[i]] == [len(world.steps(s)) for s in distinct]
    share = (found.answers == found.answer[:, None]).mean(1)
    for rule in select.RULES:
        np.testing.assert_allclose(found.curve(rule, [1])[0], share)
    np.testing.assert_allclose(found.coverage([1])[0], share)
    assert (found.last <= 0).all()
    np.testing.assert_allclose(found.aggregated("last"), found.last)
    assert (found.aggregated("min") <= found.last + 1e-9).all()
    assert np.bincount(found.bins("predicted"), minlength=5).tolist() == [4, 3, 3, 3, 3]


def test_searches_and_chains_read_back(tables):
    accuracy, budgets = readout.searched(tables["searches"], "beam", 1)
    assert accuracy.shape == (2, 16)
    assert budgets.tolist() == [4, 16]
    assert ((accuracy >= 0) & (accuracy <= 1)).all()
    answer = readout.sampled(tables["samples"], tables["scores"], 0).answer
    chains = readout.chains(tables["chains"], answer, 0, 0.0)
    assert [r.shape for r in chains.right] == [(16, 6), (16, 3), (16, 2), (16, 1), (16, 1), (16, 1)]
    for a, r in zip(chains.answers, chains.right, strict=True):
        assert ((a == answer[:, None]) == r).all()
    assert not any(v[:, 0].any() for v in chains.verbatim)
    assert ((chains.accuracy(2, 6) >= 0) & (chains.accuracy(2, 6) <= 1)).all()
    with pytest.raises(KeyError, match="no stored search mcts"):
        readout.searched(tables["searches"], "mcts", 0)
    with pytest.raises(KeyError, match="seed 7"):
        readout.sampled(tables["samples"], tables["scores"], 7)
    with pytest.raises(KeyError, match=r"keep_right 0\.9"):
        readout.chains(tables["chains"], answer, 0, 0.9)


def test_verifiers_report_their_quality(tables):
    quality = tables["verifiers"].query("proposer == 'base'")
    assert set(quality["verifier"]) == {"mc", "plain"}
    for name in ("within", "pooled", "step"):
        assert quality[name].dropna().between(0, 1).all()
    assert quality.query("verifier == 'plain'")["solutions"].tolist() == [40]
    other = tables["verifiers"].query("proposer == 'large'")
    assert other["verifier"].tolist() == ["mc"]


def test_means_by_bin():
    A = np.arange(10.0).reshape(1, 10)
    bins = np.repeat(np.arange(5), 2)
    assert readout.by_bin(A, bins).tolist() == [[0.5, 2.5, 4.5, 6.5, 8.5]]


def command(house, *arguments):
    env = {**os.environ, "SCALINGLAWS_ROOT": str(house), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "scalinglaws", "study", *arguments],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.long
def test_a_killed_study_keeps_what_was_finished(house, tmp_path, monkeypatch):
    """Killed with everything it started; the same command goes on, packs, and the book can read the tables."""
    (tmp_path / "data" / "studies").mkdir(parents=True)
    for name in ("registry.toml", "studies/testtime.yaml"):
        (tmp_path / "data" / name).write_text((house / "data" / name).read_text())
    process = command(tmp_path, "testtime", "--profile", "smoke", "--workers", "2")
    artefacts = tmp_path / "_build" / "testtime" / "smoke"
    deadline = time.monotonic() + 120
    while len(done := [*artefacts.glob("*/*.pickle"), *artefacts.glob("*/*.parquet")]) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finished = {p: p.stat().st_mtime_ns for p in done}
    again = command(tmp_path, "testtime", "--profile", "smoke", "--workers", "2")
    out, error = again.communicate(timeout=240)
    assert again.returncode == 0, out + error
    assert {p: p.stat().st_mtime_ns for p in done} == finished
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(tmp_path))
    assert len(packed("searches", "smoke", "testtime")) == 16 * 5
    assert (tmp_path / "data" / "testtime" / "models-smoke.safetensors").is_file()
    with pytest.raises(Exception, match="study testtime --profile cpu"):
        packed("searches", "cpu", "testtime")


def test_published_models_write_what_the_trained_ones_do(tables, house, monkeypatch):
    """Half precision costs nothing that greedy decoding or a ranking would notice here."""
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(house))
    (house / "data" / "testtime").mkdir(exist_ok=True)
    demonstration.publish("smoke").rename(house / "data" / "testtime" / "models-cpu.safetensors")
    trained, stored = demonstration.models("smoke"), demonstration.models("cpu")
    problems = study.test_problems("chain", 16)
    for part in ("proposer", "reviser"):
        ours, theirs = (getattr(d, part)().solve(problems, 1, 0.0) for d in (trained, stored))
        assert (ours.tokens == theirs.tokens).mean() > 0.95
    solutions = [trained.world.reference(p) for p in problems]
    contexts = [p.prompt for p in problems]
    ours, theirs = (d.verifier().judge(contexts, solutions) for d in (trained, stored))
    written = np.isfinite(ours)
    np.testing.assert_allclose(theirs[written], ours[written], atol=0.05)
    found = search.beam(stored.engine(problems), range(16), 4)
    assert len(found) == 16
    with pytest.raises(Exception, match="models-gpu"):
        demonstration.models("gpu")


def test_a_broken_plan_is_one_line(house, tmp_path):
    (tmp_path / "data" / "studies").mkdir(parents=True)
    (tmp_path / "data" / "registry.toml").write_text("")
    (tmp_path / "data" / "studies" / "testtime.yaml").write_text(TINY.replace("head: plain", "head: round"))
    process = command(tmp_path, "testtime", "--profile", "smoke", "--workers", "1")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    assert error.splitlines()[-1].startswith("scalinglaws study: error: testtime.yaml, chain, verifier plain")


def test_plans_can_be_cut_to_a_world_and_seed(house, monkeypatch):
    monkeypatch.setenv("SCALINGLAWS_ROOT", str(house))
    assert set(plan.load("smoke")) == {"chain"}
    tiny = studies.load("testtime", "smoke")
    names = [j.name for j in pipeline.jobs(tiny.sizes, tiny.store(), seeds=[1])]
    assert names
    assert all(n.startswith("chain 1 ") for n in names)
    assert not pipeline.jobs(tiny.sizes, tiny.store(), worlds=["shortest_path"])
