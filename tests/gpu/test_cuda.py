"""The engine on a GPU: run with `make test-gpu` on a machine that has one; there is nothing here to skip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalinglaws.lm import checkpoint
from scalinglaws.lm.config import Run
from scalinglaws.lm.train import Trainer

RUN = Run(
    corpus="known_entropy", n_layer=2, d_model=32, n_head=2, context=32, batch=8, tokens=256 * 80,
    learning_rate=0.005, precision="fp32", evaluation_tokens=3200, warmup=1024, evaluate_at=(10240,),
)  # fmt: skip
MODES = [
    {},
    {"unique_tokens": 4096},
    {"schedule": "wsd", "branches": (5120, 10240)},
    {"architecture": "lstm", "n_head": 1},
]


def trained(runs, device, **options):
    trainer = Trainer(runs, device, **options)
    return trainer, trainer.train()


@pytest.mark.parametrize("mode", MODES)
def test_a_gpu_trains_as_a_cpu_does(mode):
    """The same tokens in the same order: losses agree until rounding has grown."""
    run = RUN.with_(**mode)
    (_, (here,)), (_, (there,)) = trained([run], "cpu"), trained([run], "cuda")
    assert there["loss"] == pytest.approx(here["loss"], rel=3e-3)
    np.testing.assert_allclose(there["curve_loss"][:4], here["curve_loss"][:4], rtol=1e-4)
    np.testing.assert_allclose(there["branch_loss"], here["branch_loss"], rtol=3e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_replicas_equal_separate_runs(compiled):
    runs = [RUN.with_(seed=s, learning_rate=r) for s, r in ((0, 0.002), (1, 0.005), (0, 0.01))]
    _, together = trained(runs, "cuda", compiled=compiled)
    for run, result in zip(runs, together, strict=True):
        _, (alone,) = trained([run], "cuda")
        assert result["loss"] == pytest.approx(alone["loss"], rel=3e-3)
        np.testing.assert_allclose(result["curve_loss"][:4], alone["curve_loss"][:4], rtol=1e-4)
    assert len({r["loss"] for r in together}) == 3


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_resume_is_bit_exact(tmp_path, dropout):
    run = RUN.with_(precision="bf16", dropout=dropout)
    whole, (expected,) = trained([run], "cuda")
    first = Trainer([run], "cuda")

    class Enough(Exception):
        pass

    def stop(trainer):
        if trainer.steps_done == 33:
            checkpoint.save(trainer, tmp_path / "c")
            raise Enough

    with pytest.raises(Enough):
        first.train(stop)
    second = Trainer([run], "cuda")
    checkpoint.load(second, tmp_path / "c")
    (result,) = second.train()
    assert torch.equal(second.flat, whole.flat)
    assert result["curve_loss"] == expected["curve_loss"]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_captured_step_drops_other_units_each_time(compiled):
    """At rate zero two steps on the same batch differ by dropout alone."""
    run = RUN.with_(dropout=0.3, schedule="constant", warmup=0, batch=64, learning_rate=1e-12)
    trainer = Trainer([run], "cuda", compiled)
    drawn = []
    for step in range(10):
        torch.manual_seed(step)
        trainer._executor.step(0, torch.tensor([[0.0], [1.0]]))
        drawn.append(float(trainer._executor.take_losses()[0]))
    torch.manual_seed(9)
    trainer._executor.step(0, torch.tensor([[0.0], [1.0]]))
    assert trainer._executor.graph is not None
    assert len(set(drawn)) == 10
    assert float(trainer._executor.take_losses()[0]) == drawn[-1]
