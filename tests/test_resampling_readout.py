"""What the chapter reads out of counts, against worlds where the answer is known."""

import numpy as np
import pandas as pd
import pytest

from scalinglaws.resampling import readout as R
from scalinglaws.resampling import style as S
from scalinglaws.resampling.estimators import best_budget, budget_interval
from scalinglaws.resampling.tasks import VISIBLE


def counts(right, false, n=200, seed=0):
    """A table as the study stores it: right [models, tasks], false [models, tasks] = P(pass | wrong) for m = 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for i, (p, f) in enumerate(zip(right, false, strict=True)):
        c = rng.binomial(n, p)
        wrong = n - c
        for t in range(len(p)):
            passed, row = wrong[t], {}
            for m in VISIBLE:  # each further test catches half of what is left
                passed = rng.binomial(passed, f[t] if m == 1 else 0.5)
                row[f"b{m}"] = c[t] + passed
                row |= {
                    f"false{m}_operations": 3 * passed,
                    f"false{m}_redundant": passed // 2,
                    f"most{m}": p[t],
                }
            rows.append(
                {"model": f"m{i}", "seed": 0, "task": t, "split": "seen", "depth": 1, "dropped": 0.5, "n": n,
                 "c": c[t], "majority": float(p[t] > 0.5), "right_operations": 2 * c[t], "right_redundant": 0} | row
            )  # fmt: skip
    return pd.DataFrame(rows)


def world(models=6, tasks=300, trend=0.0, seed=1):
    """Models of rising skill on tasks of varied difficulty; P(pass | wrong) is .2 + trend·(skill − middle) + task."""
    rng = np.random.default_rng(seed)
    skill = np.linspace(-2, 2, models)[:, None]
    ease = rng.normal(0, 1.5, tasks)
    right = 1 / (1 + np.exp(-(skill + ease)))
    weak = rng.uniform(0.1, 0.3, tasks)
    return right, np.clip(weak + trend * (right.mean(1, keepdims=True) - 0.5), 0.01, 0.9)


def test_models_are_ordered_by_strength_and_share_their_tasks():
    right, false = world()
    table = counts(right[::-1], false[::-1])
    of = R.ladder(table)
    assert (np.diff(of.pass_1) > 0).all()
    assert of.names[0] == "m5"
    assert of.pass_1 == pytest.approx(right.mean(1), abs=0.01)
    with pytest.raises(ValueError, match="other tasks"):
        R.ladder(table[~((table["model"] == "m2") & (table["task"] == 3))])


def test_tasks_and_models_can_be_chosen_again_and_again():
    of = R.ladder(counts(*world()))
    part = of.tasks([3, 3, 5]).models([0, 2])
    assert part.c.shape == (2, 3)
    assert part.b[1].shape == (2, 3)
    assert part.task["task"].tolist() == [3, 3, 5]
    assert (part.c[:, 0] == of.c[[0, 2], 3]).all()
    assert of.tasks(of.c[0] > 3).pass_1[0] > of.pass_1[0]


def test_base_rates_alone_make_the_correlation_and_the_fixed_effects_see_through_it():
    """With P(pass | wrong) the same for all models, conditional accuracy still rises with skill."""
    of = R.ladder(counts(*world(trend=0.0)))
    assert R.association(of, 1) > 0.2
    assert abs(R.within_tasks(of, 1)) < 0.02
    draws = [R.association(R.null(of, 1, np.random.default_rng(s)), 1) for s in range(10)]
    assert np.mean(draws) == pytest.approx(R.association(of, 1), abs=0.03)


@pytest.mark.parametrize("trend", [-0.15, 0.15])
def test_errors_that_change_with_skill_are_found_within_tasks(trend):
    of = R.ladder(counts(*world(trend=trend)))
    assert R.within_tasks(of, 1) == pytest.approx(trend, abs=0.03)
    real, null = R.association(of, 1), R.association(R.null(of, 1, np.random.default_rng(0)), 1)
    assert (real - null) * trend < 0


def test_the_slope_is_polyfit():
    rng = np.random.default_rng(0)
    x, y = rng.random(9), rng.random(9)
    assert R.slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0])
    y[3] = np.nan
    assert R.slope(x, y) == pytest.approx(np.polyfit(np.delete(x, 3), np.delete(y, 3), 1)[0])
    assert np.isnan(R.slope(np.ones(4), np.arange(4.0)))


def test_the_bootstrap_covers():
    """The interval for P(pass | wrong) of one model contains the truth about 19 times in 20."""
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        false = rng.uniform(0, 0.4, (1, 120))
        of = R.ladder(counts(np.full((1, 120), 0.3), false, n=40, seed=1000 + seed))
        low, high = R.bootstrap(lambda part: R.false_rate(part, 1)[0], of, 200, seed)
        hits += low <= 0.2 <= high
    assert hits >= 52


def test_a_bootstrap_without_values_says_so():
    of = R.ladder(counts(*world(models=2, tasks=5)))
    with pytest.raises(ValueError, match="no resample has a value"):
        R.bootstrap(lambda part: float("nan"), of, 5, 0)


def test_implied_rates_invert_bayes():
    x, f = np.array([0.1, 0.5, 0.9]), np.array([0.05, 0.2, 0.4])
    assert R.pooled_null(x, x / (x + (1 - x) * f)) == pytest.approx(f)


def test_bounds_hold_and_meet_where_everything_passed():
    of = R.ladder(counts(*world()))
    table = R.bounds(of, 1)
    assert (table["low"] <= table["passed"] + 1e-12).all()
    assert (table["passed"] <= table["high"] + 1e-12).all()
    whole = R.bounds(of.tasks(of.common(1)), 1)
    assert whole["low"].to_numpy() == pytest.approx(whole["high"].to_numpy())


def test_choosing_is_between_one_sample_and_a_perfect_judge():
    table = R.chosen(counts(*world()), 1)
    assert (table["first"] <= table["perfect"] + 1e-12).all()
    assert (np.diff(table["one"]) > 0).all()


def test_style_gaps_are_matched_within_tasks():
    """Every right program has 2 operations and every false one 3."""
    table = S.style(counts(*world()), 1, "operations")
    assert table["right"].to_numpy() == pytest.approx(np.full(6, 2.0))
    assert table["matched"].to_numpy() == pytest.approx(np.ones(6))
    redundant = S.style(counts(*world()), 1, "redundant")
    assert (redundant["matched"] > 0.2).all()


def test_seeds_of_a_task_are_one_observation():
    table = counts(*world(models=2, tasks=60))
    twice = pd.concat([table, table.assign(seed=1)])
    one, two = (S.style(t, 1, "redundant").iloc[0] for t in (table, twice))
    assert two["high"] - two["low"] == pytest.approx(one["high"] - one["low"], rel=0.15)
    assert two["matched"] == pytest.approx(one["matched"])
    assert two["tasks"] == one["tasks"]


def test_matched_gaps_carry_the_spread_of_seeds_and_of_shared_tasks():
    """Seeds that differ widen the interval; models that share their tasks do not average the tasks' luck away."""
    rng = np.random.default_rng(2)
    task = rng.normal(0, 1, 200)
    alike, apart = np.tile(task, (3, 1)), task + np.array([[-1.0], [0.0], [1.0]])
    width = lambda gaps: np.diff(S.matched(gaps, 800, 1)[1])[0]
    assert S.matched([apart], 100, 1)[0] == pytest.approx(task.mean())
    assert width([apart]) > 3 * width([alike])
    assert width([alike]) == pytest.approx(2 * 1.96 * task.std() / np.sqrt(200), rel=0.15)
    assert width([alike] * 4) == pytest.approx(width([alike]), rel=0.15)
    holes = np.where(rng.random((3, 200)) < 0.3, np.nan, alike)
    seen = ~np.isnan(holes).all(0)
    assert S.matched([holes], 50, 1)[0] == pytest.approx(task[seen].mean())
    assert np.isnan(S.matched([np.full((3, 5), np.nan)], 50, 1)[1]).all()


def test_tasks_of_the_conditional_accuracy_can_be_chosen():
    of = R.ladder(counts(*world()))
    weak = R.poorly_tested(of, 1)
    expected = np.polyfit(of.pass_1, of.tasks(weak).conditional(1), 1)[0]
    assert R.association(of, 1, weak) == pytest.approx(expected)
    assert R.within_tasks(of, 1, np.ones(300, bool)) == pytest.approx(R.within_tasks(of, 1))
    assert np.isnan(R.association(of, 1, np.zeros(300, bool)))


def test_poorly_tested_tasks_have_low_conditional_accuracy():
    right, false = world()
    of = R.ladder(counts(right, false))
    weak = R.poorly_tested(of, 1)
    assert 0 < weak.sum() < len(weak)
    assert false[0][weak].mean() > false[0][~weak].mean()


def test_the_interval_of_the_best_budget_is_that_of_single_resamples():
    right, false = world(models=1, tasks=80)
    row = counts(right, false)
    n, b, c = (row[k].to_numpy() for k in ("n", "b1", "c"))
    rng = np.random.default_rng(3)
    plain = []
    for weight in rng.multinomial(80, np.full(80, 1 / 80), size=40):
        i = np.repeat(np.arange(80), weight)
        plain.append(best_budget(n[i], b[i], c[i], 2.0).K)
    low, high = np.quantile(plain, [0.025, 0.975], method="nearest")
    assert budget_interval(n, b, c, 2.0, 40, 3) == (low, high)
    with pytest.raises(ValueError, match="no tasks"):
        budget_interval(n[:0], b[:0], c[:0], 1.0, 5, 0)


def seeded(seeds=3, luck=0.5, tasks=80, seed=0):
    """Three models whose seeds differ by luck in skill."""
    rng = np.random.default_rng(seed)
    ease, parts = rng.normal(0, 1, tasks), []
    for s in range(seeds):
        skill = np.linspace(-1, 1, 3)[:, None] + rng.normal(0, luck, (3, 1))
        right = 1 / (1 + np.exp(-(skill + ease)))
        parts.append(counts(right, np.full((3, tasks), 0.3), n=40, seed=seed + s).assign(seed=s))
    return R.ladder(pd.concat(parts, ignore_index=True))


def test_the_bootstrap_draws_seeds_and_keeps_the_order_of_the_ladder():
    of = seeded()
    names = []
    R.bootstrap(lambda part: names.append(tuple(part.names)) or 0.0, of, 20, 0)
    assert set(names) == {tuple(of.names)}
    model = of.names == of.ladder[0]
    low, high = R.bootstrap(lambda part: part.pass_1[model].mean(), of, 300, 0)
    one = of.models(of.seeds == 0)
    low_1, high_1 = R.bootstrap(lambda part: part.pass_1[one.names == of.ladder[0]].mean(), one, 300, 0)
    assert high - low > 1.2 * (high_1 - low_1) / np.sqrt(3)  # luck in training is in it
    assert low < of.pass_1[model].mean() < high


def test_the_share_of_small_budgets_is_a_plain_count():
    of = seeded(tasks=30)
    for penalty in (1, 3):
        share, (low, high) = R.small_budgets(of, 1, penalty, 200, 0)
        plain = [best_budget(*data, penalty).K for data in zip(of.n, of.b[1], of.c, strict=True)]
        assert share == pytest.approx(np.mean([0 < K < 10 for K in plain]))
        assert 0 <= low <= high <= 1
