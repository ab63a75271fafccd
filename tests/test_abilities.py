"""Abilities: known truths are found, forecasts never see what they foretell, published numbers come out to the digit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

from scalinglaws.__main__ import main
from scalinglaws.abilities import direct, emergence, errors, families, known, ladder, observed, trade
from scalinglaws.datasets.evaluations import BENCHMARKS
from scalinglaws.laws import Chinchilla
from scalinglaws.laws.abilities import LogAccuracy, Sigmoid
from scalinglaws.laws.overtrained import ErrorOfLoss

SURFACE, CURVE = Chinchilla(E=0.45, A=60.0, B=220.0, alpha=0.3, beta=0.29), Sigmoid(a=-0.75, k=6.0, L0=0.85, b=1.0)


def rungs(noise=0.0, seed=0, checkpoints=12):
    """Sixteen runs with checkpoints and two targets of a task whose laws are known."""
    rng, rows = np.random.default_rng(seed), []
    for N, ends in [(n, [20 * n * k for k in (1, 2, 5, 10)]) for n in (1.9e8, 3.7e8, 7.6e8, 1.28e9)] + [(6.9e9, [3.9e12]), (1.3e10, [5e12])]:
        for D in ends:
            target, steps = N > 2e9, 1 if N > 2e9 else checkpoints
            for d in D * np.linspace(0.3, 1, steps) if steps > 1 else [D]:
                loss = float(SURFACE.predict(N, d) * np.exp(noise * rng.standard_normal()))
                accuracy = float(CURVE.predict(loss) + noise * rng.standard_normal())
                rows.append((f"{N:g}-{D:g}", target, N, d, "toy", loss, accuracy))
    return pd.DataFrame(rows, columns=["run", "target", "N", "D", "task", "loss", "accuracy"])


# ---- fits find what is known ---------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [Sigmoid(-0.7, 6.0, 1.2, 1.0), Sigmoid(-0.5, 8.0, 1.0, 1.0), Sigmoid(-0.75, 12.0, 0.8, 1.0)])
def test_a_sigmoid_is_found(truth):
    """Nearly right without loss, so that the added point lies on it."""
    loss = np.linspace(0.4, 2.5, 80)
    found = ladder.fit_sigmoid(loss, truth.predict(loss))
    assert (found.a, found.k, found.L0, found.b) == pytest.approx((truth.a, truth.k, truth.L0, truth.b), rel=5e-3)
    with pytest.raises(ValueError, match="four parameters"):
        ladder.fit_sigmoid(loss[:3], loss[:3])


def test_weights_of_a_sigmoid_are_rows():
    rng, loss = np.random.default_rng(0), np.linspace(0.5, 2, 40)
    y, w = CURVE.predict(loss) + 0.02 * rng.standard_normal(40), rng.integers(0, 3, 40)
    one, other = ladder.fit_sigmoid(loss, y, w), ladder.fit_sigmoid(np.repeat(loss, w), np.repeat(y, w))
    assert np.abs(one.predict(loss) - other.predict(loss)).max() < 1e-4


def test_the_curve_of_errors_is_the_least_squares_one():
    rng, truth = np.random.default_rng(1), ErrorOfLoss(0.86, 2.2, 0.7)
    loss = rng.uniform(2.3, 5, 30)
    assert errors.fit_error(loss, truth.predict(loss)).gamma == pytest.approx(0.7, rel=1e-4)
    y = truth.predict(loss) + 0.01 * rng.standard_normal(30)
    ours = errors.fit_error(loss, y)
    other, _ = curve_fit(lambda L, top, K, g: top - K * np.exp(-g * L), loss, y, p0=(0.9, 2, 0.8), maxfev=20000)
    assert (ours.top, ours.K, ours.gamma) == pytest.approx(tuple(other), rel=1e-3)
    W = rng.integers(0, 3, (4, 30)).astype(float)
    each = errors.fit_error(loss, y, W)
    for w, row in zip(W.astype(int), each, strict=True):
        again = errors.fit_error(np.repeat(loss, w), np.repeat(y, w))
        at = np.linspace(2.3, 5, 9)
        assert row[0] - row[1] * np.exp(-row[2] * at) == pytest.approx(again.predict(at), abs=1e-4)


def test_errors_that_do_not_rise_with_the_loss_are_constant():
    loss = np.linspace(2, 4, 10)
    assert errors.fit_error(loss, 0.9 - 0.1 * loss).K == 0


def test_the_law_without_a_floor_is_found():
    rows = rungs()
    ends = ladder.final(rows[~rows["target"]])
    law = LogAccuracy(40.0, 300.0, 0.2, 0.25, 0.25)
    found = direct.fit_log_accuracy(ends["N"], ends["D"], law.predict(ends["N"], ends["D"]), 0.25)
    assert found.predict(7e9, 4e12) == pytest.approx(law.predict(7e9, 4e12), abs=1e-4)
    with pytest.raises(ValueError, match="better than guessing"):
        direct.fit_log_accuracy(ends["N"], ends["D"], np.full(16, 0.26), 0.25)


def test_two_steps_foretell_a_known_task_and_their_intervals_hold():
    found = ladder.forecasts(rungs(), resamples=20)
    assert (found["predicted"] - found["measured"]).abs().max() < 0.01
    inside = []
    for seed in range(12):
        told = ladder.forecasts(rungs(0.005, seed), resamples=60, seed=seed)
        truth = CURVE.predict(SURFACE.predict(told["N"], told["D"]))
        inside += list((told["low"] <= truth) & (truth <= told["high"]))
    assert np.mean(inside) > 0.75


# ---- nobody sees what is foretold ----------------------------------------------------------------------------


def spoiled(table, rows, columns, rng):
    """The table with other numbers in these rows."""
    out = table.copy()
    out.loc[rows, columns] = rng.uniform(0.1, 0.9, (int(np.sum(rows)), len(columns)))
    return out


def test_a_ladder_does_not_see_its_targets():
    rows, rng = rungs(0.003), np.random.default_rng(0)
    other = spoiled(rows, rows["target"].to_numpy(), ["loss", "accuracy"], rng)
    told = ["predicted", "low", "high", "law_low", "law_high", "first"]
    assert ladder.forecasts(rows, 20)[told].equals(ladder.forecasts(other, 20)[told])
    rows["task"] = other["task"] = "PIQA"
    assert direct.forecasts(rows, 10)[["predicted", "low", "high"]].equals(direct.forecasts(other, 10)[["predicted", "low", "high"]])


def test_errors_of_large_models_are_not_seen(loaded):
    models, table = loaded("overtrained"), loaded("downstream")
    foretold = models[models.index.isin(pd.concat([errors.large(own) for _, own in models.groupby("corpus")]).index)]
    other = spoiled(table, table["name"].isin(foretold["name"]).to_numpy(), ["error"], np.random.default_rng(0))
    lost = models.copy()
    lost.loc[foretold.index, "loss"] = 9.0
    assert errors.averages(models, table, errors.PAPERS)["predicted"].equals(errors.averages(lost, other, errors.PAPERS)["predicted"])
    told = ["predicted", "low", "high"]
    sets = {"mean": errors.PAPERS}
    assert errors.forecasts(models, table, sets, 20, 0)[told].equals(errors.forecasts(lost, other, sets, 20, 0)[told])
    assert errors.better_than_chance(models, table) == errors.better_than_chance(lost, other) == sorted(errors.PAPERS)


def test_strong_models_lend_their_benchmarks_and_not_their_results(loaded):
    table = loaded("benchmarks")
    strong = (table["C"] > observed.CUT).to_numpy()
    other = spoiled(table, strong & table["word_unscrambling"].notna().to_numpy(), ["word_unscrambling"], np.random.default_rng(0))
    of = lambda t: observed.forecasts(t, 5, 0).query("task == 'Word unscrambling'")[["predicted", "low", "high"]]
    pd.testing.assert_frame_equal(of(table), of(other))


def test_a_family_lends_its_smallest_model_only(loaded):
    own = families.tidy(loaded("families"))
    family, seen, wanted = families.left_out(own)[0]
    assert set(own.loc[seen, "family"]) & {family} == {family}
    assert (own.loc[seen].query("family == @family")["N"].to_numpy() == own.query("family == @family")["N"].min()).all()
    assert not set(seen) & set(wanted)
    other = spoiled(own, own.index.isin(wanted), list(families.GUESSED), np.random.default_rng(0))
    a, b = (families.predict(families.fitted(t.loc[seen], 2), t.loc[wanted]) for t in (own, other))
    assert np.array_equal(a, b)


# ---- spaces and skills ---------------------------------------------------------------------------------------


def scores(n=40, rank=1, seed=0):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 1, (n, rank)) @ rng.uniform(0.2, 0.8, (rank, len(BENCHMARKS))) / rank
    return pd.DataFrame(0.1 + 0.8 * low, columns=BENCHMARKS)


def test_components_are_those_of_the_covariance_and_gaps_on_a_line_are_filled():
    table = scores(rank=3)
    found = observed.space(table)
    values = np.linalg.eigvalsh(np.cov(table.to_numpy().T))[::-1]
    assert found.shares == pytest.approx(np.maximum(values, 0) / values.sum(), abs=1e-9)
    assert np.var(found.coordinates(table)[:, 0]) == pytest.approx(values[0] * 39 / 40)
    line = scores(rank=1)
    gaps = line.mask(np.random.default_rng(1).random(line.shape) < 0.05)
    off = lambda full: float(np.sqrt(np.mean((full - line.to_numpy()) ** 2)))
    assert off(observed.space(gaps).filled(gaps)) < 0.1 * off(gaps.fillna(gaps.mean()).to_numpy())


def test_a_sigmoid_of_components_is_found():
    X = np.random.default_rng(0).standard_normal((200, 3))
    t = np.array([0.9, -0.5, 1.0, -0.4, 0.2])
    assert observed.fit_sigmoid(X, observed.sigmoid(t, X)) == pytest.approx(t, abs=1e-3)


def skilled(seed=0):
    """Models of eight families whose scores two skills make."""
    rng, rows = np.random.default_rng(seed), []
    loads, bias = rng.uniform(0.3, 1.5, (6, 2)), rng.uniform(-1, 0.5, 6)
    beta = np.array([[1.2, 0.4], [0.6, 1.0], [0.1, 0.0]])
    guess = np.array(list(families.GUESSED.values()))
    for f in range(8):
        alpha = rng.standard_normal(2)
        for N in np.geomspace(1e9, 7e10, 5):
            D = 1e12 * rng.uniform(0.5, 3)
            x = np.array([np.log(N / 1e9) / 3, np.log(D / 1e12) / 3, 0])
            x[2] = x[0] * x[1]
            score = guess + (1 - guess) / (1 + np.exp(-(bias + loads @ (alpha + x @ beta))))
            rows.append((f"{f}-{N:g}", f"f{f}", f"f{f}", N, D, *score))
    return pd.DataFrame(rows, columns=["model", "base", "family", "N", "D", *families.GUESSED])


def test_two_skills_are_found_and_one_does_not_do():
    found = families.forecasts(skilled(), skills=(1, 2))
    miss = (found["predicted"] - found["measured"]).abs().groupby(found["rule"]).mean()
    assert miss["2 skills"] < 0.01
    assert miss["1 skill"] > 3 * miss["2 skills"]
    assert miss["smallest"] > 5 * miss["2 skills"]


# ---- emergence and trade -------------------------------------------------------------------------------------


def test_independent_steps_multiply_and_mixed_ones_do_better():
    rows = []
    for p in (0.9, 0.5):
        for steps in (1, 2, 4):
            rows += [("even", steps, round(1e6 * 0.8**steps), 10**6), ("mixed", steps, round(1e6 * p**steps), 10**6)]
    found = emergence.by_length(pd.DataFrame(rows, columns=["proposer", "difficulty", "right", "samples"]), 20, 0)
    even, mixed = (found[(found["proposer"] == k) & (found["steps"] == 4)].iloc[0] for k in ("even", "mixed"))
    assert even["right"] == pytest.approx(even["power"], rel=1e-4)
    assert mixed["right"] > 1.3 * mixed["power"]


def passing(curve, problems=50):
    N = np.array([1e8, 3e8, 1e9, 3e9, 1e10])
    n = np.full((5, problems), 10**9)
    c = np.repeat(np.round(1e9 * curve(N))[:, None], problems, 1).astype(int)
    return pd.concat({k: pd.DataFrame(v, index=N) for k, v in (("c", c), ("n", n))}, axis=1)


def test_a_power_of_the_chance_to_pass_is_found_and_its_bend_has_a_sign():
    table = passing(lambda N: np.exp(-400 * N**-0.2))
    found = emergence.forecast(table, 1e9, 20, 0)
    assert found["ratio"].to_numpy() == pytest.approx([1, 1], rel=1e-3)
    assert emergence.bend(table, 10, 0)[0] == pytest.approx(0, abs=1e-3)
    faster = passing(lambda N: np.exp(-np.exp(1.8 - 0.05 * np.log10(N / 1e8) ** 2)))
    assert emergence.bend(faster, 10, 0)[0] == pytest.approx(-0.05, abs=1e-3)
    once = emergence.seen_once(table)
    assert once["nothing"].iloc[0] == pytest.approx((1 - once["share"].iloc[0]) ** 50)


def test_the_slope_of_a_world_where_tries_get_cheaper_with_size():
    """Chance of one answer N^2.2, small: answers needed N^−2.2, their cost N times that."""
    N = np.array([1.0, 2.0, 4.0])
    n = np.full((3, 30), 10**7)
    c = np.round(1e7 * 1e-4 * N**2.2).astype(int)[:, None] * np.ones(30, int)
    models = trade.Models(("a", "b", "c"), 6 * N, 2 * N, n, c)
    slope, ends, lines = trade.slope(models, trade.grid(1e5, 400), np.linspace(0.2, 0.7, 6), 10, 0)
    assert slope == pytest.approx(-1.2, abs=0.01)
    assert ends[0] <= slope <= ends[1]
    assert np.isfinite(lines).all()


# ---- the count -----------------------------------------------------------------------------------------------


def test_coverage_counts_and_targets_are_resampled_as_a_whole():
    rows = [("m", "t", target, 0.5, 0.6, low, 0.9) for target, low in (("a", 0.4), ("b", 0.55)) for _ in range(10)]
    table = pd.DataFrame(rows, columns=["method", "task", "target", "measured", "predicted", "low", "high"])
    (row,) = known.coverage(table).itertuples()
    assert (row.forecasts, row.targets, row.covered, row.low, row.high) == (20, 2, 0.5, 0.0, 1.0)
    assert row.miss == pytest.approx(10)


def test_an_interval_from_other_families_never_uses_its_own():
    rows = [("r", "b", f"f{i}", f"m{i}", 1e9, 0.5, 0.5 + 0.01 * i) for i in range(10)]
    table = pd.DataFrame(rows, columns=["rule", "benchmark", "family", "model", "N", "measured", "predicted"])
    found = known.conformal(table).set_index("target")
    assert found.loc["m9", "high"] - found.loc["m9", "predicted"] == pytest.approx(0.08)
    assert found.loc["m0", "high"] - found.loc["m0", "predicted"] == pytest.approx(0.09)


def test_the_ladder_s_forecasts_are_the_paper_s(loaded):
    table = loaded("ladder")
    own = table[(table["task"] == "PIQA") & (table["target"] | ((table["N"] < 2e9) & (table["multiple"] >= 1)))]
    found = ladder.forecasts(own, 2).set_index("target")
    assert found.loc["13B-5T", ["measured", "predicted"]].to_numpy(float) == pytest.approx([0.8296, 0.8208], abs=5e-5)


# ---- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    rows = rungs(0.003)
    path = tmp_path / "task.csv"
    rows[~rows["target"]][["run", "N", "D", "loss", "accuracy"]].to_csv(path, index=False)
    return path


def test_predict_foretells_and_holds_out(table, capsys):
    assert main(["predict", str(table), "--at", "N=6.9B,D=3.9T", "--holdout", "--bootstrap", "30", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (told,) = report["predictions"]
    assert told["low"] <= CURVE.predict(SURFACE.predict(6.9e9, 3.9e12)) <= told["high"]
    assert [r["run"] for r in report["holdout"]["runs"]] == [f"1.28e+09-{20 * 1.28e9 * k:g}" for k in (1, 2, 5, 10)]
    assert report["holdout"]["miss"] < 0.05
    assert main(["predict", str(table), "--bootstrap", "10"]) == 0
    assert "step 2: accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--at", "N=7B"], "D is missing"),
        (["--at", "N=7B,D=x"], "--at D must be a positive number"),
        (["--task", "exam"], "column exam is missing"),
        (["--scale", "accuracy=100"], "between 0 and 1"),
        (["--level", "90"], "--level must be"),
        (["--bootstrap", "1"], "--bootstrap must be"),
        (["--run", "seed"], "no column seed"),
        (["--holdout", "N>1e12"], "leaves out 0 of 16"),
        (["--columns", "L=loss"], "L is none of"),
    ],
)
def test_bad_input_to_predict_gets_one_line(table, capsys, arguments, told):
    assert main(["predict", str(table), *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_too_few_runs_and_mixed_runs_are_told(table, tmp_path, capsys):
    rows = pd.read_csv(table)
    few = tmp_path / "few.csv"
    rows[rows["N"] < 2e8].to_csv(few, index=False)
    assert main(["predict", str(few)]) == 2
    assert "4 runs cannot determine them" in capsys.readouterr().err
    rows.assign(run="all").to_csv(few, index=False)
    assert main(["predict", str(few)]) == 2
    assert "a run has one" in capsys.readouterr().err


# ---- inverse scaling -----------------------------------------------------------------------------------------


def test_facts_are_counted_by_how_the_text_tells_them():
    from scalinglaws.abilities import inverse
    from scalinglaws.testtime.chain import Chain

    chain = Chain(values=7, operations=6, longest=2)
    facts = inverse.facts(chain)
    assert len(facts) == 42
    assert facts["weight"].sum() == pytest.approx(1)
    wrong = facts["kind"] == "mostly told wrongly"
    told = np.stack([chain.kernel(o)[x] for o, x in zip(facts["operation"], facts["value"], strict=True)])
    at = np.arange(42)
    assert (told[at, facts["right"]] < told[at, facts["error"]])[wrong & (facts["reliability"] < 0.48)].all()
    assert (told[at, facts["right"]] > told[at, facts["error"]])[facts["reliability"] == 1].all()


def test_a_model_of_the_text_prefers_what_the_text_tells():
    """The text's own distribution in place of a model: no loss above the floor, and the error where it is told more often."""
    from types import SimpleNamespace

    import torch

    from scalinglaws.abilities import inverse
    from scalinglaws.testtime.chain import Chain

    chain = Chain(values=7, operations=6, longest=2)
    told = np.stack([chain.kernel(o) for o in range(6)]).reshape(-1, 7)
    logits = torch.full((42, len(chain.tokens)), -30.0, dtype=torch.float64)
    logits[:, chain.first_value : chain.first_value + 7] = torch.log(torch.from_numpy(told).clamp_min(1e-12))
    perfect = SimpleNamespace(begin=lambda *a: SimpleNamespace(logits=logits))
    found = inverse.answers(chain, perfect).set_index("kind")
    assert found["loss"].to_numpy() == pytest.approx(found["floor"].to_numpy(), abs=1e-6)
    assert found.loc["never disputed", ["greedy", "choice"]].tolist() == [1, 1]
    assert found.loc["mostly told wrongly", "choice"] < 0.1
    assert found.loc["mostly told wrongly", "imitates"] > 0.9


def test_a_slope_per_decade():
    from scalinglaws.abilities import inverse

    table = pd.DataFrame({"N": [1e3, 1e4, 1e5, 1e6], "choice": [0.8, 0.6, 0.4, 0.2]})
    value, (low, high) = inverse.trend(table, "choice", 50, 0)
    assert value == pytest.approx(-0.2)
    assert low == pytest.approx(high) == pytest.approx(-0.2)


def test_questions_are_noisier_than_their_mean():
    """Ten questions whose chance grows with size: the choice flips once, the chance follows all the way."""
    rows = [
        (q, N, 1, 100, round(100 * p), float(p > 0.5))
        for q in range(10)
        for N, p in ((1, 0.05 * q), (2, 0.05 * q + 0.1), (3, 0.05 * q + 0.2), (4, 0.05 * q + 0.3))
    ]
    table = pd.DataFrame(rows, columns=["task", "N", "examples", "n", "c", "majority"])
    found = emergence.by_question(table)
    assert found["chance"].tolist() == pytest.approx([1.0] * 10)
    flipped = found["majority"].dropna()
    assert 0 < len(flipped) < 10
    assert (flipped < 1).all()


def test_a_dropped_row_leaves_the_runs_what_they_are(table, capsys):
    """Checkpoints stay those of their run when a row without a loss is left out."""
    rows = pd.read_csv(table)
    rows.loc[3, "loss"] = np.nan
    rows.to_csv(table, index=False)
    assert main(["predict", str(table), "--drop-diverged", "--bootstrap", "10", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["runs"], report["rows"]) == (16, len(rows) - 1)
