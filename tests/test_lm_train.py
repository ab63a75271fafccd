"""Training: schedules, AdamW, resuming, divergence, early stopping, branches, noise scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalinglaws.datasets import DataError
from scalinglaws.lm import checkpoint, optimiser, schedule
from scalinglaws.lm import executor as executors
from scalinglaws.lm.batches import Batches, training_tokens
from scalinglaws.lm.config import ConfigError, Run
from scalinglaws.lm.corpus import Corpus, open_corpus
from scalinglaws.lm.model import token_losses
from scalinglaws.lm.noise import noise_scale
from scalinglaws.lm.train import Trainer

RUN = Run(
    corpus="known_entropy", n_layer=1, d_model=8, n_head=1, context=16, batch=4, tokens=64 * 40,
    learning_rate=0.01, precision="fp32", evaluation_tokens=1600, warmup=256,
)  # fmt: skip


def test_cosine_follows_its_formula():
    run = RUN.with_(warmup=0, tokens=64 * 100, final_rate=0.1)
    (segment,) = schedule.plan(run)
    rates = [schedule.rate(run, segment, s) for s in range(100)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1, abs=0.001)
    long = run.with_(cycle=2.0)
    assert schedule.rate(long, segment, 99) == pytest.approx(schedule.rate(run, segment, 49), abs=0.01)


def test_warmup_is_linear_in_tokens():
    run = RUN.with_(warmup=64 * 10, schedule="constant")
    (segment,) = schedule.plan(run)
    assert [schedule.rate(run, segment, s) for s in (0, 4, 9, 10, 39)] == pytest.approx([0.1, 0.5, 1, 1, 1])


@given(
    steps=st.integers(5, 400),
    shares=st.lists(st.floats(0.05, 1.0), max_size=4),
    cooldown=st.floats(0.05, 1.0),
)
def test_a_plan_covers_the_trunk_once_and_every_branch(steps, shares, cooldown):
    run = RUN.with_(
        tokens=64 * steps, schedule="wsd", cooldown=cooldown,
        branches=tuple(sorted({max(1, round(64 * steps * s)) for s in shares})),
    )  # fmt: skip
    segments = schedule.plan(run)
    trunk = [s for s in segments if not s.branch]
    position = 0
    for segment in trunk:
        assert segment.start == position  # contiguous: branches leave the trunk where it was
        position = segment.end
    ends = {s.end for s in segments if s.branch} | (
        {run.steps} if trunk and trunk[-1].end == run.steps else set()
    )
    assert {run.step_of(b) for b in run.branches} <= ends
    assert run.steps in ends | {s.end for s in segments}
    for s in segments:
        if s.cooldown_from is not None:
            assert s.cooldown_from <= s.start < s.end
            assert schedule.rate(run.with_(warmup=0), s, s.end) == pytest.approx(run.final_rate)
    extra = sum(s.end - s.start for s in segments if s.branch)
    assert schedule.planned_steps(run) == run.steps + extra


@pytest.mark.parametrize("clip", [1e9, 0.01])
def test_adamw_equals_torch(clip):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 50, generator=generator)
    gradients = [torch.randn(2, 50, generator=generator) for _ in range(20)]
    rates = [0.01, 0.003]
    expected = []
    for r, rate in enumerate(rates):
        weight = torch.nn.Parameter(start[r].clone())
        reference = torch.optim.AdamW([weight], lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
        for g in gradients:
            weight.grad = g[r].clone()
            torch.nn.utils.clip_grad_norm_([weight], clip)
            reference.step()
        expected.append(weight.detach())
    flat, first, second = start.clone(), torch.zeros(2, 50), torch.zeros(2, 50)
    for step, g in enumerate(gradients, 1):
        now = torch.tensor(optimiser.corrections(rates, step, 0.9, 0.95))
        optimiser.adamw(flat, g, first, second, now, beta1=0.9, beta2=0.95, decay=0.1, clip=clip)
    torch.testing.assert_close(flat, torch.stack(expected), rtol=1e-4, atol=1e-6)


def test_a_broken_replica_leaves_the_others_alone():
    flat, first, second = torch.ones(2, 5), torch.zeros(2, 5), torch.zeros(2, 5)
    gradient = torch.ones(2, 5)
    gradient[0, 3] = math.inf
    rates = torch.tensor(optimiser.corrections([0.1, 0.1], 1, 0.9, 0.95))
    optimiser.adamw(flat, gradient, first, second, rates, beta1=0.9, beta2=0.95, decay=0.0, clip=1.0)
    assert torch.equal(flat[0], torch.ones(5))
    assert (flat[1] < 1).all()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropout": 0.2},
        {"precision": "bf16"},
        {"schedule": "wsd", "branches": (64 * 15, 64 * 30)},
        {"architecture": "lstm"},
    ],
    ids=["plain", "dropout", "bf16", "branches", "lstm"],
)
def test_resume_is_exact(tmp_path, changes):
    run = RUN.with_(evaluate_at=(64 * 10, 64 * 20), noise_batches=2, **changes)
    whole = Trainer([run])
    (expected,) = whole.train()
    saved = []

    def save_everywhere(trainer):
        if trainer.steps_done in (7, 14, 29, 39):
            path = tmp_path / f"{trainer.steps_done}.ckpt"
            checkpoint.save(trainer, path)
            saved.append(path)

    Trainer([run]).train(save_everywhere)
    assert len(saved) == 4
    for path in saved:
        again = Trainer([run])
        checkpoint.load(again, path)
        (result,) = again.train()
        assert torch.equal(again.flat, whole.flat)
        assert torch.equal(again.second, whole.second)
        for key in expected.keys() - {"seconds"}:
            assert repr(result[key]) == repr(expected[key]), key


def test_a_damaged_checkpoint_is_refused_and_leaves_the_trainer(tmp_path):
    trainer = Trainer([RUN])
    path = tmp_path / "x.ckpt"
    checkpoint.save(trainer, path)
    content = path.read_bytes()
    before = trainer.flat.clone()
    flipped = bytearray(content)
    flipped[-100] ^= 1  # a single bit of a weight
    for damage in (
        bytes(flipped),
        content[: len(content) // 2],
        b"",
        content[:4],
        b"\x80\x04evil pickle",
        content[:200] + b"#" + content[201:],
    ):
        path.write_bytes(damage)
        with pytest.raises(checkpoint.CheckpointError, match="starts over"):
            checkpoint.load(trainer, path)
    assert torch.equal(trainer.flat, before)
    checkpoint.save(Trainer([RUN.with_(seed=1)]), path)
    with pytest.raises(checkpoint.CheckpointError, match="another run"):
        checkpoint.load(trainer, path)


def test_a_checkpoint_of_other_code_is_not_resumed(tmp_path, monkeypatch):
    trainer, path = Trainer([RUN]), tmp_path / "x.ckpt"
    checkpoint.save(trainer, path)
    checkpoint.load(trainer, path)
    monkeypatch.setattr(checkpoint, "code_digest", lambda module: "other")
    with pytest.raises(checkpoint.CheckpointError, match="written by other code: training starts over"):
        checkpoint.load(trainer, path)


def test_divergence_is_a_status():
    run = RUN.with_(learning_rate=1e6, clip=1e9, weight_decay=0.0, tokens=64 * 60, warmup=0)
    (result,) = Trainer([run]).train()
    assert result["status"] == "diverged"
    assert math.isnan(result["loss"])
    assert result["steps_trained"] < run.steps


def test_early_stopping_reports_the_best_loss():
    run = RUN.with_(
        d_model=32, unique_tokens=512, tokens=64 * 600, patience=3,
        evaluate_at=tuple(range(640, 64 * 600, 640)), learning_rate=0.01,
    )  # fmt: skip
    (result,) = Trainer([run]).train()
    assert result["status"] == "stopped early"
    assert result["loss"] == min(result["evaluation_loss"])
    assert result["evaluation_loss"][-1] > result["loss"]
    assert result["steps_trained"] < run.steps


def test_a_branch_equals_a_run_of_its_own_length():
    """The state cooled down from the trunk is the state of a WSD run that was meant to stop there."""
    long = RUN.with_(schedule="wsd", tokens=64 * 60, branches=(64 * 20, 64 * 40))
    (result,) = Trainer([long]).train()
    assert result["branch_tokens"] == [64 * 20, 64 * 40]
    for tokens, loss in zip(result["branch_tokens"], result["branch_loss"], strict=True):
        (alone,) = Trainer([RUN.with_(schedule="wsd", tokens=tokens)]).train()
        assert loss == pytest.approx(alone["loss"], abs=1e-6)
    (plain,) = Trainer([RUN.with_(schedule="wsd", tokens=64 * 60)]).train()
    assert result["loss"] == pytest.approx(plain["loss"], abs=1e-6)
    assert result["flops"] > result["C"]  # the branches were paid for


def test_curve_averages_every_step_once():
    run = RUN.with_(tokens=64 * 100)
    trainer = Trainer([run])
    seen = []
    trainer.train(lambda t: seen.append(t.step))
    curve = trainer.curves[0]
    assert curve.curve_tokens[-1] == run.tokens
    spans = np.diff([0, *curve.curve_tokens]) / 64
    again = Trainer([run])
    losses = []
    while again.step < again.run.steps:
        again._train_step()
        losses.append(float(again._executor.take_losses()[0]))
    assert float(spans @ curve.curve_loss) == pytest.approx(sum(losses), rel=1e-9)


def test_noise_scale_is_unbiased_where_the_truth_is_known():
    """Gaussian gradients with |G|² = 4 and per-example tr Σ = 500: B_simple = 125."""
    rng = np.random.default_rng(0)
    P, k, b, events = 100, 8, 4, 4000
    G = np.zeros(P)
    G[:4] = 1.0
    sigma = math.sqrt(500 / P)
    small = G + rng.normal(size=(k, events, P)) * sigma / math.sqrt(b)
    found = noise_scale((small**2).sum(-1), (small.mean(0) ** 2).sum(-1), b)
    for name, truth in (("gradient", 4.0), ("trace", 500.0)):
        error = found[name].std() / math.sqrt(events)
        assert found[name].mean() == pytest.approx(truth, abs=4 * error)
        assert error < 0.02 * truth
    with pytest.raises(ValueError, match="two gradients"):
        noise_scale(np.ones((1, 3)), np.ones(3), b)


def test_measured_noise_is_that_of_the_gradients():
    """|G|² and tr Σ of one state, against the gradients of many single windows."""
    run = RUN.with_(evaluate_at=(64,), noise_batches=48, tokens=64 * 20, batch=8)
    trainer = Trainer([run, run.with_(seed=3)])
    trainer.train()
    found = trainer.measure_noise()
    tokens = np.stack([np.concatenate([b.batch(5000 + k) for k in range(100)]) for b in trainer.batches])
    single = torch.stack(
        [trainer._executor.gradient(torch.from_numpy(tokens[:, i : i + 1]))[1] for i in range(800)]
    )
    centred = single - single.mean(0)
    trace = centred.square().sum(2).sum(0) / (len(single) - 1)
    signal = single.mean(0).square().sum(1) - trace / len(single)
    for r in range(2):
        assert found["trace"][r] == pytest.approx(float(trace[r]), rel=0.15)
        assert found["gradient"][r] == pytest.approx(float(signal[r]), rel=0.25)


def test_positions_and_transfer_are_what_they_say():
    run = RUN.with_(transfer="known_entropy", evaluate_at=(64 * 20,), corpus="known_entropy")
    trainer = Trainer([run])
    (result,) = trainer.train()
    windows = torch.from_numpy(trainer.corpus.evaluation(run.evaluation_tokens, run.context))[None]
    losses = token_losses(trainer.model, trainer.flat, windows)[0].double().mean(0)
    np.testing.assert_allclose(result["position_loss"], losses, rtol=1e-6)
    assert result["loss"] == pytest.approx(float(losses[2:].mean()), rel=1e-6)
    assert result["transfer_final"] == pytest.approx(result["loss"])  # the same corpus, by its other name
    assert len(result["transfer_loss"]) == 1
    with pytest.raises(DataError, match="tokens mean different things"):
        Trainer([RUN.with_(transfer="gutenberg")])


def test_the_gpu_step_computes_the_same(monkeypatch):
    """The captured step, run plainly on the CPU: starts sent by chunk, windows gathered on the device."""
    runs = [
        RUN.with_(seed=s, learning_rate=r, unique_tokens=u)
        for s, r in ((0, 0.01), (1, 0.02))
        for u in (2048,)
    ]
    for pair in (runs, [r.with_(unique_tokens=0) for r in runs]):
        plain, gathered = Trainer(pair), Trainer(pair)
        own = gathered._executor
        gpu = executors.CUDA(gathered, own.loss, own.feed, own.hyper)
        for step in (0, 1, 63, 64, 65):
            rates = torch.tensor(optimiser.corrections([0.01, 0.02], step + 1, 0.9, 0.95))
            plain._executor.step(step, rates)
            gpu._send(step, rates)
            gpu._whole_step()
        torch.testing.assert_close(plain.flat, gathered.flat, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(plain._executor.take_losses(), gpu.take_losses())
        assert not torch.equal(gathered.flat[0], gathered.flat[1])


def test_evaluation_windows_are_never_training_windows():
    """The source's held-out sample comes from counters that no training step of any seed uses."""
    corpus = open_corpus("known_entropy")
    run = RUN.with_(batch=32, context=128)
    held_out = {row.tobytes() for row in corpus.evaluation(2**18, 128)}
    for seed in range(4):
        batches = Batches(run.with_(seed=seed), corpus)
        seen = {row.tobytes() for step in range(0, 192, 16) for row in batches.batch(step)}
        assert not seen & held_out


def test_micro_batches_sum_to_the_batch(monkeypatch):
    run = RUN.with_(batch=12)
    trainer = Trainer([run])
    tokens = torch.from_numpy(trainer.batches[0].batch(0))[None]
    loss, whole = trainer._executor.gradient(tokens)
    import scalinglaws.lm.batches as batches

    monkeypatch.setattr(batches, "MICRO_BATCH", 5)
    pieces_loss, pieces = trainer._executor.gradient(tokens)
    torch.testing.assert_close(whole, pieces, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, pieces_loss)


def test_batches_are_a_function_of_seed_and_step():
    corpus = open_corpus("known_entropy")
    a, b = Batches(RUN, corpus), Batches(RUN, corpus)
    late = a.batch(130)
    for step in range(3):
        b.batch(step)
    assert (late == b.batch(130)).all()
    assert (a.batch(129) != late).any()
    assert (Batches(RUN.with_(seed=5), corpus).batch(130) != late).any()


def test_a_cut_corpus_has_that_many_tokens_from_all_over():
    import scalinglaws.lm.batches as batches
    import scalinglaws.lm.corpus as corpora

    train = np.arange(50_000).astype(np.uint16)
    corpus = Corpus("numbers", 50_000, train, train[:100])
    patch = pytest.MonkeyPatch()
    patch.setattr(corpora, "open_corpus", lambda name: corpus)
    batches._cut.cache_clear()
    try:
        cut = training_tokens(corpus, 5000, 0)
        other = training_tokens(corpus, 5000, 1)
    finally:
        patch.undo()
        batches._cut.cache_clear()
    assert len(cut) == len(np.unique(cut)) == 5000
    assert cut.max() - cut.min() > 20_000
    assert (cut != other).any()
    assert training_tokens(corpus, 0, 0) is train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_head": 3}, "n_head = 3 must divide d_model = 8"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0 must be positive"),
        ({"schedule": "linear"}, "schedule = 'linear' must be one of"),
        ({"cycle": 0.5}, "cycle = 0.5"),
        ({"branches": (64,)}, "need schedule 'wsd'"),
        ({"tokens": 0}, "tokens = 0"),
        ({"evaluation_tokens": 3}, "evaluation_tokens = 3"),
        ({"noise_batches": 1, "evaluate_at": (64,)}, "noise_batches = 1 must be at least 2"),
        ({"noise_batches": 4}, "noise_batches = 4 needs evaluate_at"),
        ({"patience": 4}, "patience = 4 needs evaluate_at"),
        ({"weight_decay": -0.1}, "weight_decay = -0.1 must not be negative"),
        ({"beta2": 1.0}, "beta2 = 1.0 must be in [0, 1)"),
        ({"tokens": 1.5}, "tokens = 1.5 must be a whole number"),
        ({"corpus": 3}, "corpus = 3 must be text"),
    ],
)
def test_a_run_that_cannot_be_trained_names_the_field(changes, message):
    with pytest.raises(ConfigError) as caught:
        RUN.with_(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hash_names_the_content_and_survives_new_defaults():
    assert RUN.hash == Run.from_dict(RUN.to_dict()).hash
    assert RUN.hash != RUN.with_(seed=1).hash
    assert RUN.with_(d_ffw=32).hash == RUN.hash  # the default, written out
    assert RUN.with_(tokens=np.int64(RUN.tokens)).hash == RUN.hash
    assert RUN.with_(evaluate_at=[640, 64]).hash == RUN.with_(evaluate_at=(64, 640)).hash
    with pytest.raises(ConfigError, match="unknown field 'lr'"):
        Run.from_dict({"lr": 1})
