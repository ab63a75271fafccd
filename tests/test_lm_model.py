"""The models: counts, gradients, causality, replicas, learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scalinglaws.flops import Shape, parameters, training_flops
from scalinglaws.lm.config import ConfigError, Run
from scalinglaws.lm.loss import build_model
from scalinglaws.lm.lstm import LSTM
from scalinglaws.lm.model import Transformer, token_losses
from scalinglaws.lm.train import Trainer

TINY = Run(
    corpus="known_entropy", n_layer=2, d_model=8, n_head=2, context=12, batch=4, tokens=480,
    learning_rate=0.01, precision="fp32", evaluation_tokens=480,
)  # fmt: skip


def windows(run, R=1, B=3, vocabulary=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, (R, B, run.context + 1), generator=generator)


def flat_of(model, R=1, dtype=torch.float32):
    return torch.stack([model.initial(seed) for seed in range(R)]).to(dtype)


@pytest.mark.parametrize(("layers", "d", "heads", "ffw"), [(1, 8, 1, 0), (3, 48, 2, 0), (2, 32, 4, 64)])
def test_parameter_counts_agree_with_flops(layers, d, heads, ffw):
    run = TINY.with_(n_layer=layers, d_model=d, n_head=heads, d_ffw=ffw or 4 * d)
    layout = Transformer(run, 256).layout
    body = sum(s for name, s in zip(layout.shapes, layout.sizes, strict=True) if "." in name)
    assert body == run.size(256)["N"] == parameters(run.shape(256), "kaplan")
    assert layout.size == run.size(256)["N_total"]
    if not ffw:
        assert body == 12 * layers * d**2


def test_lstm_has_eight_matrices_a_layer():
    run = TINY.with_(architecture="lstm", n_layer=3, d_model=16, n_head=1)
    assert run.size(100) == {"N": 3 * 8 * 16**2, "N_total": 3 * 8 * 16**2 + 100 * 16}
    assert LSTM(run, 100).layout.size == run.size(100)["N_total"] + 3 * 4 * 16  # and the biases


def test_flops_count_the_last_layer():
    run = TINY.with_(d_model=32, n_head=1)
    shape = Shape(2, 32, 128, 32, 1, 256, 12)
    assert run.flops(256, 1000) == 6 * (12 * 2 * 32**2 + 256 * 32) * 1000
    assert run.flops(256, 1000) == training_flops(shape, 1000, "kaplan", last_layer=True)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_an_untrained_model_guesses_evenly(architecture):
    run = TINY.with_(architecture=architecture, d_model=32, n_head=2)
    model = build_model(run, 256)
    loss = token_losses(model, flat_of(model), windows(run, B=64, vocabulary=256)).mean().item()
    assert loss == pytest.approx(math.log(256), abs=0.25)  # logits of σ ≈ .1·√32 add half their variance
    zero = torch.zeros(1, model.layout.size)
    assert token_losses(model, zero, windows(run)).mean().item() == pytest.approx(math.log(256), abs=1e-6)


def reference_loss(model, flat, tokens):
    """The transformer once more, in NumPy float64, one token's attention at a time, straight from its equations."""
    d, heads = model.d, model.heads
    p, at = {}, 0
    for name, shape in model.layout.shapes.items():
        size = math.prod(shape)
        p[name] = flat[at : at + size].reshape(shape)
        at += size

    def norm(x):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + np.finfo(float).eps)

    losses = []
    for row in tokens:
        T = len(row) - 1
        x = p["embedding"][row[:-1]]
        turn = np.exp(1j * np.arange(T)[:, None] * 10_000.0 ** (-np.arange(0, d // heads, 2) / (d // heads)))
        for i in range(model.n_layer):
            q, k, v = np.split(norm(x) @ p[f"{i}.qkv"], 3, axis=1)
            mixed = np.zeros_like(x)
            for h in range(heads):
                part = slice(h * d // heads, (h + 1) * d // heads)
                # rotary positions: pairs as complex numbers, turned by their position
                qc, kc = (np.split(z[:, part], 2, axis=1) for z in (q, k))
                qc, kc = ((z[0] + 1j * z[1]) * turn for z in (qc, kc))
                for t in range(T):
                    scores = (kc[: t + 1].conj() @ qc[t]).real / math.sqrt(d // heads)
                    weights = np.exp(scores - scores.max())
                    mixed[t, part] = weights @ v[: t + 1, part] / weights.sum()
            x = x + mixed @ p[f"{i}.out"]
            u = norm(x) @ p[f"{i}.up"]
            gelu = 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
            x = x + gelu @ p[f"{i}.down"]
        logits = norm(x) @ p["embedding"].T
        logits -= logits.max(1, keepdims=True)
        losses.append(np.log(np.exp(logits).sum(1)) - logits[np.arange(T), row[1:]])
    return np.array(losses)


def test_loss_and_gradient_against_a_float64_reference():
    model = Transformer(TINY, 32)
    flat = flat_of(model, dtype=torch.float64) * 3  # away from the symmetric start
    tokens = windows(TINY)
    plain = flat[0].numpy()
    expected = reference_loss(model, plain, tokens[0].numpy())
    leaf = flat.clone().requires_grad_()
    losses = token_losses(model, leaf, tokens, torch.float64)
    np.testing.assert_allclose(losses[0].detach().numpy(), expected, rtol=1e-9)
    (gradient,) = torch.autograd.grad(losses.mean(), leaf)
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.normal(size=plain.size)
        direction /= np.linalg.norm(direction)
        h = 1e-5
        slope = (
            reference_loss(model, plain + h * direction, tokens[0].numpy()).mean()
            - reference_loss(model, plain - h * direction, tokens[0].numpy()).mean()
        ) / (2 * h)
        assert float(gradient[0].numpy() @ direction) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_float32_gradient_is_close_to_float64():
    trainer = Trainer([TINY])
    tokens = torch.from_numpy(trainer.batches[0].batch(0))[None]
    _, narrow = trainer._executor.gradient(tokens)
    wide = trainer.flat.double().requires_grad_()
    (exact,) = torch.autograd.grad(token_losses(trainer.model, wide, tokens, torch.float64).mean(), wide)
    assert (narrow - exact).norm() / exact.norm() < 1e-4  # rounding, some hundred times 2⁻²³


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_the_future_is_not_seen(architecture):
    run = TINY.with_(architecture=architecture)
    model = build_model(run, 32)
    flat = flat_of(model)
    tokens = windows(run)
    changed = tokens.clone()
    changed[..., 8:] = (changed[..., 8:] + 1) % 32
    p = model.layout.views(flat)
    before, after = model.logits(p, tokens[..., :-1]), model.logits(p, changed[..., :-1])
    assert torch.equal(before[:, :, :8], after[:, :, :8])
    assert not torch.allclose(before[:, :, 8:], after[:, :, 8:])


def test_lstm_equals_torch_nn_lstm():
    run = TINY.with_(architecture="lstm", n_layer=2, d_model=8, n_head=1)
    model = LSTM(run, 32)
    p = model.layout.views(flat_of(model))
    module = torch.nn.LSTM(8, 8, 2, batch_first=True)
    with torch.no_grad():
        for i in range(2):
            getattr(module, f"weight_ih_l{i}").copy_(p[f"{i}.input"][0])
            getattr(module, f"weight_hh_l{i}").copy_(p[f"{i}.hidden"][0])
            getattr(module, f"bias_ih_l{i}").copy_(p[f"{i}.bias"][0])
            getattr(module, f"bias_hh_l{i}").zero_()
        tokens = windows(run)[0, :, :-1]
        hidden, _ = module(p["embedding"][0][tokens] * 8**0.5)
        expected = hidden @ p["embedding"][0].T
    torch.testing.assert_close(model.logits(p, tokens[None])[0], expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stacked_replicas_equal_separate_runs(precision):
    base = TINY.with_(tokens=4 * 12 * 30, precision=precision)
    runs = [base.with_(seed=s, learning_rate=lr) for s, lr in ((0, 0.003), (1, 0.01), (2, 0.03))]
    together = Trainer(runs).train()
    for run, stacked in zip(runs, together, strict=True):
        (alone,) = Trainer([run]).train()
        tolerance = 1e-4 if precision == "fp32" else 0.02
        assert stacked["loss"] == pytest.approx(alone["loss"], abs=tolerance)
        np.testing.assert_allclose(stacked["curve_loss"], alone["curve_loss"], atol=tolerance)
    losses = [r["loss"] for r in together]
    assert max(losses) - min(losses) > 0.01  # the learning rates matter, so the test can tell them apart


def test_replicas_must_share_a_shape():
    with pytest.raises(ConfigError, match="learning_rate and seed only"):
        Trainer([TINY, TINY.with_(batch=8)])


@pytest.mark.long
@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_a_copy_task_is_learnt(architecture, monkeypatch):
    """Second half of every window repeats the first: only a model that attends or remembers can know it.

    Who knows which four tokens there were, and not their order, pays 1.14 nats for the first of them. The dearest
    place of the repeated half ends at .06 to .18 over six seeds (transformer) and at .01 to .29 over five (LSTM).
    """
    run = TINY.with_(
        architecture=architecture, n_layer=2, d_model=32, n_head=2, context=7, batch=64, tokens=64 * 7 * (400 if architecture == "transformer" else 1500),
        learning_rate=0.01, evaluation_tokens=700,
    )  # fmt: skip
    trainer = Trainer([run])

    def copies(step):
        half = np.random.default_rng(step).integers(0, 8, (64, 4))
        return np.concatenate([half, half], axis=1).astype(np.int64)

    monkeypatch.setattr(trainer.batches[0], "batch", copies)
    trainer.train()
    tokens = torch.from_numpy(copies(10**6))[None]
    losses = token_losses(trainer.model, trainer.flat, tokens)[0].mean(0)
    assert losses[3:].max() < math.log(8) / 4  # the repeated half
    assert losses[:3].min() > math.log(8) - 0.1  # the random half cannot be known


def test_dropout_changes_training_and_not_evaluation():
    run = TINY.with_(dropout=0.5)
    trainer = Trainer([run])
    assert trainer.evaluate() == trainer.evaluate()
    tokens = torch.from_numpy(trainer.batches[0].batch(0))[None]
    assert trainer._executor.gradient(tokens)[0] != trainer._executor.gradient(tokens)[0]


@pytest.mark.long
def test_compiled_and_plain_agree():
    run = TINY.with_(tokens=4 * 12 * 20)
    plain, compiled = (Trainer([run], compiled=c).train()[0] for c in (False, True))
    assert plain["loss"] == pytest.approx(compiled["loss"], abs=1e-4)
