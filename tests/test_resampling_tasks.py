"""Tasks and their tokens: soundness by brute force, the split by behaviour, prompts that tell the truth."""

import numpy as np
import pytest

from scalinglaws.resampling import language, tasks, writing
from scalinglaws.resampling.language import NAMES, OPERATIONS, parse
from test_resampling_language import plain

SMALL = tasks.Mix(seen=((1, 4), (2, 6)), unseen=((3, 6),), deep=((5, 4),), held_out=((2, 4),))


@pytest.fixture(scope="module")
def some():
    return tasks.draw_tasks(SMALL, 3)


def words(text):
    return parse(text.split())


@pytest.mark.parametrize(
    "text", ["sort sort", "reverse reverse", "add 3 add 7", "tail sort reverse reverse", "sort again 2", "negate again 1",
             "length cap 1", "take 5 take 2", "sum cap 1"],
)  # fmt: skip
def test_redundant_and_degenerate_programs_are_rejected(text):
    assert not tasks.sound([words(text)])[0]


@pytest.mark.parametrize(
    "text", ["sort", "add 3", "tail again 1", "sort tail reverse", "sums sums", "max add 3"]
)
def test_programs_worth_asking_for_are_kept(text):
    assert tasks.sound([words(text)])[0]


def test_what_is_drawn_is_sound_by_brute_force():
    rng = np.random.default_rng(0)
    drawn = tasks.draw_programs([1, 2, 3, 4] * 25, rng)
    inputs = language.unpack(*tasks.PROBES)
    for program in drawn:
        own = [plain(program, x) for x in inputs]
        assert own != inputs
        assert len(set(own)) >= tasks.FEWEST_OUTPUTS
        for j in range(len(program)):
            shorter = program[:j] + program[j + 1 :]
            assert [plain(shorter, x) for x in inputs] != own
    assert [len(p) for p in drawn] == [1, 2, 3, 4] * 25


def test_operations_that_want_a_list_are_not_drawn_after_one_value():
    rng = np.random.default_rng(1)
    for _ in range(2000):
        program, one = tasks.draw_program(4, rng), False
        for op, _ in program:
            o = OPERATIONS[op]
            assert not (one and o.takes == "list")
            one = one if o.gives == "same" else o.gives == "one"


def test_no_behaviour_is_asked_twice_and_training_shows_none_that_is_kept_out(some):
    seen = tasks.behaviours([t.program for t in some])
    assert len(set(seen)) == len(seen) == SMALL.size + 4
    avoid = tasks.kept_out(some)
    assert len(avoid) == sum(t.split != "seen" for t in some)
    trained = tasks.draw_programs([2] * 3000, np.random.default_rng(2), avoid)
    assert not set(tasks.behaviours(trained)) & avoid
    again = tasks.draw_programs([2] * 3000, np.random.default_rng(2))
    assert set(tasks.behaviours(again)) & avoid  # it would have shown them


def test_the_judge_knows_the_truth(some):
    for task in some:
        assert tasks.judge(task, [task.program])[0].all()
        other = (*task.program, (NAMES["add"], 1))
        inputs = language.unpack(*task.hidden)
        right, done = tasks.judge(task, [other, task.program])
        assert done[0] != done[1]
        assert right[0].tolist() == [plain(other, x) == plain(task.program, x) for x in inputs]


def test_tasks_are_the_same_every_time():
    assert [t.program for t in tasks.draw_tasks(SMALL, 3)] == [t.program for t in tasks.draw_tasks(SMALL, 3)]


def test_programs_and_tokens_go_there_and_back():
    rng = np.random.default_rng(4)
    for _ in range(300):
        program = tasks.draw_program(int(rng.integers(1, 8)), rng)
        assert writing.read([*writing.spell(program), 0, 0]) == program


def test_tokens_read_as_the_words_would():
    """Random tokens: a program exactly where the words parse."""
    rng = np.random.default_rng(5)
    legal = 0
    for _ in range(3000):
        tokens = [*rng.integers(writing.HEAD, writing.VOCABULARY, rng.integers(0, 6)).tolist(), writing.END]
        text = " ".join(
            OPERATIONS[t - writing.HEAD].name if t < writing.DIGIT else str(t - writing.DIGIT)
            for t in tokens[:-1]
        )
        assert writing.read(tokens) == words(text)
        legal += words(text) is not None
    assert legal > 100
    assert writing.read([writing.HEAD]) is None  # no end
    assert writing.read([writing.WRITE, writing.END]) is None


def test_a_prompt_tells_the_truth(some):
    """Pairs decoded back are inputs and outputs of the task's program, hints are its operations."""
    for task in some:
        tokens = writing.prompt(task)
        assert tokens[0] == writing.BEGIN
        assert tokens[-1] == writing.WRITE
        first = tokens.index(writing.EXAMPLE)
        assert {t - writing.HEAD for t in tokens[1:first]} <= {op for op, _ in task.program}
        shown = []
        for t in tokens[first:-1]:
            if t == writing.EXAMPLE:
                shown.append(([], []))
            else:
                for side, digit in zip(shown[-1], divmod(t - writing.PAIR, 11), strict=True):
                    side += [digit] if digit != writing.BLANK else []
        assert len(shown) == tasks.EXAMPLES
        for x, y in shown:
            assert plain(task.program, x) == tuple(y)


def test_training_examples_are_prompts_with_their_programs():
    rng = np.random.default_rng(6)
    programs = tasks.draw_programs([1, 2, 3, 4] * 5, rng)
    data = writing.examples(programs, rng)
    for row, weight, program in zip(data.tokens, data.weight, programs, strict=True):
        counted = row[weight > 0].tolist()
        assert counted == writing.spell(program)
        length = int((row != writing.PAD).sum())
        assert not row[length:].any()
        assert row[: length - len(counted)][-1] == writing.WRITE
        hints = row[1 : row.tolist().index(writing.EXAMPLE)]
        assert set(hints - writing.HEAD) <= {op for op, _ in program}
