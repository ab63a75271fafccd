"""What a model says of solutions that it reads: its states at their lines' ends, and its own yes or no.

One reading gives all. The question is read once for all its solutions; after each solution the model is asked, in a
turn of the user, whether it is right. The state is that of the last token of the solution, before that turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..lm.examples import pad
from ..testtime.open_own import Own

ASKED = "Is this solution right? Answer with yes or no."
"""What the model is asked about each solution."""
YES, NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")
ROWS = 32
"""Solutions that are read at once."""


def judging(writer: Own, question: str) -> tuple[str, str]:
    """The text before a solution and the one after it: the question as a turn of its own, and the user's doubt."""
    mark = "\x00"
    turns = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": mark},
        {"role": "user", "content": ASKED},
    ]
    whole = writer.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    before, _, after = whole.partition(mark)
    return before, after


class Reading(NamedTuple):
    """states [solutions, d] at the end of each; opinions [solutions]: log P(yes)/P(no), nats; lines: [its lines, d] each.

    States are float16. A line's is that of the token that breaks it, the last one's that of the solution's end.
    """

    states: np.ndarray
    opinions: np.ndarray
    lines: list[np.ndarray]


def read(writer: Own, question: str, solutions: Sequence[str], ask: bool = True) -> Reading:
    """What the model says of solutions to a question, in their order.

    A solution may be unfinished; an empty one is read as what stands before it. Without `ask` there are states only,
    for less, and the opinions are 0.
    """
    decoder = writer.decoder
    before, after = judging(writer, question)
    ahead, behind = writer.tokens(before), writer.tokens(after) if ask else []
    told = [writer.tokens(text) for text in solutions]
    ids = openings(writer)
    states, opinions = np.zeros((len(told), decoder.d), np.float16), np.zeros(len(told), np.float32)
    lines, breaks = [states[:0]] * len(told), writer.holding("\n").cpu().numpy()
    order = sorted(range(len(told)), key=lambda i: len(told[i]))  # rows of like length are padded little
    for start in range(0, len(order), ROWS):
        some = order[start : start + ROWS]
        room = len(ahead) + max(len(told[i]) for i in some) + len(behind) + 1
        cache = decoder.cache(1, room)
        first = decoder.feed(cache, torch.tensor([ahead], device=decoder.device))[:, -1]
        cache = cache.select(torch.zeros(len(some), dtype=torch.int64, device=decoder.device))
        fed = [[*told[i], *behind] or [writer.end] for i in some]
        lengths = torch.tensor([len(f) for f in fed], device=decoder.device)
        hidden = decoder.feed(cache, torch.from_numpy(pad(fed, np.int64)).to(decoder.device), lengths)
        at = torch.arange(len(some), device=decoder.device)
        if ask:
            logits = decoder.logits(hidden[at, lengths - 1]).log_softmax(-1)
            yes, no = (logits[:, group].logsumexp(1) for group in ids)
            opinions[some] = (yes - no).cpu().numpy()
        end = torch.tensor([len(told[i]) - 1 for i in some], device=decoder.device)
        state = torch.where((end >= 0)[:, None], hidden[at, end.clamp(min=0)], first)
        states[some] = state.float().cpu().numpy().astype(np.float16)
        for row, i in enumerate(some):
            ends = np.flatnonzero(breaks[told[i][:-1]])
            before_last = hidden[row, torch.from_numpy(ends).to(decoder.device)].float().cpu().numpy()
            lines[i] = np.vstack([before_last.astype(np.float16), states[i : i + 1]])
    return Reading(states, opinions, lines)


def openings(writer: Own) -> tuple[list[int], list[int]]:
    """The tokens that open a yes, and those that open a no; one that opens both counts for neither."""
    yes, no = ({writer.tokens(word)[0] for word in words} for words in (YES, NO))
    return sorted(yes - no), sorted(no - yes)
