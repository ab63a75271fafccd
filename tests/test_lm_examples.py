"""Training on examples: the executor's gradient against a plain one, order, the captured form, and learning."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scalinglaws.lm import executor as executors
from scalinglaws.lm import optimiser
from scalinglaws.lm.examples import (
    PAD,
    Examples,
    Recipe,
    Shuffled,
    Size,
    _State,
    answers,
    fit,
    next_token_loss,
)

SIZE, VOCABULARY = Size(2, 16, 2), 11


@pytest.fixture(scope="module")
def model():
    return SIZE.transformer(VOCABULARY)


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    contexts = [rng.integers(1, VOCABULARY, rng.integers(1, 9)).tolist() for _ in range(150)]
    targets = [rng.integers(1, VOCABULARY, rng.integers(1, 7)).tolist() for _ in range(150)]
    return answers(contexts, targets)


def whole(model):
    def loss(flat, *batch):
        total, weight = next_token_loss(model, model.layout.views(flat), *batch)
        return total, total[None], weight

    return loss


def state(model):
    flat = model.initial(0)[None]
    return _State(flat, torch.zeros_like(flat), torch.zeros_like(flat))


def test_parts_of_like_length_add_up_to_the_batch(model, examples):
    """Against one example at a time: −log p of the target's tokens, mean over all of them."""
    feed = Shuffled(examples, 100, 3)
    work = executors.executor(state(model), whole(model), feed, {})
    batch = feed.batch(0)
    parts = list(feed.parts(batch))
    assert len(parts) == 4
    assert sum(p[0].numel() for p in parts) < 0.8 * batch[0].numel()
    reported, gradient = work.gradient(*batch)
    flat = model.initial(0)[None].requires_grad_()
    total = 0.0
    for i in feed.rows(0):
        n = int((examples.tokens[i] != PAD).sum())
        row = torch.from_numpy(examples.tokens[i, :n].astype(np.int64))
        logits = model.logits(model.layout.views(flat), row[None, None, :-1])[0, 0]
        each = F.cross_entropy(logits, row[1:], reduction="none")
        total = total + each[torch.from_numpy(examples.weight[i, 1:n]) > 0].sum()
    mean = total / examples.weight[feed.rows(0)].sum()
    (expected,) = torch.autograd.grad(mean, flat)
    assert float(reported) == pytest.approx(float(mean.detach()), rel=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_every_example_comes_once_before_any_comes_twice(examples):
    feed = Shuffled(examples, 40, 1)
    seen = np.concatenate([feed.rows(step) for step in range(15)])
    for i in range(4):
        assert sorted(seen[150 * i : 150 * (i + 1)]) == list(range(150))
    assert (seen[:150] != seen[150:300]).any()
    other = Shuffled(examples, 40, 1)
    chunk = other.chunk(0)
    assert chunk.shape == (executors.CHUNK, 40)
    assert (chunk[:15].ravel() == seen).all()
    assert (other.chunk(executors.CHUNK + 3)[0] != chunk[0]).any()
    with pytest.raises(ValueError, match="step 3 have gone by"):
        other.rows(3)


@pytest.mark.parametrize("labelled", [False, True])
def test_the_gpu_step_computes_the_same(model, examples, labelled):
    """The step that is captured on a GPU, run plainly: examples whole on the device, gathered by number."""
    label = np.random.default_rng(1).random(examples.tokens.shape).astype(np.float32) if labelled else None
    data = Examples(examples.tokens, examples.weight, label)

    def loss(flat, tokens, weight, label=None):
        total, n = next_token_loss(model, model.layout.views(flat), tokens, weight)
        if label is not None:
            total = total + (label * weight).sum() * flat.square().mean()
        return total, total[None], n

    hyper = {"beta1": 0.9, "beta2": 0.95, "decay": 0.01, "clip": 1.0}
    plain, gathered = state(model), state(model)
    cpu = executors.CPU(plain, loss, Shuffled(data, 16, 0), hyper)
    gpu = executors.CUDA(gathered, loss, Shuffled(data, 16, 0), hyper)
    for step in range(70):
        rates = torch.tensor(optimiser.corrections([0.01], step + 1, 0.9, 0.95))
        cpu.step(step, rates)
        gpu._send(step, rates)
        gpu._whole_step()
    torch.testing.assert_close(plain.flat, gathered.flat, rtol=1e-2, atol=1e-3)  # 70 steps of rounding
    torch.testing.assert_close(cpu.take_losses(), gpu.take_losses(), rtol=1e-3, atol=1e-3)
    assert not torch.equal(plain.flat[0], model.initial(0))


def test_a_rule_is_learnt_and_a_loss_that_explodes_is_named(model):
    """The target repeats the context's last token: nothing is left to be guessed."""
    rng = np.random.default_rng(2)
    contexts = [rng.integers(1, VOCABULARY, 4).tolist() for _ in range(400)]
    data = answers(contexts, [[c[-1]] for c in contexts])
    loss = partial(next_token_loss, model)
    recipe = Recipe(steps=300, batch=32, learning_rate=0.01, warmup=10)
    flat = fit(model.initial(0), model.layout, loss, data, recipe)
    batch = Shuffled(data, 400, 0).batch(0)
    total, n = next_token_loss(model, model.layout.views(flat[None]), *batch)
    assert float(total / n) < 0.1 < np.log(VOCABULARY - 1)
    broken = torch.full_like(model.initial(0), float("nan"))
    with pytest.raises(FloatingPointError, match="the loss is nan by step 64: lower the learning rate"):
        fit(broken, model.layout, loss, data, recipe)
