"""The training loop: one run, or several of one shape at once, from first step to result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields

import numpy as np
import torch

from . import optimiser, schedule
from .batches import Batches, Streams
from .config import ConfigError, Run
from .corpus import open_corpus, same_tokens
from .executor import executor
from .loss import build_model, stream_loss
from .model import token_losses
from .noise import noise_scale

CURVE_RATIO = 2**0.25
"""The training curve is averaged over buckets whose ends grow by this factor."""


@dataclass
class Curves:
    """What one replica measured on the way; tokens count from the start of training."""

    curve_tokens: list[int] = field(default_factory=list)
    curve_loss: list[float] = field(default_factory=list)
    evaluation_tokens_seen: list[int] = field(default_factory=list)
    evaluation_loss: list[float] = field(default_factory=list)
    transfer_loss: list[float] = field(default_factory=list)
    noise_gradient: list[float] = field(default_factory=list)
    noise_trace: list[float] = field(default_factory=list)
    branch_tokens: list[int] = field(default_factory=list)
    branch_loss: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    status: str = "training"


class Trainer:
    """Trains runs that differ in learning rate and seed only, as replicas of one program.

    State: `flat`, `first`, `second` [R, P] (parameters and AdamW's moments), the place in the
    plan (`segment`, `step`) and the curves. Everything else follows from the runs, so that the
    state is all a checkpoint holds.
    Raises ConfigError when the runs do not share a shape.
    """

    def __init__(self, runs: list[Run], device: str = "cpu", compiled: bool = False):
        self.runs, self.run, self.device, self.compiled = runs, runs[0], torch.device(device), compiled
        same = {r.with_(learning_rate=1.0, seed=0) for r in runs}
        if len(same) != 1 or (len(runs) > 1 and self.run.patience):
            raise ConfigError(
                "replicas may differ in learning_rate and seed only, and cannot stop early one by one"
            )
        self.corpus = open_corpus(self.run.corpus)
        if self.run.transfer:
            same_tokens(self.run.corpus, self.run.transfer)
        self.model = build_model(self.run, self.corpus.vocabulary, self.device)
        self.batches = [Batches(r, self.corpus) for r in runs]
        self.flat = torch.stack([self.model.initial(r.seed) for r in runs]).to(self.device)
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.curves = [Curves() for _ in runs]
        self.segments = schedule.plan(self.run)
        self.segment = self.step = self.steps_done = 0
        self.trunk: dict[str, torch.Tensor] = {}
        self.bucket_loss = torch.zeros(len(runs), dtype=torch.float64)
        self.bucket_start = 0
        self.seconds = 0.0
        self._ends = set(_bucket_ends(self.run.steps))
        self._evaluations = {self.run.step_of(t) for t in self.run.evaluate_at}
        run, corpus = self.run, self.corpus
        hyper = {"beta1": run.beta1, "beta2": run.beta2, "decay": run.weight_decay, "clip": run.clip}
        loss = stream_loss(run, corpus.vocabulary, corpus.scored_from, compiled, str(self.device))
        self._executor = executor(self, loss, Streams(self.batches), hyper)

    # -- one step ------------------------------------------------------------------------

    def _train_step(self) -> None:
        segment = self.segments[self.segment]
        factor = schedule.rate(self.run, segment, self.step)
        rates = optimiser.corrections(
            [factor * r.learning_rate for r in self.runs], self.step + 1, self.run.beta1, self.run.beta2
        )
        if self.run.dropout:
            torch.manual_seed(hash((self.run.seed, self.segment, self.step)))
        self._executor.step(self.step, torch.tensor(rates))
        self.step += 1
        self.steps_done += 1

    # -- the run -------------------------------------------------------------------------

    def train(self, tick: Callable[[Trainer], None] = lambda trainer: None) -> list[dict]:
        """Train to the end and return one result a replica; `tick` is called after every step.

        `loss` is the held-out loss at the end. With `patience` it is the best on the way, and
        `position_loss`, which nobody measured there, is empty if that was not the last; `D` is
        what was trained on either way. `branch_loss` has a value for each of the run's `branches`.
        """
        started = time.monotonic() - self.seconds
        while self.segment < len(self.segments) and any(c.status == "training" for c in self.curves):
            segment = self.segments[self.segment]
            if segment.branch and self.step == segment.start and not self.trunk:
                self._keep_trunk()
            while self.step < segment.end and any(c.status == "training" for c in self.curves):
                self._train_step()
                self._measure(segment)
                self.seconds = time.monotonic() - started
                tick(self)
            if segment.branch:
                self._end_branch()
            self.segment += 1
        results = self._results()
        self.seconds = time.monotonic() - started
        for result in results:
            result["seconds"] = self.seconds / len(self.runs)
        return results

    def _keep_trunk(self) -> None:
        self.trunk = {k: getattr(self, k).clone() for k in ("flat", "first", "second")}

    def _end_branch(self) -> None:
        segment = self.segments[self.segment]
        if any(c.status == "training" for c in self.curves):
            losses, _ = self.evaluate()
            for curve, loss in zip(self.curves, losses, strict=True):
                curve.branch_tokens.append(self.step * self.run.tokens_per_step)
                curve.branch_loss.append(loss)
        if self.segment + 1 < len(self.segments):
            for k, tensor in self.trunk.items():
                getattr(self, k).copy_(tensor)
            self.step = segment.start
        self.trunk = {}

    def _measure(self, segment: schedule.Segment) -> None:
        """Close the training curve's bucket, check for divergence, evaluate where asked."""
        if segment.branch:
            self._executor.losses.zero_()
            return
        if self.step in self._ends or self.step == segment.end:
            self.bucket_loss += self._executor.take_losses()
            self._close_bucket()
        if self.step in self._evaluations:
            self._evaluate_on_the_way()

    def _close_bucket(self) -> None:
        means = (self.bucket_loss / max(1, self.step - self.bucket_start)).tolist()
        too_high = math.log(self.corpus.vocabulary) + 1
        for curve, mean in zip(self.curves, means, strict=True):
            if curve.status != "training":
                continue
            if not math.isfinite(mean) or (mean > too_high and self.bucket_start > self.run.steps // 10):
                curve.status = "diverged"
                continue
            curve.curve_tokens.append(self.step * self.run.tokens_per_step)
            curve.curve_loss.append(mean)
        self.bucket_loss.zero_()
        self.bucket_start = self.step

    def _evaluate_on_the_way(self) -> None:
        losses, _ = self.evaluate()
        transfer = self.evaluate(self.run.transfer)[0] if self.run.transfer else None
        noise = self.measure_noise() if self.run.noise_batches else None
        for r, curve in enumerate(self.curves):
            if curve.status != "training":
                continue
            curve.evaluation_tokens_seen.append(self.step * self.run.tokens_per_step)
            curve.evaluation_loss.append(losses[r])
            if transfer:
                curve.transfer_loss.append(transfer[r])
            if noise:
                curve.noise_gradient.append(float(noise["gradient"][r]))
                curve.noise_trace.append(float(noise["trace"][r]))
            curve.best_loss = min(curve.best_loss, losses[r])
            recent = curve.evaluation_loss[-self.run.patience :]
            if self.run.patience and len(recent) == self.run.patience and min(recent) > curve.best_loss:
                curve.status = "stopped early"

    # -- measurements --------------------------------------------------------------------

    @torch.no_grad()
    def evaluate(self, corpus: str = "") -> tuple[list[float], list[list[float]]]:
        """Held-out loss in float32, nats per token: each replica's mean, and by position in the context."""
        source = open_corpus(corpus) if corpus else self.corpus
        windows = torch.from_numpy(source.evaluation(self.run.evaluation_tokens, self.run.context))
        total = torch.zeros(len(self.runs), self.run.context, dtype=torch.float64)
        for part in windows.split(64):
            part = part.to(self.device)[None].expand(len(self.runs), -1, -1)
            total += token_losses(self.model, self.flat, part, bits=self.run.bits).sum(1).double().cpu()
        by_position = total / len(windows)
        return by_position[:, source.scored_from :].mean(1).tolist(), by_position.tolist()

    def measure_noise(self) -> dict[str, np.ndarray]:
        """Gradient noise of the present parameters, from `noise_batches` small gradients; in sequences."""
        k, small = self.run.noise_batches, 8
        norms, mean = [], torch.zeros_like(self.flat)
        for i in range(k):
            step = 2**40 + (self.step * k + i) * small
            windows = [b.batch(step + j) for j in range(-(-small // self.run.batch)) for b in self.batches]
            tokens = np.stack(windows).reshape(-1, len(self.runs), self.run.batch, self.run.context + 1)
            tokens = tokens.transpose(1, 0, 2, 3).reshape(len(self.runs), -1, self.run.context + 1)[:, :small]
            _, gradient = self._executor.gradient(torch.from_numpy(tokens).to(self.device))
            norms.append(gradient.square().sum(1).double().cpu().numpy())
            mean += gradient / k
        return noise_scale(norms, mean.square().sum(1).double().cpu().numpy(), small)

    # -- results -------------------------------------------------------------------------

    def _results(self) -> list[dict]:
        sound = any(c.status != "diverged" for c in self.curves)
        losses, by_position = (
            self.evaluate() if sound else ([math.nan] * len(self.runs), [[]] * len(self.runs))
        )
        transfer = self.evaluate(self.run.transfer)[0] if self.run.transfer and sound else None
        tokens = self.step * self.run.tokens_per_step
        trained = self.steps_done * self.run.tokens_per_step
        size = self.run.size(self.corpus.vocabulary)
        results = []
        for r, (run, curve) in enumerate(zip(self.runs, self.curves, strict=True)):
            if curve.status == "training":
                curve.status = "finished"
            if not math.isfinite(losses[r]):
                curve.status = "diverged"
            final: dict = {"loss": losses[r], "position_loss": by_position[r]}
            final["transfer_final"] = transfer[r] if transfer else math.nan
            if run.patience and curve.best_loss < losses[r]:
                best = int(np.argmin(curve.evaluation_loss))
                final = {"loss": curve.best_loss, "position_loss": []}
                final["transfer_final"] = curve.transfer_loss[best] if transfer else math.nan
            if curve.status == "diverged":
                final = {"loss": math.nan, "position_loss": [], "transfer_final": math.nan}
            if self.run.steps in {self.run.step_of(b) for b in self.run.branches}:
                curve.branch_tokens.append(tokens)
                curve.branch_loss.append(final["loss"])
            results.append(
                {
                    "status": curve.status,
                    **final,
                    **size,
                    "D": tokens,
                    "C": self.run.flops(self.corpus.vocabulary, tokens),
                    "flops": self.run.flops(self.corpus.vocabulary, trained),
                    "steps_trained": self.steps_done,
                    **{
                        f.name: getattr(curve, f.name)
                        for f in fields(Curves)
                        if f.name not in ("status", "best_loss")
                    },
                }
            )
        return results

    def progress(self) -> dict:
        """The part of the state that is not tensors, for a checkpoint."""
        return {
            "segment": self.segment,
            "step": self.step,
            "steps_done": self.steps_done,
            "bucket_start": self.bucket_start,
            "seconds": self.seconds,
            "curves": [asdict(c) for c in self.curves],
        }


def _bucket_ends(steps: int) -> list[int]:
    ends, at = [], 8.0
    while at < steps:
        ends.append(round(at))
        at *= CURVE_RATIO
    return [*ends, steps]
