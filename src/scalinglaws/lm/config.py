"""One training run, frozen: what to train, on what, how long. Its content hash is its name."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from ..flops import Shape, parameters, training_flops

ARCHITECTURES = ("transformer", "lstm")
SCHEDULES = ("cosine", "constant", "wsd")
PRECISIONS = ("bf16", "fp32")


class ConfigError(ValueError):
    """A run that cannot be trained as described. One line that names the field and the remedy."""


@dataclass(frozen=True)
class Run:
    """Everything that determines a trained model; nothing that only determines how fast it is trained.

    Lengths are in tokens: `tokens` to train on, `warmup`, `branches` and `evaluate_at` (where the
    held-out loss is measured on the way). `batch` counts sequences of `context` tokens.
    `unique_tokens` cuts the corpus to that many, which are then repeated (0: the whole corpus);
    `patience` stops after that many evaluations without a better loss (0: never).
    `cycle` is the cosine's length over the training length; `cooldown` the share of a
    warm-up–stable–decay run spent decaying; `branches` the lengths to which side runs of a WSD
    trunk are cooled down; `final_rate` the last learning rate over the peak.
    `noise_batches` gradients measure the noise scale at every evaluation (0: none);
    `transfer` names a second corpus, evaluated beside the first; `bits` is what each matrix is rounded to in every
    step, the embedding apart (0: not rounded). `noised` is the share of windows that come from worse text (`batches`),
    of which there is plenty; the others are from the corpus, cut or not. `denoised` is the share of windows with a span
    cut out and set behind them. `experts` feed-forward networks a layer, of
    which each token passes one, chosen by a hash of it and the token before; N counts what a token passes.
    Raises ConfigError for a field out of range.
    """

    corpus: str
    n_layer: int
    d_model: int
    n_head: int
    tokens: int
    learning_rate: float
    d_ffw: int = 0
    """Feed-forward width; 0 means 4·d_model."""
    architecture: str = "transformer"
    context: int = 128
    batch: int = 32
    unique_tokens: int = 0
    schedule: str = "cosine"
    cycle: float = 1.0
    cooldown: float = 0.2
    branches: tuple[int, ...] = ()
    final_rate: float = 0.1
    warmup: int = 0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    dropout: float = 0.0
    patience: int = 0
    evaluate_at: tuple[int, ...] = ()
    evaluation_tokens: int = 2**18
    noise_batches: int = 0
    transfer: str = ""
    precision: str = "bf16"
    bits: int = 0
    noised: float = 0.0
    denoised: float = 0.0
    experts: int = 1
    seed: int = 0

    def __post_init__(self):
        self._check_types()
        object.__setattr__(self, "branches", tuple(sorted(int(b) for b in self.branches)))
        object.__setattr__(self, "evaluate_at", tuple(sorted({int(e) for e in self.evaluate_at})))
        if not self.d_ffw:
            object.__setattr__(self, "d_ffw", 4 * self.d_model)
        for name in ("n_layer", "d_model", "n_head", "d_ffw", "tokens", "context", "batch", "experts"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        for name, allowed in (
            ("architecture", ARCHITECTURES),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            _require(getattr(self, name) in allowed, name, getattr(self, name), f"must be one of {allowed}")
        _require(
            self.d_model % self.n_head == 0,
            "n_head",
            self.n_head,
            f"must divide d_model = {self.d_model}",
        )
        _require(
            self.architecture == "lstm" or self.d_model // self.n_head % 2 == 0,
            "n_head",
            self.n_head,
            f"leaves d_model / n_head = {self.d_model // self.n_head}, which must be even for rotary positions",
        )
        _require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "must be positive")
        _require(self.cycle >= 1, "cycle", self.cycle, "must be at least 1: the cosine may not end first")
        _require(0 < self.cooldown <= 1, "cooldown", self.cooldown, "must be in (0, 1]")
        for name in ("dropout", "beta1", "beta2"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "must be in [0, 1)")
        for name in ("weight_decay", "warmup", "seed", "patience", "noise_batches", "unique_tokens"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "must not be negative")
        _require(self.noise_batches != 1, "noise_batches", 1, "must be at least 2, or 0 for none")
        for name in ("patience", "noise_batches"):
            _require(
                not getattr(self, name) or bool(self.evaluate_at),
                name,
                getattr(self, name),
                "needs evaluate_at",
            )
        _require(0 <= self.noised <= 1, "noised", self.noised, "must be a share, 0 to 1")
        _require(0 <= self.denoised <= 1, "denoised", self.denoised, "must be a share, 0 to 1")
        _require(not (self.noised and self.denoised), "denoised", self.denoised, "goes without noised")
        _require(self.bits == 0 or 2 <= self.bits <= 16, "bits", self.bits, "must be 2 to 16, or 0 for none")
        _require(
            not self.bits or self.architecture == "transformer", "bits", self.bits, "are for a transformer"
        )
        _require(
            self.experts == 1 or self.architecture == "transformer", "experts", self.experts, "are for a transformer"
        )
        _require(self.clip > 0, "clip", self.clip, "must be positive")
        _require(
            not self.branches or self.schedule == "wsd", "branches", self.branches, "need schedule 'wsd'"
        )
        _require(
            all(0 < b <= self.tokens for b in self.branches),
            "branches",
            self.branches,
            "must lie within `tokens`",
        )
        _require(
            self.evaluation_tokens >= self.context,
            "evaluation_tokens",
            self.evaluation_tokens,
            "must fill one context",
        )

    def _check_types(self) -> None:
        """Whole numbers stay whole; a float written as an integer becomes the float it means."""
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "float" and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, f.name, float(value))
            elif f.type == "int":
                if not isinstance(value, int | np.integer) or isinstance(value, bool):
                    raise ConfigError(f"{f.name} = {value!r} must be a whole number")
                object.__setattr__(self, f.name, int(value))
            elif f.type == "str" and not isinstance(value, str):
                raise ConfigError(f"{f.name} = {value!r} must be text")
            elif f.type == "float" and not isinstance(value, float):
                raise ConfigError(f"{f.name} = {value!r} must be a number")

    @classmethod
    def from_dict(cls, entry: dict) -> Run:
        """The run with these fields. Raises ConfigError for an unknown or missing field."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(entry) - known)
        if unknown:
            raise ConfigError(f"unknown field {unknown[0]!r} of a run; there are: {', '.join(sorted(known))}")
        try:
            return cls(**entry)
        except TypeError as error:
            raise ConfigError(f"a run needs more: {error}") from None

    @property
    def hash(self) -> str:
        """16 hex digits over all fields that differ from their default: a new field leaves old names standing."""
        given = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name in REQUIRED or getattr(self, f.name) != f.default
        }
        text = json.dumps(given, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def tokens_per_step(self) -> int:
        """batch · context."""
        return self.batch * self.context

    @property
    def steps(self) -> int:
        """Optimiser steps: tokens over tokens a step, rounded, at least 1."""
        return self.step_of(self.tokens)

    def step_of(self, tokens: int) -> int:
        """The step at which that many tokens have been seen."""
        return max(1, round(tokens / self.tokens_per_step))

    def shape(self, vocabulary: int) -> Shape:
        """The transformer's shape for `flops`."""
        return Shape(
            self.n_layer,
            self.d_model,
            self.d_ffw,
            self.d_model // self.n_head,
            self.n_head,
            vocabulary,
            self.context,
        )

    def size(self, vocabulary: int) -> dict[str, int]:
        """N (non-embedding) and N_total (plus vocabulary·d_model, embeddings tied to the last layer).

        A transformer has 12·n_layer·d² for d_ffw = 4d (Kaplan 2020, Table 1), an LSTM
        n_layer·8·d² (four gates, two matrices of d × d each; biases are not counted).
        """
        if self.architecture == "lstm":
            N = 8 * self.n_layer * self.d_model**2
        else:
            N = int(parameters(self.shape(vocabulary), "kaplan"))
        return {"N": N, "N_total": N + vocabulary * self.d_model}

    def flops(self, vocabulary: int, tokens: int | None = None) -> float:
        """Training FLOPs with the last layer, 6·N_total·tokens, without attention over the context."""
        tokens = self.steps * self.tokens_per_step if tokens is None else tokens
        if self.architecture == "lstm":
            return 6.0 * self.size(vocabulary)["N_total"] * tokens
        return float(training_flops(self.shape(vocabulary), tokens, "kaplan", last_layer=True))

    def to_dict(self) -> dict:
        """Plain fields, tuples as lists: what is stored and what `from_dict` reads."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def with_(self, **changes) -> Run:
        """A copy with some fields changed; a feed-forward width of 4·d_model follows the new width."""
        if "d_model" in changes and self.d_ffw == 4 * self.d_model:
            changes.setdefault("d_ffw", 0)
        return replace(self, **changes)


REQUIRED = ("corpus", "n_layer", "d_model", "n_head", "tokens", "learning_rate", "d_ffw")


def _require(condition: bool, name: str, value, what: str) -> None:
    if not condition:
        raise ConfigError(f"{name} = {value!r} {what}")
