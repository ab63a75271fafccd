"""A small total language over lists of digits: what a program is, and a batched interpreter that never raises.

A program is a row of operations, each with the argument its type asks for, applied to a list from left
to right. Values are digits (arithmetic modulo 10), lists hold at most `LONGEST` of them, and what
an operation would add beyond is cut off. `again k` repeats the operation before it k more times;
execution stops after `MOST_STEPS` operations with the list as it stands. Every row of tokens that
parses has a value on every list, so nothing that a model writes can fail, hang or do harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BASE = 10
LONGEST = 6
MOST_STEPS = 16
MOST_OPERATIONS = 8
"""Operations that a program may name; a longer row of tokens does not parse."""

Lists = tuple[np.ndarray, np.ndarray]
"""values [..., LONGEST], 0 beyond the length; lengths [...]."""


@dataclass(frozen=True)
class Operation:
    """apply: (values, lengths, argument [...]) → (values, lengths). arguments: what may follow the name.

    takes: "list" or "any" (also a list of one); gives: "list", "one", or "same" as it took. An operation that
    takes "list" is legal on a list of one and changes nothing worth having: the generator avoids it there.
    """

    name: str
    apply: Callable
    arguments: tuple[int, ...] = ()
    takes: str = "list"
    gives: str = "list"


def _place() -> np.ndarray:
    return np.arange(LONGEST)


def _clean(values, lengths) -> Lists:
    """Zero beyond the length."""
    return np.where(_place() < lengths[..., None], values, 0), lengths


def _keep(values, lengths, kept) -> Lists:
    """The kept places, moved to the front in their order."""
    kept = kept & (_place() < lengths[..., None])
    order = np.argsort(~kept, axis=-1, kind="stable")
    return _clean(np.take_along_axis(values, order, -1), kept.sum(-1))


def _at(values, index) -> np.ndarray:
    """values[index] along the last axis; an index outside is brought to the nearest end."""
    return np.take_along_axis(values, np.clip(index, 0, LONGEST - 1), -1)


def _reverse(v, n, k):
    return _clean(_at(v, n[..., None] - 1 - _place()), n)


def _sorted(v, n, k):
    return _clean(np.sort(np.where(_place() < n[..., None], v, BASE), -1), n)


def _descending(v, n, k):
    v, n = _sorted(v, n, k)
    return _reverse(v, n, k)


def _unique(v, n, k):
    same = (v[..., :, None] == v[..., None, :]) & np.tri(LONGEST, k=-1, dtype=bool)
    return _keep(v, n, ~same.any(-1))


def _running(v, n, k):
    return _clean(np.cumsum(v, -1) % BASE, n)


def _differences(v, n, k):
    return _clean((_at(v, _place() + 1 + 0 * n[..., None]) - v) % BASE, np.maximum(n - 1, 0))


def _repeat_each(v, n, k):
    return _clean(_at(v, _place() // 2 + 0 * n[..., None]), np.minimum(2 * n, LONGEST))


def _mirror(v, n, k):
    place, n_ = _place(), n[..., None]
    return _clean(_at(v, np.where(place < n_, place, 2 * n_ - 1 - place)), np.minimum(2 * n, LONGEST))


def _maxima(v, n, k):
    return _clean(np.maximum.accumulate(v, -1), n)


def _every_second(v, n, k):
    return _clean(_at(v, 2 * _place() + 0 * n[..., None]), (n + 1) // 2)


def _swap(v, n, k):
    n_ = n[..., None]
    place = _place()
    moved = np.where(place == 0, n_ - 1, np.where(place == n_ - 1, 0, place))
    return _clean(_at(v, moved), n)


def _single(value, there) -> Lists:
    """A list of one where there is anything to make it of, else the empty list."""
    lengths = there.astype(int)
    out = np.zeros((*value.shape, LONGEST), int)
    out[..., 0] = value
    return _clean(out, lengths)


def _smallest(v, n, k):
    return _single(np.where(_place() < n[..., None], v, BASE).min(-1) % BASE, n > 0)


def _greatest(v, n, k):
    return _single(v.max(-1), n > 0)


def _total(v, n, k):
    return _single(v.sum(-1) % BASE, n >= 0)


def _length(v, n, k):
    return _single(n, n >= 0)


def _rotate(v, n, k):
    return _clean(_at(v, (_place() + k[..., None]) % np.maximum(n, 1)[..., None]), n)


def _append(v, n, k):
    put = _place() == n[..., None]  # a full list has no such place
    return np.where(put, k[..., None], v), np.minimum(n + 1, LONGEST)


def _prepend(v, n, k):
    moved = np.concatenate([k[..., None] + 0 * v[..., :1], v[..., :-1]], -1)
    return _clean(moved, np.minimum(n + 1, LONGEST))


def _mapped(f) -> Callable:
    return lambda v, n, k: _clean(f(v, k[..., None]) % BASE, n)


def _filtered(f) -> Callable:
    return lambda v, n, k: _keep(v, n, f(v, k[..., None]))


_some = tuple(range(1, LONGEST))
OPERATIONS = (
    Operation("reverse", _reverse),
    Operation("sort", _sorted),
    Operation("descending", _descending),
    Operation("unique", _unique),
    Operation("tail", lambda v, n, k: _keep(v, n, _place() > 0 + 0 * v)),
    Operation("init", lambda v, n, k: _clean(v, np.maximum(n - 1, 0))),
    Operation("even", _filtered(lambda v, k: v % 2 == 0)),
    Operation("odd", _filtered(lambda v, k: v % 2 == 1)),
    Operation("sums", _running),
    Operation("differences", _differences),
    Operation("twice", _repeat_each, takes="any"),
    Operation("mirror", _mirror, takes="any"),
    Operation("maxima", _maxima),
    Operation("second", _every_second),
    Operation("swap", _swap),
    Operation("negate", _mapped(lambda v, k: -v), takes="any", gives="same"),
    Operation("min", _smallest, gives="one"),
    Operation("max", _greatest, gives="one"),
    Operation("sum", _total, gives="one"),
    Operation("length", _length, gives="one"),
    Operation("add", _mapped(lambda v, k: v + k), tuple(range(1, BASE)), "any", "same"),
    Operation("times", _mapped(lambda v, k: v * k), tuple(range(2, BASE)), "any", "same"),
    Operation("cap", _mapped(np.minimum), tuple(range(1, BASE - 1)), "any", "same"),
    Operation("floor", _mapped(np.maximum), tuple(range(1, BASE - 1)), "any", "same"),
    Operation("above", _filtered(lambda v, k: v > k), tuple(range(1, BASE - 1))),
    Operation("below", _filtered(lambda v, k: v < k), tuple(range(2, BASE))),
    Operation("take", lambda v, n, k: _clean(v, np.minimum(n, k)), _some),
    Operation("drop", lambda v, n, k: _keep(v, n, _place() >= k[..., None]), _some),
    Operation("rotate", _rotate, _some),
    Operation("append", _append, tuple(range(BASE)), "any"),
    Operation("prepend", _prepend, tuple(range(BASE)), "any"),
    Operation("again", lambda v, n, k: (v, n), (1, 2, 3), "any", "same"),
)
NAMES = {o.name: i for i, o in enumerate(OPERATIONS)}
AGAIN = NAMES["again"]

Program = tuple[tuple[int, int], ...]
"""(operation, argument) pairs; the argument of an operation without one is 0."""


def parse(tokens: Sequence[str]) -> Program | None:
    """The program that these words spell; None where they spell none: an unknown word, a missing,
    superfluous or impossible argument, `again` with nothing before it, more than MOST_OPERATIONS."""
    program: list[tuple[int, int]] = []
    words = list(tokens)
    while words:
        op = NAMES.get(words.pop(0))
        if op is None or (op == AGAIN and not program):
            return None
        argument = 0
        if OPERATIONS[op].arguments:
            word = words.pop(0) if words else ""
            if not word.isdigit() or int(word) not in OPERATIONS[op].arguments:
                return None
            argument = int(word)
        program.append((op, argument))
    return tuple(program) if 0 < len(program) <= MOST_OPERATIONS else None


def render(program: Program) -> str:
    """The program as words."""
    return " ".join(OPERATIONS[op].name + (f" {k}" if OPERATIONS[op].arguments else "") for op, k in program)


def straight(program: Program) -> Program:
    """The operations that are executed, in order: `again` written out, cut at MOST_STEPS."""
    out: list[tuple[int, int]] = []
    for op, k in program:
        out += out[-1:] * k if op == AGAIN else [(op, k)]
    return tuple(out[:MOST_STEPS])


def pack(lists: Sequence[Sequence[int]]) -> Lists:
    """Lists of digits as arrays. Raises ValueError for one too long or with a value that is no digit."""
    values, lengths = np.zeros((len(lists), LONGEST), int), np.array([len(x) for x in lists], int)
    for i, x in enumerate(lists):
        if len(x) > LONGEST or any(not 0 <= d < BASE for d in x):
            raise ValueError(f"list {i}, {list(x)}: at most {LONGEST} digits from 0 to {BASE - 1}")
        values[i, : len(x)] = x
    return values, lengths


def unpack(values: np.ndarray, lengths: np.ndarray) -> list[tuple[int, ...]]:
    """Arrays [n, LONGEST] and [n] as lists."""
    return [tuple(v[:n]) for v, n in zip(values.tolist(), lengths.tolist(), strict=True)]


def run(programs: Sequence[Program], inputs: Lists) -> Lists:
    """Every program on its inputs: values [P, I, LONGEST] and lengths [P, I].

    inputs: one set for all programs, values [I, LONGEST], or a set each, [P, I, LONGEST]. All programs that
    come to the same operation at the same step are executed together.
    """
    values, lengths = (np.asarray(a, np.int64) for a in inputs)
    if values.ndim == 2:
        values = np.broadcast_to(values, (len(programs), *values.shape))
        lengths = np.broadcast_to(lengths, (len(programs), *lengths.shape))
    values, lengths = values.astype(np.int8), lengths.astype(np.int8)
    lines = [straight(p) for p in programs]
    code = np.full((len(programs), max(map(len, lines), default=0)), -1)
    argument = np.zeros_like(code)
    for i, line in enumerate(lines):
        for t, (op, k) in enumerate(line):
            code[i, t], argument[i, t] = op, k
    for t in range(code.shape[1]):
        for op in np.unique(code[:, t]):
            if op >= 0:
                mine = np.flatnonzero(code[:, t] == op)
                k = np.broadcast_to(argument[mine, t, None], (len(mine), values.shape[1]))
                v, n = OPERATIONS[op].apply(values[mine].astype(int), lengths[mine].astype(int), k)
                values[mine], lengths[mine] = v, n
    return values, lengths
