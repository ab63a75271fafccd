"""Compute-optimal policies, exchange rates, revision data, stored pieces."""

from __future__ import annotations

import itertools
import multiprocessing as mp
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalinglaws.lm.examples import Recipe, Size, load, save
from scalinglaws.studies.artefacts import ArtefactStore
from scalinglaws.testtime import plan, policy, readout, revision, study
from scalinglaws.testtime.chain import Chain
from scalinglaws.testtime.proposer import Proposer, train
from scalinglaws.testtime.world import ATTEMPT, SOLVE


def test_bins_are_equal_shares_from_easy_to_hard():
    ease = np.array([0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4, 0.6, 0.0])
    bins = policy.quantile_bins(ease)
    assert [sorted(ease[bins == b].tolist(), reverse=True) for b in range(5)] == [
        [0.9, 0.8], [0.7, 0.6], [0.5, 0.4], [0.3, 0.2], [0.1, 0.0]
    ]  # fmt: skip


def test_the_policy_takes_what_is_best_elsewhere():
    """Two bins, two strategies, each best in one: the policy finds both; its choice never sees its own fold."""
    bins = np.repeat([0, 1], 50)
    A = np.zeros((2, 1, 100))
    A[0, 0, bins == 0] = A[1, 0, bins == 1] = 1.0
    fold = policy.folds(100, 0)
    found = policy.compute_optimal(A, bins, fold)
    assert found.accuracy.mean() == 1.0
    assert (found.choice[:, :, 0] == [[0, 1], [0, 1]]).all()
    assert policy.compute_optimal(A, bins, fold, shown=1 - bins).accuracy.mean() == 0.0


def test_cross_validation_gains_nothing_from_noise():
    rng = np.random.default_rng(1)
    gains = []
    for i in range(60):
        A = (rng.random((6, 1, 200)) < 0.5).astype(float)
        bins = rng.integers(0, 5, 200)
        gains.append(policy.compute_optimal(A, bins, policy.folds(200, i)).accuracy.mean() - 0.5)
        seen = max(A[:, 0, bins == 0].mean(1))
        assert seen >= 0.5
    assert abs(np.mean(gains)) < 4 * np.std(gains) / 60**0.5


def test_folds_are_halves():
    fold = policy.folds(501, 3)
    assert sorted(np.bincount(fold)) == [250, 251]


def test_efficiency_of_a_shifted_curve():
    """A policy that does with N/4 what the baseline does with N is four times as efficient."""
    budgets = np.array([1, 4, 16, 64, 256])
    baseline = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    shifted = np.array([0.2, 0.3, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(policy.efficiency(shifted, baseline, budgets)[1:], 4)
    np.testing.assert_allclose(policy.efficiency(baseline, baseline, budgets), 1)
    assert np.isnan(policy.efficiency(baseline, shifted, budgets)[-1])
    between = policy.efficiency(baseline, np.full(5, 0.25), budgets)
    np.testing.assert_allclose(between, budgets / 8)


@pytest.mark.parametrize(("version", "ratios"), [("v1", (0.16, 0.79, 22)), ("cr", (0.08, 0.40, 11))])
def test_the_exchange_rates_of_both_versions_are_the_papers_generations(version, ratios):
    """At M = 14 the paper places the stars at about 256, 64 and 16 generations."""
    for R, expected in zip(ratios, (256, 64, 16), strict=True):
        assert policy.multiplier(14, R, version) == pytest.approx(expected, rel=0.03)
    with pytest.raises(ValueError, match="v1, cr"):
        policy.multiplier(14, 1, "v2")


def test_the_exchange_rate_balances_flops():
    """6N·D_pre + 2N·n·D_inf of the small model = (6N·D_pre + 2N·D_inf)·M of the large one."""
    M, R, N, D = 14, 0.5, 1e9, 1e12
    n = policy.multiplier(M, R)
    assert 6 * N * D + 2 * N * n * R * D == pytest.approx(M * (6 * N * D + 2 * N * R * D))


def test_sharing_out_a_budget_against_all_ways():
    rng = np.random.default_rng(2)
    budgets, bins = np.array([1, 4, 16]), np.repeat(np.arange(3), 10)
    for _ in range(20):
        A = np.sort(rng.random((3, 30)), axis=0)
        # concave in the budget, so that the greedy choice is within one exchange of the best
        level = policy.share_out(A, budgets, bins, 7.0)
        value = lambda ks, A=A: sum(A[k, bins == b].sum() for b, k in enumerate(ks))
        allowed = [ks for ks in itertools.product(range(3), repeat=3) if budgets[list(ks)].mean() <= 7.0]
        assert budgets[level].mean() <= 7.0
        assert value(level) >= value((0, 0, 0))
        assert value(level) >= max(map(value, allowed)) - 10 * (A[2] - A[0]).max()
    easy = np.stack([np.full(30, 0.9), np.full(30, 0.9), np.where(bins == 2, 0.99, 0.9)])
    assert policy.share_out(easy, budgets, bins, 6.0).tolist() == [0, 0, 2]


def test_adaptive_allocation_gains_where_some_need_more_and_keeps_the_mean():
    """Bin 0 is right at once, bin 1 only with 16: at a mean of 10 the even split gets half, sharing out all."""
    budgets, bins = np.array([1, 4, 16]), np.repeat([0, 1], 50)
    A = np.stack([1.0 - bins, 1.0 - bins, np.ones(100)])
    fold = policy.folds(100, 1)
    found = policy.adaptive(A, budgets, bins, fold, mean_budget=10.0)
    assert found.mean() == 1.0
    poor = policy.adaptive(A, budgets, bins, fold, mean_budget=4.0)
    assert poor.mean() == 0.5


def test_misjudged_bins_are_off_by_so_many_and_stay_in_range():
    bins = np.repeat(np.arange(5), 2000)
    for by in (1, 2):
        all_wrong = policy.misjudged(bins, 1.0, by, np.random.default_rng(3))
        assert (abs(all_wrong - bins) == by).all()
        assert (all_wrong.min(), all_wrong.max()) == (0, 4)
        assert (all_wrong[bins == 2] > 2).mean() == pytest.approx(0.5, abs=0.05)
        some = policy.misjudged(bins, 0.3, by, np.random.default_rng(3))
        assert (some != bins).mean() == pytest.approx(0.3, abs=0.02)
    assert (policy.misjudged(bins, 0.0, 1, np.random.default_rng(3)) == bins).all()
    with pytest.raises(ValueError, match="bins 0 to 4 cannot all be moved by 3"):
        policy.misjudged(bins, 0.5, 3, np.random.default_rng(3))


# -- revision --------------------------------------------------------------------------------


def brute_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(
        brute_distance(a[1:], b) + 1,
        brute_distance(a, b[1:]) + 1,
        brute_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


def test_edit_distance_against_recursion():
    rng = np.random.default_rng(4)
    for _ in range(30):
        a, b = (tuple(rng.integers(0, 3, rng.integers(0, 6))) for _ in range(2))
        assert revision.edit_distance(a, b) == brute_distance(a, b)


@pytest.fixture(scope="module")
def proposer():
    world = Chain(values=5, operations=3, longest=2)
    size = Size(1, 32, 2)
    flat = train(world, size, Recipe(steps=120, batch=32, learning_rate=0.01))
    return Proposer(world, size.transformer(len(world.tokens)), flat, seed=1)


def test_revision_examples_show_wrong_attempts_and_learn_the_right_one(proposer):
    world = proposer.world
    problems = [world.problem(1, np.random.default_rng(i), True) for i in range(6)]
    data = revision.examples(proposer, problems, samples=64, each=4)
    assert len(data)
    by_prompt = {p.prompt: p for p in problems}
    for tokens, weight in zip(data.tokens.tolist(), data.weight, strict=True):
        start = int(np.flatnonzero(weight)[0])
        target = tuple(t for t, w in zip(tokens, weight, strict=True) if w)
        begin = max(i for i in range(start) if tokens[i] == 1)
        problem = by_prompt[tuple(tokens[begin:start])]
        assert tokens[start - 1] == SOLVE
        assert target[-1] == problem.answer
        before = tokens[:begin]
        cuts = [i for i, t in enumerate(before) if t == ATTEMPT]
        attempts = [
            tuple(before[i + 1 : j]) for i, j in zip(cuts, [*cuts[1:], begin][: len(cuts)], strict=True)
        ]
        assert len(attempts) <= revision.WINDOW
        assert all(a[-1] != problem.answer for a in attempts)
    kept = revision.examples(proposer, problems, samples=64, each=4, keep_right=1.0)
    row, weight = kept.tokens[0].tolist(), kept.weight[0]
    target = [t for t, w in zip(row, weight, strict=True) if w]
    assert " ".join(map(str, target)) in " ".join(map(str, row[: int(np.flatnonzero(weight)[0])]))


def test_chains_see_their_last_four_attempts(proposer, monkeypatch):
    problems = [proposer.world.problem(1, np.random.default_rng(9), True)]
    seen = []
    original = Proposer.complete

    def spy(self, contexts, *rest):
        seen.append([list(c).count(ATTEMPT) for c in contexts])
        return original(self, contexts, *rest)

    monkeypatch.setattr(Proposer, "complete", spy)
    lengths = revision.ladder(8)
    steps = revision.chains(proposer, problems, lengths)
    assert lengths == [8, 4, 2, 2, 1, 1, 1, 1]
    assert [len(s) for s in steps] == lengths
    assert max(seen[-1]) == 4
    assert seen[0] == [0] * 8
    for parallel in (1, 2, 4, 8):
        assert all(lengths[c] >= 8 // parallel for c in range(parallel))


def made_chains(answers, scores, answer):
    return readout.Chains(
        [np.array([a]) for a in answers], [np.array([a]) == answer for a in answers],
        [np.log(np.array([s])) for s in scores], [np.zeros((1, len(a)), bool) for a in answers], np.array([answer]),
    )  # fmt: skip


def test_hierarchical_and_flat_selection_differ_as_they_should():
    """Chain one holds 7 twice weakly; chain two 8 once strongly. Flat sums, hierarchical compares winners."""
    found = made_chains([[7, 7], [8, 9]], [[0.4, 0.4], [0.7, 0.1]], 7)
    assert found.accuracy(2, 4, "weighted", "flat")[0] == 1.0
    assert found.accuracy(2, 4, "weighted", "hierarchical")[0] == 0.0
    assert found.accuracy(2, 4, "majority", "flat")[0] == 1.0
    assert found.accuracy(1, 2)[0] == 1.0


def test_transitions_count_pairs_of_neighbours():
    found = made_chains([[7, 8, 7, 7], [8]], [[0.5] * 4, [0.5]], 7)
    counts = readout.transitions(found)
    assert counts["right_to_wrong"].tolist() == [[1, 2]]
    assert counts["wrong_to_right"].tolist() == [[1, 1]]
    value, (low, high) = readout.ratio_interval(np.array([[1, 2], [3, 4], [0, 2]]), 200, 0)
    assert value == 0.5
    assert low <= 0.5 <= high


def test_a_ratio_over_seeds_carries_their_spread():
    counts = np.stack([np.tile([[1, 4]], (50, 1)), np.tile([[2, 4]], (50, 1)), np.tile([[3, 4]], (50, 1))])
    value, (low, high) = readout.ratio_interval(counts, 500, 0)
    assert (value, low, high) == (0.5, 0.25, 0.75)  # problems alike: all spread is that of the seeds
    assert readout.ratio_interval(counts.mean(0), 500, 0)[1] == (0.5, 0.5)


# -- stored pieces ---------------------------------------------------------------------------


def test_scores_survive_storage_to_a_sixteenth_in_log_odds():
    p = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 0.999])
    back = np.exp(study.decode(study.encode(np.log(p))))
    odds = np.log(p / (1 - p))
    np.testing.assert_allclose(np.log(back / (1 - back)), odds, atol=1 / 16 + 1e-9)
    assert (np.diff(study.encode(np.log(p)).astype(int)) > 0).all()


def test_solutions_survive_storage():
    solutions = [(3, 4), (5,), (6, 7, 8)]
    flat, lengths = np.array([t for s in solutions for t in s]), np.array([2, 1, 3])
    assert study.cut(flat, lengths) == solutions


def test_a_piece_is_made_once_and_packed(tmp_path):
    artefacts, made = ArtefactStore("smoke", tmp_path, "testtime", ("searches",)), []

    def make():
        made.append(1)
        return pd.DataFrame({"x": [1, 2]})

    for _ in range(2):
        assert artefacts.table("searches", {"a": 1}, make)["x"].tolist() == [1, 2]
    artefacts.table("searches", {"a": 2}, make)
    assert len(made) == 2
    paths = artefacts.pack(tmp_path / "out")
    assert [p.name for p in paths] == ["searches-smoke.parquet", "provenance-smoke.parquet"]
    assert len(pd.read_parquet(paths[0])) == 4
    notes = pd.read_parquet(paths[1])
    assert set(notes["kind"]) == {"searches"}
    assert (notes["commit"].str.len() >= 7).all()


def test_rows_keep_their_order_whatever_code_made_them(tmp_path):
    """Packed tables are compared from commit to commit, and seeds of resampling fall on rows."""
    order = []
    for code in ("old", "new", "other"):
        store = ArtefactStore("cpu", tmp_path, "testtime", ("searches",), code)
        for a in (3, 1, 2):
            store.table("searches", {"a": a}, lambda a=a: pd.DataFrame({"x": [a]}))
        order.append(store.whole("searches")["x"].tolist())
    assert order == [[1, 2, 3]] * 3


def test_seconds_are_a_pieces_own(tmp_path):
    """A piece that has another made on the way does not count its seconds again."""
    artefacts = ArtefactStore("smoke", tmp_path, "testtime", ("searches",))

    def inner():
        time.sleep(0.6)
        return 1

    artefacts.artefact("verifier", {"a": 1}, lambda: artefacts.artefact("labels", {"a": 1}, inner))
    seconds = artefacts.notes().set_index("kind")["seconds"]
    assert seconds["labels"] >= 0.6
    assert seconds["verifier"] < 0.5


def test_a_failed_piece_leaves_nothing(tmp_path):
    artefacts = ArtefactStore("smoke", tmp_path, "testtime", ("searches",))
    with pytest.raises(RuntimeError, match="no luck"):
        artefacts.artefact("labels", {"a": 1}, lambda: (_ for _ in ()).throw(RuntimeError("no luck")))
    assert not artefacts.has("labels", {"a": 1})
    assert artefacts.artefact("labels", {"a": 1}, lambda: 7) == 7


def test_a_damaged_or_exchanged_piece_is_set_aside_and_made_again(tmp_path):
    artefacts = ArtefactStore("cpu", tmp_path, "testtime", ("searches",))
    artefacts.artefact("labels", {"a": 1}, lambda: "one")
    artefacts.artefact("labels", {"a": 2}, lambda: "two")
    one, two = artefacts._path("labels", {"a": 1}, ".pickle"), artefacts._path("labels", {"a": 2}, ".pickle")
    for content in (two.read_bytes(), one.read_bytes()[:-1], b"", b"x" * 100):
        one.write_bytes(content)
        assert artefacts.artefact("labels", {"a": 1}, lambda: "one") == "one"
        assert one.with_suffix(".damaged").read_bytes() == content
    artefacts.table("searches", {"a": 1}, lambda: pd.DataFrame({"x": [1]}))
    path = artefacts._path("searches", {"a": 1}, ".parquet")
    path.write_bytes(path.read_bytes()[:50])
    assert artefacts.table("searches", {"a": 1}, lambda: pd.DataFrame({"x": [2]}))["x"].tolist() == [2]


def test_an_artefact_of_a_class_that_is_gone_is_made_again(tmp_path, monkeypatch):
    artefacts = ArtefactStore("cpu", tmp_path, "testtime", ("searches",))
    artefacts.artefact("labels", {"a": 1}, lambda: Recipe(steps=1))
    monkeypatch.delattr("scalinglaws.lm.examples.Recipe")
    assert artefacts.artefact("labels", {"a": 1}, lambda: "again") == "again"


def test_artefacts_belong_to_the_code_that_made_them(tmp_path):
    for code in ("old", "new"):
        store = ArtefactStore("cpu", tmp_path, "testtime", ("searches",), code)
        assert store.artefact("labels", {"a": 1}, lambda code=code: code) == code
        assert set(store.notes()["code"]) == {code}


def _slow(folder: Path):
    def make():
        (folder / "started").touch()
        time.sleep(60)

    ArtefactStore("smoke", folder, "testtime", ("searches",)).artefact("labels", {"a": 1}, make)


def test_a_killed_piece_is_made_again_and_its_lock_is_free(tmp_path):
    process = mp.get_context("spawn").Process(target=_slow, args=(tmp_path,))
    process.start()
    while not (tmp_path / "started").exists():
        time.sleep(0.05)
        assert process.is_alive()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (
        ArtefactStore("smoke", tmp_path, "testtime", ("searches",)).artefact(
            "labels", {"a": 1}, lambda: "whole"
        )
        == "whole"
    )


def test_weights_travel_in_half_precision_with_what_they_are(tmp_path):
    import torch

    flat = torch.randn(100)
    save(tmp_path / "x.safetensors", {"flat": flat}, {"size": [1, 16, 2]})
    back, about = load(tmp_path / "x.safetensors")
    torch.testing.assert_close(back["flat"], flat, rtol=1e-3, atol=1e-3)
    assert about == {"size": [1, 16, 2]}


def test_plans_load_and_bad_ones_are_named():
    for profile in ("smoke", "cpu"):
        plans = plan.load(profile)
        assert set(plans) >= {"chain"}
        for p in plans.values():
            assert {v for e in p.searches for v in e["verifiers"]} <= set(p.verifiers)
            assert {e["method"] for e in p.searches} <= set(study.METHODS)
    with pytest.raises(plan.StudyError, match="no profile 'huge'; it has: cpu, smoke"):
        plan.load("huge")
    for entry, message in (
        ({"problems": 5}, "'proposers' is missing"),
        (
            {"proposers": {"base": {"shape": [1, 16, 2], "seeds": [0], "step": 3}}},
            "unknown field 'step'",
        ),
    ):
        with pytest.raises(plan.StudyError, match=message):
            plan.plans({"chain": entry})
