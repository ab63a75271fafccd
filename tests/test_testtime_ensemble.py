"""Reading stored tables by seed, along revision chains, and guesses of difficulty: made-up tables with a known answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalinglaws.testtime import attempts, ensemble, guess, policy, readout, select, study
from scalinglaws.testtime.world import Problem

PROBLEMS, SAMPLES, RIGHT, WRONG = 10, 16, 7, 9
SHARE = np.linspace(1.0, 0.0, PROBLEMS)  # of right samples: problem 0 is the easiest


def piece(seed, proposer="base", flops=100.0, high=0.85):
    """One seed's samples and scores: the right answer 7 is one solution of score `high`, the wrong 9 one of .3."""
    samples, scores = [], []
    for problem, share in enumerate(SHARE):
        right = round(share * SAMPLES)
        where = {"world": "chain", "proposer": proposer, "seed": seed, "problem": problem}
        samples.append(where | {
            "answer": RIGHT, "right": right, "samples": SAMPLES, "greedy": share > 0.5, "difficulty": 1,
            "answers": np.array([RIGHT, WRONG]), "lengths": np.array([4, 6]), "flops_per_token": flops,
            "draws": np.array([0] * right + [1] * (SAMPLES - right)),
        })  # fmt: skip
        codes = study.encode(np.log([0.5, high, 0.5, 0.3]))
        scores.append(where | {"verifier": "mc", "codes": codes, "steps": np.array([2, 2])})
    return pd.DataFrame(samples), pd.DataFrame(scores)


def search_rows(seed, method, budget, right, verifier="mc", **more):
    about = {"world": "chain", "seed": seed, "method": method, "verifier": verifier, "budget": budget}
    cost = {"generated": 8.0, "scored": 12.0, "finals": 4.0, "unique": 2.0}
    return pd.DataFrame([about | cost | more | {"problem": p, "right": right} for p in range(PROBLEMS)])


@pytest.fixture(scope="module")
def tables():
    parts = [piece(s) for s in (3, 1)] + [piece(1, "large", 900.0)]
    samples, scores = (pd.concat(kind, ignore_index=True) for kind in zip(*parts, strict=True))
    searches = [search_rows(s, "beam", N, N / 16 + s / 100) for s in (1, 3) for N in (4, 16)]
    quality = [
        {"world": "chain", "proposer": "base", "seed": s, "verifier": "mc", "within": 0.8} for s in (1, 3)
    ]
    return {
        "samples": samples.sample(frac=1, random_state=0), "scores": scores,
        "searches": pd.concat(searches, ignore_index=True), "verifiers": pd.DataFrame(quality),
    }  # fmt: skip


@pytest.fixture(scope="module")
def chain(tables):
    return ensemble.load(tables)


def test_an_ensemble_has_its_seeds_in_order_and_its_problems_in_bins(chain):
    assert chain.seeds == [1, 3]
    assert (chain.problems, chain.stored, chain.budgets()) == (PROBLEMS, SAMPLES, [1, 4, 16])
    assert chain.searched_budgets() == [4, 16]
    for kind in ("oracle", "predicted"):
        assert chain.bins(kind).tolist() == [np.repeat(range(5), 2).tolist()] * 2
    np.testing.assert_allclose(chain.pass_1, np.round(SHARE * SAMPLES)[None].repeat(2, 0) / SAMPLES)


def test_curves_and_searches_are_seeds_by_budgets_by_problems(chain):
    one, every = chain.curve("majority", [1, 16])[:, 0], chain.curve("majority", [1, 16])[:, 1]
    np.testing.assert_allclose(one, chain.pass_1)
    np.testing.assert_allclose(every[0], SHARE > 0.5)
    # weighted by .85 and .3: the right answer wins with 5 of 16 samples or more; squared, with 2
    assert chain.curve("weighted", [16])[0, 0].sum() == (np.round(SHARE * 16) >= 5).sum()
    assert chain.curve("weighted", [16], power=2)[0, 0].sum() == (np.round(SHARE * 16) >= 2).sum()
    np.testing.assert_allclose(chain.coverage([16])[0, 0], SHARE > 0)
    np.testing.assert_allclose(chain.searched("beam")[:, :, 0], [[0.26, 1.01], [0.28, 1.03]])
    with pytest.raises(KeyError, match="no stored search dvts"):
        chain.searched("dvts")


def test_values_by_bin(chain):
    values = np.broadcast_to(np.arange(PROBLEMS, dtype=float), (2, PROBLEMS))
    assert chain.by_bin(values).tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert chain.by_bin(values[:, None]).shape == (1, 5)
    kept = chain.within(values, (1, 4))
    assert kept[~np.isnan(kept)].tolist() == [2, 3, 8, 9] * 2


def test_with_one_generation_every_strategy_is_one_sample(chain):
    A = chain.strategies(["weighted", "beam"])
    assert A.shape == (2, 2, 3, PROBLEMS)
    np.testing.assert_allclose(A[:, 0, 0], A[:, 1, 0])
    np.testing.assert_allclose(A[:, 0, 0], chain.pass_1)
    np.testing.assert_allclose(A[:, 1, 1:], chain.searched("beam"))
    best = chain.optimal(0, methods=["weighted", "beam"])
    assert (best[:, 2] > 1).all()  # the beam of 16 is made better than any sample


def test_missing_samples_are_named(tables):
    with pytest.raises(KeyError, match="no stored samples of nowhere"):
        ensemble.load(tables, "nowhere")
    with pytest.raises(KeyError, match="scored by orm"):
        ensemble.load(tables, verifier="orm")
    with pytest.raises(KeyError, match="no stored samples of chain, huge"):
        readout.greedy(tables["samples"], "chain", "huge")
    assert list(ensemble.one_seed(tables, 1, ["mc"])) == ["mc"]


def test_gains_of_beams_are_over_the_same_verifiers_vote(tables, chain):
    gains = ensemble.beam_gains(tables, 1)
    assert gains["N"].tolist() == [4, 16]
    vote = chain.curve("weighted", [4, 16])[0].mean(1)
    np.testing.assert_allclose(gains["gain"], np.array([0.26, 1.01]) - vote)
    assert gains["within"].unique().tolist() == [0.8]


def test_costs_of_a_search_and_of_sampling(chain):
    costs = ensemble.search_costs(chain, 4).set_index("method")
    assert costs.loc["beam", "flops"] == (8 + 12) * 100
    lengths = np.mean([v.lengths.mean() for v in chain.views.values()])
    assert costs.loc["weighted", ["generated", "scored", "finals"]].tolist() == [4 * lengths, 4 * lengths, 4]
    assert 1 <= costs.loc["weighted", "unique"] <= 2


def test_what_a_verifier_believes_of_its_favourite(chain):
    """Among all 16 it is the right solution (.85) wherever there is one, else the wrong (.3)."""
    some = (np.round(SHARE * SAMPLES) > 0).mean()
    assert chain.first.believed([16])[0] == pytest.approx(0.85 * some + 0.3 * (1 - some), abs=0.01)
    swapped = chain.first.replayed(-chain.first.last, "best", [16])[0]  # the lowest score chooses
    np.testing.assert_allclose(swapped, np.round(SHARE * SAMPLES) == SAMPLES)


def test_proposers_in_the_bins_of_their_base(tables):
    rows = readout.proposers(tables["samples"])
    assert rows["proposer"].tolist() == ["base", "large"]  # by cost
    assert rows["seeds"].tolist() == [2, 1]
    assert rows["greedy"].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(rows["by_bin"][0], np.round(SHARE * 16).reshape(5, 2).mean(1) / 16)
    right, flops = readout.greedy(tables["samples"], "chain")
    assert (right.shape, flops) == ((1, PROBLEMS), 900.0)
    answers = readout.bare_answers(tables["samples"], 1, "large")
    np.testing.assert_allclose((answers == RIGHT).sum(1), np.round(SHARE * SAMPLES))


def test_lines_and_bins_as_rows():
    line = readout.as_table({"a": ([1, 4], [0.1, 0.2], [0, 0], [1, 1])}, "method")
    assert line.to_dict("list")["N"] == [1, 4]
    assert line.columns.tolist() == ["method", "N", "accuracy", "low", "high"]
    bins = readout.bins_table(np.array([[0.1, 0.2], [0.3, 0.4]]), [1, 4], "attempts")
    assert bins.values.tolist() == [[1, 1, 0.1], [1, 2, 0.2], [4, 1, 0.3], [4, 2, 0.4]]


def test_a_band_is_over_problems_of_the_mean_seed():
    values = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])  # every problem one half in the mean
    mean, low, high = select.band(values, 50, 0)
    assert (mean.tolist(), low.tolist(), high.tolist()) == ([0.5], [0.5], [0.5])


# -- policies --------------------------------------------------------------------------------


def test_a_table_is_learnt_and_followed():
    bins = np.repeat(np.arange(5), 4)
    A = np.zeros((2, 2, 20))
    A[0, 0] = A[1, 1] = 1.0  # the first strategy at the first budget, the second at the second
    A[:, :, bins == 4] = A[::-1, :, bins == 4]  # and the other way in the hardest bin
    choice = policy.table(A, bins)
    assert choice.tolist() == [[0, 1]] * 4 + [[1, 0]]
    assert policy.apply(A, choice, bins).mean() == 1.0
    assert policy.apply(A, choice, 4 - bins)[:, bins == 0].mean() == 0.0


def test_cross_validation_is_that_of_each_seed():
    rng = np.random.default_rng(0)
    A, bins = rng.random((2, 3, 2, 40)), rng.integers(0, 5, (2, 40))
    found = policy.cross_validated(A, bins, 5)
    for k in range(2):
        alone = policy.compute_optimal(A[k], bins[k], policy.folds(40, 5 + k))
        np.testing.assert_array_equal(found[k], alone.accuracy)
    assert not np.array_equal(policy.cross_validated(A, bins, 5, 4 - bins), found)


def test_the_interval_of_an_efficiency():
    """Without spread it is a point, the factor of a curve that is a budget ahead; 0 where it is never reached."""
    baseline = np.broadcast_to(np.array([0.1, 0.2, 0.3])[:, None], (2, 3, 8))
    ahead = baseline + 0.1
    whole, interval = policy.efficiency_interval(ahead, baseline, [1, 4, 16], 2, 20, 0)
    assert (whole, *interval) == pytest.approx((4.0, 4.0, 4.0))
    assert policy.efficiency_interval(baseline, ahead, [1, 4, 16], 2, 20, 0) == (0.0, (0.0, 0.0))


# -- guesses ---------------------------------------------------------------------------------


def test_bins_from_few_scores(chain):
    assert (guess.by_scores(chain.first, SAMPLES) == chain.first.bins("predicted")).all()
    assert set(guess.by_scores(chain.first, 1)) == set(range(5))


def test_a_question_tells_its_length_and_operations_and_a_regression_finds_the_easy_ones():
    asked = [Problem((0,), 1, d, ((o,) * d,)) for d in (1, 2, 3, 4, 5) for o in (0, 1)]
    told = guess.features(asked, 3)
    assert told[-1].tolist() == [1, 5, 0, 5, 0]
    ease = -told[:, 1]  # short is easy
    fold = np.tile([0, 1, 1, 0], 3)[:10]
    assert guess.by_regression(told, ease, fold).tolist() == np.repeat(range(5), 2).tolist()


# -- revision --------------------------------------------------------------------------------


def made(right, answer=7, problems=1):
    """Chains of equal problems from their right attempts: a right one scores .8, a wrong one .2."""
    right = [np.array([r] * problems, bool) for r in right]
    answers = [np.where(r, answer, 9) for r in right]
    score = [np.log(np.where(r, 0.8, 0.2)) for r in right]
    return readout.Chains(answers, right, score, [np.zeros_like(r) for r in right], np.full(problems, answer))


LADDER = made([[0, 1, 1, 1], [0, 0], [1], [0]])


def test_along_a_chain_by_blocks():
    upto, share = attempts.along([LADDER])
    assert upto == [1, 2, 4]
    assert share.tolist() == [[0], [1], [1]]
    assert attempts.gain([LADDER], 0, slice(2, 4)).tolist() == [[0.75]]  # first attempts: one in four
    assert attempts.lengths(4) == [1, 2, 4]


def test_rates_of_the_first_revision_and_their_balance():
    found = made([[0, 1], [0, 0], [1, 0], [1, 1], [0, 1]])
    heals, flips = attempts.first_rates(found)
    assert (heals, flips) == pytest.approx((2 / 3, 1 / 2))
    assert attempts.balance(found) == pytest.approx(4 / 7)
    assert attempts.balance(made([[1, 1], [0, 0]])) == 0.0  # nothing moves
    moved = attempts.moves([found], 20, 0)
    assert moved["wrong_to_right"][0] == pytest.approx(2 / 3)


def test_sequence_against_parallel():
    in_line, side_by_side = attempts.two_ways([LADDER], 4, "majority")[:, 0, 0]
    assert (in_line, side_by_side) == (1.0, 0.0)
    every = attempts.ratios([LADDER], 4)
    assert every.shape == (3, 1, 1)
    assert every[-1, 0, 0] == in_line
    four = made([[0, 1, 1, 1], [0, 0], [1], [0]], problems=4)
    chosen = attempts.by_ratio([four] * 2, np.zeros((2, 4), int), [1, 4], 0)
    assert chosen.shape == (2, 2, 4)
    assert (chosen[:, 0] == 0.25).all()  # one attempt
    assert (chosen[:, 1] == 1.0).all()  # the long chain is best on either half


def test_a_mixture_is_chosen_elsewhere_and_never_an_extreme():
    A, bins, fold = np.zeros((4, 1, 8)), np.full((1, 8), 3), np.tile([0, 1], 4)
    A[0], A[3] = 1.0, 1.0  # the extremes are best, and not to be had
    A[2, 0] = 0.6
    A[1, 0] = np.where(fold == 1, 0.9, 0.1)
    found = attempts.mixture(A, bins, (3, 4), fold)
    assert found[0, fold == 0].tolist() == [0.1] * 4  # chosen in fold 1, where the second is best
    assert found[0, fold == 1].tolist() == [0.6] * 4


def test_revised_chains_by_what_they_were_trained_on(chain):
    rows = [
        {"world": "chain", "seed": s, "keep_right": keep, "chain": 0, "problem": p,
         "answers": np.array([RIGHT, WRONG]), "right": np.array([True, False]),
         "codes": study.encode(np.log([0.8, 0.2])), "verbatim": np.array([False, False])}
        for s, keep in ((3, 0.0), (1, 0.0), (1, 0.5)) for p in range(PROBLEMS)
    ]  # fmt: skip
    found = attempts.revised(pd.DataFrame(rows), chain)
    assert {keep: len(c) for keep, c in found.items()} == {0.0: 2, 0.5: 1}
    assert found[0.0][0].longest == 2
