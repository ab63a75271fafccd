"""The language against a plain reference, and its promises: total, bounded, never an exception."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalinglaws.resampling import language, tasks
from scalinglaws.resampling.language import AGAIN, LONGEST, MOST_OPERATIONS, MOST_STEPS, NAMES, OPERATIONS

PLAIN = {
    "reverse": lambda x, k: x[::-1],
    "sort": lambda x, k: sorted(x),
    "descending": lambda x, k: sorted(x, reverse=True),
    "unique": lambda x, k: list(dict.fromkeys(x)),
    "tail": lambda x, k: x[1:],
    "init": lambda x, k: x[:-1],
    "even": lambda x, k: [a for a in x if a % 2 == 0],
    "odd": lambda x, k: [a for a in x if a % 2 == 1],
    "sums": lambda x, k: [sum(x[: i + 1]) % 10 for i in range(len(x))],
    "differences": lambda x, k: [(b - a) % 10 for a, b in itertools.pairwise(x)],
    "twice": lambda x, k: [a for a in x for _ in range(2)],
    "mirror": lambda x, k: x + x[::-1],
    "maxima": lambda x, k: [max(x[: i + 1]) for i in range(len(x))],
    "second": lambda x, k: x[::2],
    "swap": lambda x, k: x if len(x) < 2 else [x[-1], *x[1:-1], x[0]],
    "negate": lambda x, k: [-a % 10 for a in x],
    "min": lambda x, k: [min(x)] if x else [],
    "max": lambda x, k: [max(x)] if x else [],
    "sum": lambda x, k: [sum(x) % 10],
    "length": lambda x, k: [len(x)],
    "add": lambda x, k: [(a + k) % 10 for a in x],
    "times": lambda x, k: [a * k % 10 for a in x],
    "cap": lambda x, k: [min(a, k) for a in x],
    "floor": lambda x, k: [max(a, k) for a in x],
    "above": lambda x, k: [a for a in x if a > k],
    "below": lambda x, k: [a for a in x if a < k],
    "take": lambda x, k: x[:k],
    "drop": lambda x, k: x[k:],
    "rotate": lambda x, k: x[k % len(x) :] + x[: k % len(x)] if x else x,
    "append": lambda x, k: [*x, k],
    "prepend": lambda x, k: [k, *x],
}
operation = st.sampled_from(range(len(OPERATIONS))).flatmap(
    lambda op: st.tuples(st.just(op), st.sampled_from(OPERATIONS[op].arguments or (0,)))
)
programs = st.lists(operation, min_size=1, max_size=MOST_OPERATIONS).map(tuple)
lists = st.lists(st.integers(0, 9), max_size=LONGEST)


def plain(program, x):
    """One list, one operation after the other, in Python."""
    executed = []
    for op, k in program:
        executed += executed[-1:] * k if op == AGAIN else [(op, k)]
    for op, k in executed[:MOST_STEPS]:
        x = PLAIN[OPERATIONS[op].name](list(x), k)[:LONGEST]
    return tuple(x)


def test_the_reference_knows_every_operation():
    assert set(PLAIN) == set(NAMES) - {"again"}


@given(st.lists(programs, min_size=1, max_size=6), st.lists(lists, min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_interpreter_agrees_with_plain_python(some, inputs):
    values, lengths = language.run(some, language.pack(inputs))
    for i, program in enumerate(some):
        assert language.unpack(values[i], lengths[i]) == [plain(program, x) for x in inputs]
    assert values.min() >= 0
    assert values.max() <= 9
    assert lengths.max() <= LONGEST
    assert not values[np.arange(LONGEST) >= lengths[..., None]].any()  # zero beyond the end


def test_inputs_of_their_own_are_the_same_as_one_program_at_a_time():
    rng = np.random.default_rng(0)
    some = [tasks.draw_program(3, rng) for _ in range(20)]
    inputs = tasks.draw_inputs((20, 7), rng)
    together = language.run(some, inputs)
    for i, program in enumerate(some):
        alone = language.run([program], (inputs[0][i], inputs[1][i]))
        assert (together[0][i] == alone[0][0]).all()
        assert (together[1][i] == alone[1][0]).all()


@given(programs)
def test_words_and_programs_go_there_and_back(program):
    words = language.render(program).split()
    if program[0][0] == AGAIN:
        assert language.parse(words) is None
    else:
        assert language.parse(words) == program


@pytest.mark.parametrize(
    "words", ["", "fly", "add", "add 0", "add 10", "add x", "sort 3", "again 1 sort", "take -1", "sort " * 9]
)
def test_what_is_no_program_does_not_parse(words):
    assert language.parse(words.split()) is None


@given(st.lists(st.sampled_from([*NAMES, *"0123456789", "import", "os"]), max_size=20))
@settings(max_examples=300, deadline=None)
def test_whatever_parses_has_a_value_on_every_list(words):
    program = language.parse(words)
    if program is not None:
        values, lengths = language.run([program], tasks.PROBES)
        assert values.shape == (1, 32, LONGEST)
        assert (lengths <= LONGEST).all()


def test_execution_stops_at_the_step_limit():
    program = language.parse(("add 1 again 3 " * 4).split())
    assert len(language.straight(program)) == MOST_STEPS
    more = language.parse(("append 1 again 3 " + "add 1 again 3 " * 3).split())
    assert language.straight((*more, (NAMES["sum"], 0))) == language.straight(more)


def test_lists_that_are_none_are_told():
    with pytest.raises(ValueError, match=r"list 1, \[1, 12\]: at most 6 digits from 0 to 9"):
        language.pack([[1], [1, 12]])
    with pytest.raises(ValueError, match="at most 6 digits"):
        language.pack([[0] * 7])
