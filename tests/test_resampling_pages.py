"""What the chapter's pages prepare from counts, on small worlds whose answers are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalinglaws.resampling import (
    contest,
    coverage,
    demonstration,
    evidence,
    isoquants,
    language,
    plan,
    prices,
    style,
    tasks,
    trends,
    writing,
)
from scalinglaws.resampling import readout as R
from scalinglaws.resampling.estimators import Best, best_budget, ceiling, reward
from scalinglaws.resampling.tasks import VISIBLE


def small(n, b, c, names=("a", "z"), seeds=None):
    """A ladder with the same b for every number of tests unless b is a dict."""
    n, c = (np.atleast_2d(x) for x in (n, c))
    b = {m: np.atleast_2d(b[m] if isinstance(b, dict) else b) for m in VISIBLE}
    task = pd.DataFrame({"task": range(c.shape[1]), "split": "seen", "depth": 1})
    return R.Ladder(np.array(names), np.zeros(len(names), int) if seeds is None else np.array(seeds), n, c, b, task)  # fmt: skip


TWO = small([[10] * 4] * 2, [[4, 0, 8, 2], [8, 5, 10, 4]], [[2, 0, 4, 2], [8, 5, 9, 0]])


def test_one_model_and_the_levels_of_all():
    of = small([[10, 10]] * 3, [[5, 5]] * 3, [[1, 1], [3, 3], [5, 5]], ("a", "a", "z"), (0, 1, 0))
    assert of.levels(of.pass_1) == pytest.approx([0.2, 0.5])
    assert of.model("a").seeds.tolist() == [0, 1]


# ---- published lines and trends ---------------------------------------------------------------------------------


def test_a_line_is_found_with_its_ends():
    x = np.array([0.1, 0.2, 0.4, 0.8])
    found = trends.line(pd.DataFrame({"pass_1": x, "conditional": 0.7 + 0.2 * x}))
    assert found.drawn == pytest.approx((0.2, 0.7, 0.1, 0.8))
    assert found.r == pytest.approx(1)


def test_the_pair_that_carries_a_correlation_is_found():
    rng = np.random.default_rng(0)
    x = np.r_[rng.uniform(0.5, 0.7, 10), 0.05, 0.06]
    y = np.r_[rng.uniform(0.8, 0.84, 10), 0.5, 0.51]
    table = pd.DataFrame({"pass_1": x, "conditional": y})
    r, (low, high) = trends.worst_pair(table)
    assert trends.line(table).r > 0.95
    assert r <= np.corrcoef(x[:10], y[:10])[0, 1] + 1e-12
    assert low < r < high


def rising():
    """Three models, all of whose wrong programs pass half of the time; a task that only the best ones pass."""
    c = np.array([[10, 20, 0], [20, 40, 0], [40, 60, 50]])
    n = np.full((3, 3), 100)
    return small(n, c + (n - c) // 2 * np.array([1, 1, 0]), c, ("a", "m", "z"))


def test_slopes_on_all_and_on_common_tasks_and_of_the_rate_within():
    of = rising()
    whole, common, within = trends.measures(of, (1,))[0]
    assert whole == pytest.approx(np.polyfit(of.pass_1, of.conditional(1), 1)[0])
    assert common == pytest.approx(np.polyfit(of.pass_1, of.tasks([0, 1]).conditional(1), 1)[0])
    assert within == pytest.approx(0)
    assert trends.measures(of).shape == (len(VISIBLE), 3)


def test_each_model_is_left_out_with_its_seeds():
    of = rising()
    pair = of.models([0, 2])
    assert trends.without_each(of)[1] == pytest.approx(
        np.diff(pair.conditional(1))[0] / np.diff(pair.pass_1)[0]
    )
    assert len(trends.without_each(small([[9] * 2] * 3, [[3] * 2] * 3, [[1] * 2] * 3, ("a", "a", "z")))) == 2


def test_the_slope_of_poorly_tested_tasks_and_of_the_others():
    of = rising()
    assert R.poorly_tested(of, 1).tolist() == [True, True, False]
    steep, rest = trends.steep_and_rest(of)
    assert steep == pytest.approx(trends.measures(of, (1,))[0][1])
    assert np.isnan(rest)  # one model alone passes there


def test_null_worlds_keep_the_right_samples_and_lose_the_trend_beyond():
    of = rising()
    worlds = trends.null_worlds(of, (1, 3), 4, np.random.default_rng(0))
    assert {m: len(w) for m, w in worlds.items()} == {1: 4, 3: 4}
    assert all((w.c == of.c).all() for w in worlds[1])
    drawn = [trends.beyond_null(of, 1, np.random.default_rng(s)) for s in range(200)]
    assert np.mean(drawn) == pytest.approx(0, abs=0.03)  # here the truth is a null world


def test_answers_that_are_no_programs_do_not_count_as_wrong_programs():
    table = pd.DataFrame({"model": ["a", "a"], "n": [10, 10], "c": [2, 0], "broken": [4, 5], "b1": [4, 1]})
    assert trends.spelt_rate(table)["a"] == pytest.approx(3 / 9)


def test_the_figures_points_carry_their_number_of_tests():
    of = rising()
    table = trends.points(of, {1: np.zeros(3), 10: np.ones(3)})
    assert table["tests"].tolist() == [1] * 3 + [10] * 3
    assert table["null"].tolist() == [0] * 3 + [1] * 3
    assert table["conditional"][:3].to_numpy() == pytest.approx(of.conditional(1))


# ---- ceilings ---------------------------------------------------------------------------------------------------


def test_the_contest_is_between_the_weakest_and_the_strongest():
    found = contest.contest(TWO, 1)
    assert (found.top, found.low, found.high) == pytest.approx((0.55, 0.5, 0.75))
    assert contest.filled(TWO, 1, contest.ends(TWO)[1]) == pytest.approx(ceiling(TWO.b[1][1], TWO.c[1]).low)
    assert contest.above(TWO, 1) == pytest.approx(-0.2)
    assert contest.lead(TWO, 1) == pytest.approx(0.55 - 2 / 3)
    assert contest.lead_on_common(TWO) == pytest.approx(17 / 30 - 2 / 3)


@pytest.mark.parametrize(("top", "word"), [(0.9, "shown"), (0.5, "undecided"), (0.2, "refuted")])
def test_the_word_follows_the_bounds(top, word):
    assert contest.Contest(top, 0.3, 0.6).word == word


def test_perfect_tests_lift_a_user_by_what_wrong_programs_took():
    b = {m: TWO.b[1] if m < 10 else TWO.c for m in VISIBLE}
    of = small(TWO.n, b, TWO.c)
    weak, lead = contest.gain(of)
    assert weak == pytest.approx(0.75 - 0.5)  # three of four tasks are ever solved
    assert lead == pytest.approx((0.75 - 0.75) - ((1 + 1 + 0.9) / 4 - 0.5))
    assert contest.lead_on_fixed(of, 10) == pytest.approx(0)
    assert contest.lead_on_fixed(of, 1) == pytest.approx((1 + 0.9) / 2 - 0.5)


# ---- discoveries and prices -------------------------------------------------------------------------------------


def test_groups_of_samples_double_and_end_at_n():
    assert prices.groups(10) == [(0, 1), (1, 2), (2, 4), (4, 8), (8, 10)]
    assert prices.groups(8)[-1] == (4, 8)


def test_the_first_sample_is_wrong_as_often_as_a_passing_one_and_late_ones_are_of_hard_tasks():
    of = small([[100, 100]], [[90, 4]], [[90, 0]], ("a",))
    parts = prices.groups(100)
    rates = prices.found_in(of, parts)
    assert rates[0, 0] == pytest.approx(4 / 94)
    assert rates[0, -1] == pytest.approx(1)
    assert prices.rise(of, parts) == pytest.approx(1 - 4 / 94)


def test_thirds_of_the_tasks_by_how_often_programs_pass():
    of = small([[10] * 7], [[0, 1, 1, 5, 5, 9, 9]], [[0, 0, 0, 5, 0, 9, 9]], ("a",))
    found = prices.by_ease(of)
    assert list(found.values()) == pytest.approx([1.0, 0.5, 0.0])


def test_best_budgets_and_their_table():
    of = small([[20] * 30] * 2, [[10] * 30] * 2, [[9] * 30, [2] * 30], ("a", "a"), (0, 1))
    found = prices.best_budgets(of, 1, (0, 4))
    assert found[0][0] == best_budget(of.n[0], of.b[1][0], of.c[0], 0)
    assert isinstance(found[4][1], Best)
    assert found[4][1].K == 0
    table = prices.budget_table(of, 1, (0, 20), 20, 0)
    assert len(table) == 1  # the first seed only
    assert table["λ = 20"][0] == "0 (0 to 0)"
    assert table["λ = 0"][0].startswith("11")


def test_a_budget_at_the_end_of_the_range_is_marked():
    of = small([[5] * 9], [[1] * 9], [[1] * 9], ("a",))
    assert prices.budget_table(of, 1, (1,), 20, 0)["λ = 1"][0] == "≥ 5 (5 to 5+)"


def test_kinds_of_budgets_are_counted_once():
    assert prices.kinds(np.array([0, 0, 1, 9, 10, 199, 200]), 200) == "2 / 2 / 2 / 1"


def test_reward_lines_begin_with_nothing_drawn():
    K, value = prices.reward_lines(TWO, 1, (2,))[2]
    assert K.tolist() == list(range(11))
    assert value[0] == 0
    assert value[3] == pytest.approx(reward(TWO.n[0], TWO.b[1][0], TWO.c[0], 3, 2).mean())


def test_classes_have_the_mean_rates_of_their_tasks():
    of = small([[10] * 4], [[8, 8, 4, 4]], [[6, 6, 2, 0]], ("a",))
    assert prices.halves(of).tolist() == [True, True, False, False]
    hard, easy = prices.classes(of, 1, prices.halves(of))
    assert (easy.share, easy.right, easy.false) == pytest.approx((0.5, 0.6, 0.5))
    assert (hard.right, hard.false) == pytest.approx((0.1, (2 / 8 + 4 / 10) / 2))


# ---- style ------------------------------------------------------------------------------------------------------


def written(gap, tasks=30):
    """Counts in which false programs have `gap[depth]` operations more than right ones, at depths 1 and 2."""
    rows = []
    for model, sign in (("a", 1), ("z", 1)):
        for t in range(tasks):
            depth = 1 + t % 2
            rows.append({"model": model, "seed": 0, "task": t, "depth": depth, "c": 5, "b1": 9, "right_operations": 5 * depth,
                         "false1_operations": 4 * (depth + sign * gap[depth])})  # fmt: skip
    return pd.DataFrame(rows)


def test_style_by_depth_and_over_models():
    table = written({1: 2.0, 2: -1.0})
    found = style.by_depth(table, 1, "operations")
    assert {d: t["matched"].tolist() for d, t in found.items()} == {1: [2.0, 2.0], 2: [-1.0, -1.0]}
    assert list(style.by_depth(table, 1, "operations", fewest=16)) == [1]
    whole, (low, high) = style.over_models(table, 1, "operations", 50, 0)
    assert whole == pytest.approx(0.5)
    assert low < 0.5 < high
    assert style.over_models(table.assign(c=0), 1, "operations", 50, 0)[0] == 0


def test_the_lowest_interval_is_that_of_one_model():
    table = pd.DataFrame({"matched": [0.2, 0.3], "low": [0.1, -0.1], "high": [0.3, 0.7]})
    assert style.lowest(table) == (0.3, (-0.1, 0.7))


# ---- coverage ---------------------------------------------------------------------------------------------------


def test_forecasts_from_few_samples_meet_a_beta_law():
    rng = np.random.default_rng(1)
    n = np.full(3000, 2000)
    c = rng.binomial(n, rng.beta(0.5, 5, 3000))
    K = np.unique(np.geomspace(1, 2000, 20).astype(int))
    found = coverage.forecast(n, c, 100, K[K <= 100], K, rng)
    truth = coverage.curve(n, c, K)
    assert found.by_beta == pytest.approx(coverage.fit_coverage(K, truth).exponent, rel=0.05)
    assert found.end_beta == pytest.approx(truth[-1], abs=0.02)
    assert found.end_power == pytest.approx(truth[-1], abs=0.02)
    assert found.directly == pytest.approx(found.by_beta, rel=0.1)


def test_a_power_law_is_off_by_what_is_left_of_it():
    n, c = np.full((2, 50), 40), np.tile(np.r_[np.full(25, 40), np.full(25, 1)], (2, 1))
    K = np.array([1, 2, 4, 8, 16, 32])
    off, law = coverage.off_power(n, c, K)
    truth = coverage.curve(n[0], c[0], K)
    assert truth == pytest.approx(0.5 + 0.5 * K / 40)
    assert off == pytest.approx(np.abs(law.coverage(K) - truth).max())


def test_problems_that_were_given_more_samples_are_compared():
    assert isoquants.uneven(np.array([10, 10, 100, 100]), np.array([4, 2, 10, 20])) == pytest.approx(0.5)
    assert np.isnan(isoquants.uneven(np.array([10, 10]), np.array([4, 2])))
    assert np.isnan(isoquants.uneven(np.array([10, 100]), np.array([0, 2])))


def test_the_best_checkpoint_of_a_size_and_its_name():
    table = pd.DataFrame(
        {"N": [1e6, 1e6, 2e6], "D": [1e9, 3e9, 1e9], "solved": [0.5, 0.5, 0], "pass@1": [0.2, 0.1, 0]}
    )
    assert isoquants.best_tokens(table) == {1e6: 1e9}
    assert isoquants.called(table.iloc[1]) == "1 M on 3 B"


# ---- the study --------------------------------------------------------------------------------------------------


def some_evidence():
    base = {"model": "a", "seed": 0, "n": 10, "depth": 1, "dropped": 0.0} | {f"b{m}": 6 for m in VISIBLE}
    counts = pd.DataFrame([
        base | {"task": 0, "split": "seen", "c": 2}, base | {"task": 1, "split": "held out", "c": 6},
        base | {"task": 0, "split": "seen", "c": 5, "model": "z"}, base | {"task": 1, "split": "held out", "c": 6, "model": "z"},
    ])  # fmt: skip
    programs = pd.DataFrame({"model": ["a", "a", "a", "z"], "task": [0, 0, 1, 0], "asked": "max", "kind": ["false", "false", "right", "false"],
                             "program": ["min", "sum", "max", "sum"], "times": [3, 5, 9, 1]})  # fmt: skip
    pieces = pd.DataFrame(
        {"date": ["2026-01-02T03", "2026-01-04T05"], "seconds": [1800, 5400], "processor": "CPU"}
    )
    return evidence.Evidence(counts, programs, pieces)


def test_evidence_knows_its_mix_its_ends_and_its_date():
    found = some_evidence()
    assert (found.weak, found.strong, found.n) == ("a", "z", 10)
    assert found.of.c.shape == (2, 1)
    assert found.whole.c.shape == (2, 2)
    assert found.about("toy") == "toy: 2 artefacts made 2026-01-02 to 2026-01-04 in 2.0 core hours on CPU"
    offers = found.offers(["a", "z"])
    assert offers[["model", "program"]].to_numpy().tolist() == [["a", "sum"]]


def test_the_ladder_table_states_size_and_cost():
    whole = plan.load("smoke")
    weak, strong = list(whole.models)[:2]
    found = some_evidence()
    names = {"a": weak, "z": strong}
    found = evidence.Evidence(found.counts.replace({"model": names}), found.programs, found.provenance)
    table = evidence.model_table(found, whole)
    assert table["held out"].tolist() == ["0.600", "0.600"]
    assert table["pass@1"].tolist() == ["0.200", "0.500"]
    model = whole.models[weak]
    cost = evidence.training_flops(model, 10.0)
    assert cost == 60 * model.size.N * model.examples * model.epochs


def test_the_tokens_of_an_example_are_its_prompt_and_its_answer():
    mix = tasks.Mix(seen=((1, 4),), unseen=(), deep=(), held_out=())
    own = [len(writing.prompt(t)) + len(writing.spell(t.program)) for t in tasks.draw_tasks(mix, 0)]
    assert evidence.tokens_each(mix) == pytest.approx(np.mean(own))


class Parrot:
    """Writes the same answers to every prompt."""

    def __init__(self, *texts):
        self.rows = [writing.spell(language.parse(t.split())) if t else [] for t in texts]

    def write(self, prompts, n):
        wide = np.zeros((len(prompts), n, writing.LONGEST_ANSWER), int)
        for i, row in enumerate(self.rows):
            wide[:, i, : len(row)] = row
        return wide


def test_watching_counts_and_catches():
    draw = tasks.draw_tasks(tasks.Mix(seen=((1, 3),), unseen=(), deep=(), held_out=()), 0)
    task = draw[0]
    right = language.render(task.program)
    seen = demonstration.watch(Parrot(right, right, ""), [task], 3)
    assert (seen.samples, seen.passed, seen.right, seen.caught) == (3, 2, 2, ())
    rest = tasks.HIDDEN - 1
    hidden = (np.array([[1, 2, 0, 0, 0, 0]] + [[1, 1, 1, 1, 1, 9]] * rest), np.array([2] + [6] * rest))
    task = replace(task, program=language.parse(["max"]), hidden=hidden)
    seen = demonstration.watch(Parrot("max", "take 5 max", "length"), [task], 3)
    assert (seen.passed, seen.right) == (3, 1)  # two digits: their number is the larger one
    assert [c.where for c in seen.caught] == [1]


def test_a_caught_program_is_told_with_the_input_that_it_fails():
    hidden = (np.array([[1, 2, 3, 0, 0, 0], [5, 4, 0, 0, 0, 0]]), np.array([3, 2]))
    base = tasks.draw_tasks(tasks.Mix(seen=((1, 1),), unseen=(), deep=(), held_out=()), 0)[0]
    task = replace(base, program=language.parse(["sort"]), hidden=hidden)
    text = demonstration.Caught(task, language.parse(["reverse"]), 0).told
    assert text == "asked 'sort', wrote 'reverse'\n   test 1: [1 2 3] -> [1 2 3], not [3 2 1]"
