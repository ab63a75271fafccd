"""Programs as tokens: prompts of hints and examples, and models that write programs after them.

A prompt is `begin hint … [example pair …] × 6 write`, an answer `operation argument … end`. A pair token holds
one place of an input and of its output together, so that a model compares them where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ..lm.decode import Decoder
from ..lm.examples import Examples, Recipe, Size, fit, next_token_loss
from ..lm.sampling import sample
from .language import BASE, LONGEST, MOST_OPERATIONS, OPERATIONS, Lists, Program, parse, run
from .tasks import EXAMPLES, Task, draw_inputs, draw_programs

PAD, BEGIN, EXAMPLE, WRITE, END = range(5)
PAIR = 5
BLANK = BASE
"""The digit that stands for "no digit here" in a pair."""
HEAD = PAIR + (BASE + 1) ** 2
DIGIT = HEAD + len(OPERATIONS)
VOCABULARY = DIGIT + BASE
LONGEST_ANSWER = 2 * MOST_OPERATIONS + 1
assert VOCABULARY <= 256  # a token is a byte


def pairs(inputs: Lists, out: Lists) -> np.ndarray:
    """Pair tokens [..., 1 + LONGEST] of examples: the mark, then one a place, PAD where both have ended."""
    place = np.arange(LONGEST)
    a, b = (np.where(place < n[..., None], v, BLANK) for v, n in (inputs, out))
    tokens = PAIR + a * (BASE + 1) + b
    tokens = np.where((a == BLANK) & (b == BLANK), PAD, tokens)
    return np.concatenate([np.full((*tokens.shape[:-1], 1), EXAMPLE), tokens], -1)


def spell(program: Program) -> list[int]:
    """The program's tokens, with the end."""
    out = []
    for op, k in program:
        out += [HEAD + op, DIGIT + k] if OPERATIONS[op].arguments else [HEAD + op]
    return [*out, END]


def read(tokens: Sequence[int]) -> Program | None:
    """The program that tokens spell up to the end; None where they spell none (see `language.parse`)."""
    tokens = list(tokens)
    if END not in tokens:
        return None
    return parse([_word(t) for t in tokens[: tokens.index(END)]])


def _word(token: int) -> str:
    """The word a program's token stands for; nothing for any other token."""
    if token >= DIGIT:
        return str(token - DIGIT)
    return OPERATIONS[token - HEAD].name if token >= HEAD else ""


def prompt(task: Task) -> list[int]:
    """The task's prompt."""
    values, lengths = run([task.program], task.examples)
    shown = pairs(task.examples, (values[0], lengths[0])).ravel()
    return [BEGIN, *(HEAD + op for op in task.hints), *shown[shown != PAD].tolist(), WRITE]


def examples(programs: Sequence[Program], rng: np.random.Generator) -> Examples:
    """A training example per program: fresh inputs, hints dropped at a rate of its own, loss on the program."""
    n = len(programs)
    inputs = draw_inputs((n, EXAMPLES), rng)
    shown = pairs(inputs, run(programs, inputs)).reshape(n, -1)
    hints = np.zeros((n, MOST_OPERATIONS), int)
    target = np.zeros((n, LONGEST_ANSWER), int)
    dropped = rng.random(n)
    for i, program in enumerate(programs):
        heads = sorted(op for op, _ in program)
        told = [HEAD + op for op in heads if rng.random() >= dropped[i]]
        hints[i, : len(told)] = told
        own = spell(program)
        target[i, : len(own)] = own
    column = np.ones((n, 1), int)
    tokens = np.concatenate([BEGIN * column, hints, shown, WRITE * column, target], 1)
    counted = np.arange(tokens.shape[1]) >= tokens.shape[1] - LONGEST_ANSWER
    order = np.argsort(tokens == PAD, axis=1, kind="stable")
    weight = np.take_along_axis((tokens != PAD) & counted, order, 1)
    return Examples(np.take_along_axis(tokens, order, 1).astype(np.uint8), weight)


def curriculum(n: int, depths: Sequence[float], rng, avoid: frozenset[bytes]) -> Examples:
    """n training examples; `depths`: the share of programs with 1, 2, … operations."""
    chosen = rng.choice(len(depths), n, p=np.asarray(depths) / np.sum(depths)) + 1
    return examples(draw_programs(chosen.tolist(), rng, avoid), rng)


def train(size: Size, recipe: Recipe, data: Examples, device: str = "cpu") -> torch.Tensor:
    """Parameters [P] of a model that writes programs, trained on the device, on the CPU."""
    model = size.transformer(VOCABULARY, device)
    start = model.initial(recipe.seed).to(device)
    return fit(start, model.layout, partial(next_token_loss, model), data, recipe).cpu()


class Writer:
    """A trained model that answers prompts, many samples at once."""

    def __init__(self, size: Size, flat: torch.Tensor, seed: int = 0):
        self.model = size.transformer(VOCABULARY, str(flat.device))
        self.decoder = Decoder(self.model, flat)
        self.generator = torch.Generator(flat.device).manual_seed(seed)

    def write(self, prompts: Sequence[Sequence[int]], n: int, temperature: float = 0.8) -> np.ndarray:
        """n answers to every prompt, tokens [prompts, n, LONGEST_ANSWER], PAD after the end."""
        room = [LONGEST_ANSWER] * len(prompts)
        tokens, _, _ = sample(self.decoder, prompts, n, room, _stop, temperature, self.generator)
        return tokens


def _stop(before: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """The end ends a program."""
    return token == END
