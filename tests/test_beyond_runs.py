"""Our own runs beyond Chinchilla: rounded weights, schedules as areas, and what pretraining is worth, on known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from scalinglaws.laws.annealing import Annealing, areas
from scalinglaws.lm import quantised, transferred
from scalinglaws.lm.config import ConfigError, Run
from scalinglaws.lm.model import token_losses
from scalinglaws.lm.quantise import in_bits, rounded, straight_through
from scalinglaws.lm.store import load_runs
from scalinglaws.lm.train import Trainer
from scalinglaws.pretraining import annealed, effective
from scalinglaws.studies import study
from scalinglaws.studies.study import StudyError

TINY = Run(
    corpus="known_entropy", n_layer=1, d_model=8, n_head=1, tokens=2048, context=16, batch=4,
    learning_rate=0.01, evaluation_tokens=256, precision="fp32",
)  # fmt: skip


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_rounding_is_to_the_nearest_of_the_values_an_output_has(bits):
    w = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(bits))
    found = rounded(w, bits)
    steps = 2 ** (bits - 1) - 1
    for r in range(2):
        for o in range(5):
            column = w[r, :, o]
            values = column.abs().max() * torch.arange(-steps, steps + 1) / steps
            nearest = values[(column[:, None] - values).abs().argmin(1)]
            assert torch.allclose(found[r, :, o], nearest, atol=1e-6)
    assert torch.allclose(rounded(found, bits), found, atol=1e-6)  # rounding twice is rounding once


def test_the_gradient_passes_through_as_if_nothing_were_rounded():
    w = torch.randn(1, 4, 3, requires_grad=True)
    target = torch.randn(1, 4, 3)
    (straight_through(w, 3) * target).sum().backward()
    assert torch.equal(w.grad, target)


def test_in_bits_rounds_matrices_and_leaves_the_embedding():
    trainer = Trainer([TINY])
    parts = trainer.model.layout.views(trainer.flat)
    found = in_bits(parts, 3)
    assert torch.equal(found["embedding"], parts["embedding"])
    assert all(torch.allclose(found[k], rounded(parts[k], 3), atol=1e-6) for k in parts if "." in k)
    assert in_bits(parts, 0) is parts


def test_a_run_in_bits_is_trained_and_measured_in_bits():
    run = TINY.with_(bits=2)
    trainer = Trainer([run])
    (result,) = trainer.train()
    plain = Trainer([TINY])
    plain.flat.copy_(trainer.flat)
    parts = trainer.model.layout.views(trainer.flat)
    plain.flat = torch.cat(
        [(v if k == "embedding" else rounded(v, 2)).reshape(1, -1) for k, v in parts.items()], dim=1
    )
    assert result["loss"] == pytest.approx(plain.evaluate()[0][0], abs=1e-5)
    tokens = torch.randint(0, trainer.corpus.vocabulary, (1, 2, 17), generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(
        token_losses(trainer.model, trainer.flat, tokens), token_losses(trainer.model, trainer.flat, tokens, bits=2)
    )


def test_bits_are_named_only_where_they_are_given_and_refused_out_of_range():
    assert TINY.with_(bits=0).hash == TINY.hash != TINY.with_(bits=4).hash
    for wrong in (1, 17, -2):
        with pytest.raises(ConfigError, match="bits"):
            TINY.with_(bits=wrong)
    with pytest.raises(ConfigError, match="transformer"):
        TINY.with_(bits=4, architecture="lstm")


def test_the_small_study_rounds_what_it_trained():
    table = study.tables("quantised", "smoke")["rounded"]
    added = (table["rounded"] - table["loss"]).groupby(table["bits"]).mean()
    assert added[2] > added[4] > added[8]
    assert abs(added[8]) < 2e-3
    assert table.groupby(["N", "D"])["loss"].nunique().eq(1).all()  # one model each, rounded several times


def test_the_small_study_of_transfer_starts_from_what_it_read():
    table = study.tables("transfer", "smoke")["finetuned"]
    pretrained = table[table["pretrained"]]
    assert (pretrained["loss"] <= pretrained["before"]).all()  # the start counts among what could be kept
    assert table[~table["pretrained"]]["before"].isna().all()
    assert (table["loss"] <= table["last"]).all()


def test_a_schedules_areas_are_those_of_its_learning_rates():
    row = load_runs("schedules").query("schedule == 'wsd'").iloc[0]
    ends = list(annealed.measured(row))
    assert [step for step, _, _ in ends] == [256, 512, 1024, 2048]
    assert [loss for _, _, loss in ends] == list(row["branch_loss"])
    for step, rates, _ in ends:
        warm = round(row["warmup"] / 2048)
        assert len(rates) == step - warm
        falls = step - round(0.8 * step)
        stable = np.full(step - warm - falls, row["learning_rate"])
        down = row["learning_rate"] * (1 - 0.9 * np.arange(falls) / falls)
        assert np.allclose(rates, np.concatenate([stable, down]))


def test_the_annealing_law_is_found_in_schedules_that_obey_it():
    points = annealed.table(load_runs("schedules"), 0.98)
    truth = Annealing(E=1.5, A=0.7, alpha=0.4, K=0.2)
    points["loss"] = truth.predict(points["S1"], points["S2"])
    law = annealed.fitted(points[annealed.known(points)])
    others = points[~annealed.known(points)]
    assert len(others) == 27
    assert np.allclose(law.predict(others["S1"], others["S2"]), others["loss"], rtol=1e-3)
    S1, S2 = areas([0.1] * 50)
    assert S1[-1] == pytest.approx(5.0)
    assert S2[-1] == 0


def test_effective_data_are_those_at_which_training_from_nothing_is_as_good():
    loss = lambda D: 3 - 0.1 * np.log(D)  # straight in log D, as what lies between is read
    amounts = [1000, 4000, 16000, 64000]
    rows = [(100, 0, D, False, loss(D)) for D in amounts]
    rows += [(100, 0, D, True, loss(D + gain)) for D, gain in zip(amounts, (500, 9000, 20000, 10000), strict=True)]
    found = effective.transferred(pd.DataFrame(rows, columns=["N", "seed", "amount", "pretrained", "loss"]))
    assert np.allclose(found["D_T"].iloc[:3], [500, 9000, 20000])
    assert np.isnan(found["D_T"].iloc[3])  # better than any amount from nothing: not known, and not made up


def test_a_shape_that_is_none_is_told_in_one_line_by_both_studies():
    said = "shape must be LAYERSxWIDTHxHEADS, like 2x32x1, got '2x32'"
    sizes = study.load("quantised", "smoke").sizes
    with pytest.raises(StudyError, match=said):
        quantised.planned(sizes, "2x32", 16384, 0)
    sizes = study.load("transfer", "smoke").sizes
    with pytest.raises(StudyError, match=said):
        transferred.Transferred(sizes, None, "2x32", 0).run(sizes["to"], 16384, 0.01)


def test_what_pretraining_is_worth_is_unknown_below_the_least_amount_too():
    rows = [(1, 0, 1000, False, 2.0), (1, 0, 4000, False, 1.5), (1, 0, 1000, True, 2.5)]
    found = effective.transferred(pd.DataFrame(rows, columns=["N", "seed", "amount", "pretrained", "loss"]))
    assert found["D_T"].isna().all()


# ---- a mixture with worse text -----------------------------------------------------------------------------


def test_worse_text_is_drawn_at_its_share_and_clean_runs_are_as_they_were():
    from scalinglaws.lm import batches
    from scalinglaws.lm.corpus import open_corpus

    corpus = open_corpus("known_entropy")
    run = TINY.with_(unique_tokens=4096)
    plain, mixed = (batches.Batches(r, corpus) for r in (run, run.with_(noised=0.25)))
    assert run.with_(noised=0.0).hash == run.hash != run.with_(noised=0.25).hash
    assert np.array_equal(plain.tokens, mixed.tokens[: mixed.clean])
    starts = np.concatenate([mixed.chunk(step).ravel() for step in range(0, 64 * 64, 64)])
    pooled = starts >= mixed.clean
    assert pooled.mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / len(pooled)) ** 0.5)
    assert (starts[~pooled] + run.context < mixed.clean).all()
    same = plain.chunk(0) == mixed.chunk(0)
    assert (same | (mixed.chunk(0) >= mixed.clean)).all()  # the clean windows are the same ones


def test_the_pool_is_the_corpus_with_some_tokens_exchanged():
    from scalinglaws.lm import batches

    pool = batches.worse("known_entropy", 3)
    clean = batches._cut("known_entropy", batches.POOL, 3 + 2**32)
    changed = (pool != clean).mean()
    assert 0.15 < changed < batches.EXCHANGED  # some are exchanged for their like
    assert np.abs(np.bincount(pool, minlength=32) / len(pool) - np.bincount(clean, minlength=32) / len(clean)).max() < 0.01


def test_an_endless_source_has_no_worse_text():
    from scalinglaws.datasets import DataError

    with pytest.raises(DataError, match="set unique_tokens"):
        Trainer([TINY.with_(noised=0.5)])
    with pytest.raises(ConfigError, match="noised"):
        TINY.with_(noised=1.5)


def test_gains_are_over_the_run_on_good_text_alone():
    from scalinglaws.pretraining import filtered

    rows = [
        {"N": N, "seed": seed, "noised": share, "branch_tokens": [10, 20], "branch_loss": [3.0 - share + seed, 2.0 + share + N]}
        for N in (1, 2) for seed in (0, 1) for share in (0.5, 0.0)
    ]  # fmt: skip
    table = filtered.losses(pd.DataFrame(rows))
    assert len(table) == 16
    assert table.loc[table["noised"] == 0, "gain"].eq(0).all()
    assert filtered.cells(table, 0.5, 10).tolist() == pytest.approx([0.5] * 4)
    assert filtered.cells(table, 0.5, 20).tolist() == pytest.approx([-0.5] * 4)
    best = filtered.best_share(table)
    assert best[10].eq(0.5).all()
    assert best[20].eq(0.0).all()


# ---- experts, and spans that are filled in -----------------------------------------------------------------


def test_one_expert_is_the_plain_model_and_equal_experts_are_too():
    run = TINY.with_(d_model=16, batch=2)
    plain, routed = (Trainer([r]) for r in (run, run.with_(experts=4)))
    assert run.hash == run.with_(experts=1).hash != run.with_(experts=4).hash
    tokens = torch.randint(0, 32, (1, 3, 17), generator=torch.Generator().manual_seed(0))
    parts = {k: v.clone() for k, v in plain.model.layout.views(plain.flat).items()}
    wide = {k: v.repeat(1, 1, 4) if k.endswith("up") else v.repeat(1, 4, 1) if k.endswith("down") else v for k, v in parts.items()}
    same = torch.cat([v.reshape(1, -1) for v in wide.values()], 1)
    assert torch.allclose(token_losses(plain.model, plain.flat, tokens), token_losses(routed.model, same, tokens), atol=1e-5)


def test_a_token_passes_one_expert_and_only_that_one_learns():
    model = Trainer([TINY.with_(experts=4)]).model
    tokens = torch.tensor([[[3, 7, 3, 7, 3]]])
    chosen = model.chosen(tokens)
    assert chosen.sum(-1).eq(1).all()
    assert torch.equal(chosen[0, 0, 1], chosen[0, 0, 3])  # the same pair, the same expert
    flat = model.initial(0)[None].requires_grad_()
    token_losses(model, flat, tokens).sum().backward()
    up = model.layout.views(flat.grad)["0.up"].view(1, TINY.d_model, 4, -1)
    moved = up.abs().sum((0, 1, 3)) > 0
    assert torch.equal(moved, chosen[0, 0, :4].sum(0) > 0)
    with pytest.raises(ConfigError, match="experts"):
        TINY.with_(experts=0)


def test_spans_are_cut_out_and_set_behind():
    from scalinglaws.lm.batches import cut_out

    whole = np.random.default_rng(0).integers(2, 250, (400, 31))
    rows = cut_out(whole, 1, np.random.default_rng(1))
    assert rows.shape == (400, 33)
    for row, text in zip(rows, whole, strict=True):
        first, second = np.flatnonzero(row == 1)
        back = np.concatenate([row[:first], row[second + 1 :], row[first + 1 : second]])
        assert np.array_equal(back, text)
        assert 1 <= 33 - 1 - second <= 15


def test_cut_windows_are_drawn_whole_and_at_their_share():
    from scalinglaws.lm import batches
    from scalinglaws.lm.corpus import open_corpus

    run = TINY.with_(unique_tokens=4096, denoised=0.5)
    own = batches.Batches(run, open_corpus("known_entropy"))
    starts = np.concatenate([own.chunk(step).ravel() for step in range(0, 64 * 32, 64)])
    cut = starts >= own.clean
    assert cut.mean() == pytest.approx(0.5, abs=4 * (0.25 / len(cut)) ** 0.5)
    assert ((starts[cut] - own.clean) % (run.context + 1) == 0).all()
    with pytest.raises(ConfigError, match="denoised"):
        run.with_(noised=0.1)


def test_denoising_is_measured_on_what_was_cut_out_alone():
    from scalinglaws.lm import denoised

    trainer = Trainer([TINY.with_(d_model=16)])
    windows = torch.randint(0, 31, (6, 17), generator=torch.Generator().manual_seed(0))
    windows[:, 5] = windows[:, 12] = 31
    losses = token_losses(trainer.model, trainer.flat, windows[None])[0]
    assert denoised.infilling(trainer, windows, 31) == pytest.approx(float(losses[:, 12:].mean()), rel=1e-5)
