"""The judge of generated programs: what one program holds, says or does never reaches another, nor the judge."""

import itertools
import json
import secrets
from pathlib import Path

import numpy as np
import pytest

from scalinglaws.resampling import codemodels, evalplus, plain, sandbox
from scalinglaws.resampling.evalplus import Task, passed
from scalinglaws.resampling.sandbox import Limits, Sandbox

pytestmark = pytest.mark.usefixtures("contained_here")

WIDE = Limits(seconds=20, wall=60)


def arguments(*values):
    return json.dumps(plain.encode(list(values)))


def task(expected, tests=None, name="none"):
    tests = tests or [arguments(i) for i in range(1, len(expected) + 1)]
    return Task(name, "f", "", "", tuple(tests), 1, 0.0, expected=tuple(expected))


DOUBLES = task(["2", "4", "6"])


def judged(about, codes, limits=WIDE, workers=2):
    """Parsed programs and their outcomes by key."""
    written = [evalplus.parse(code, "f") for code in codes]
    assert None not in written, codes[written.index(None)]
    return written, codemodels.judge(about, written, limits, workers)


# ---- what a process can hold ------------------------------------------------------------------------------

SCAN = '''
import gc, os, sys
def marked(text, first, second):
    """How often the two halves stand side by side in it; they never do in this program."""
    count, at = 0, text.find(first)
    while at >= 0:
        count += text[at + len(first):at + len(first) + len(second)] == second
        at = text.find(first, at + 1)
    return count
def in_memory(first, second):
    first, second, count = first.encode(), second.encode(), 0
    memory, size = os.open("/proc/self/mem", os.O_RDONLY), 0
    with open("/proc/self/maps") as maps:
        regions = [line.split() for line in maps]
    for region in regions:
        start, end = (int(x, 16) for x in region[0].split("-"))
        if "r" in region[1] and "[v" not in region[-1]:
            content = os.pread(memory, end - start, start)
            size += len(content)
            count += marked(content, first, second)
            del content
    assert size > 10**6
    return count
def in_objects(first, second):
    seen, left, frame = set(), gc.get_objects(), sys._getframe().f_back
    while frame:
        left.append(dict(frame.f_locals))
        frame = frame.f_back
    texts = []
    while left:
        thing = left.pop()
        if id(thing) not in seen and thing is not left and thing is not seen and thing is not texts:
            seen.add(id(thing))
            if type(thing) in (str, bytes, bytearray):
                texts.append(thing if type(thing) is str else bytes(thing).decode("latin-1"))
            left += gc.get_referents(thing)
    return sum(marked(text, first, second) for text in texts)
'''
KEEPS = """
import sys
WHOLE = {whole!r}
sys.modules["json"].kept = WHOLE
def f(x):
    globals().setdefault("all", []).append([x] * 100)
    if len(all) == 2:
        raise type(WHOLE, (Exception,), {{}})(WHOLE)
    return [x, WHOLE, {{WHOLE: x}}]
"""


@pytest.mark.parametrize("way", ["in_memory", "in_objects"])
def test_nothing_of_one_program_is_left_for_another(way):
    """A marker in a program's text, inputs, answers and errors is nowhere in the process that comes next."""
    first, second = secrets.token_hex(16), secrets.token_hex(16)
    whole = first + second
    # the files layer hides a process's memory from itself; without it the search can be complete
    layers = ("limits", "calls") if way == "in_memory" else None
    look = SCAN + f"def f(*halves):\n    return {way}(*halves)"
    with Sandbox(layers) as box:
        for _ in range(3):
            kept = box.run(KEEPS.format(whole=whole), "f", [arguments(whole)] * 3, WIDE)
            assert kept.status == "finished"
            assert kept.errors[1] == whole
        assert whole in kept.values[2]
        found = box.run(look, "f", [arguments(first, second)] * 2, WIDE)
        assert (found.status, found.values) == ("finished", ("0", "0")), found
        # the search itself finds what is there
        own = box.run(f"{look}\nheld = [{whole!r}]", "f", [arguments(first, second)], WIDE)
        assert int(own.values[0]) > 0


def test_no_input_is_there_before_it_is_asked():
    """Each question asks for the next one's marker."""
    halves = [(secrets.token_hex(16), secrets.token_hex(16)) for _ in range(6)]
    tests = [
        arguments(first, second, "".join(own))
        for (first, second), own in zip(halves[1:], halves, strict=False)
    ]
    with Sandbox(("limits", "calls")) as box:
        code = SCAN + "def f(first, second, own):\n    return in_memory(first, second)"
        assert box.run(code, "f", tests, WIDE).values == ("0",) * 5
        back = SCAN + "def f(first, second, own):\n    return in_memory(own[:32], own[32:]) > 0"
        assert box.run(back, "f", tests, WIDE).values == ("true",) * 5


def test_reading_ahead_finds_nothing():
    ahead = (
        "import os, fcntl\ndef f(x):\n    got = 0\n    for i in range(3, 32):\n        try:\n"
        "            fcntl.fcntl(i, fcntl.F_GETFD)\n        except OSError:\n            continue\n"
        "        import select\n        got += len(select.select([i], [], [], 0.05)[0])\n    return got"
    )
    with Sandbox() as box:
        found = box.run(ahead, "f", [arguments(i) for i in range(4)], WIDE)
    assert (found.status, found.values) == ("finished", ("0",) * 4)


def test_answers_cannot_be_given_in_advance():
    """All answers are "2": a program that writes the second and third with the first one's number is not believed."""
    early = FORGES.replace("TIMES", "3")
    _, done = judged(task(["2", "2", "2"]), [early])
    (found,) = done.values()
    assert (found.status, found.values) == ("garbled", (None,) * 3)


# ---- hostile programs -------------------------------------------------------------------------------------

FORGES = """
import os, struct, sys
def act():
    frame = sys._getframe()
    while frame and "number" not in frame.f_locals:
        frame = frame.f_back
    number, channel = frame.f_locals["number"], frame.f_locals["channel"]
    for _ in range(TIMES):
        os.write(channel, struct.pack("!8scI", number, b"v", 1) + b"2")
def f(x):
    act()
    return 2
"""
EVERY = "for i in range(3, 32):\n    try: {}\n    except OSError: pass"
DEADLY = {  # a program that does this is not right, whatever it returned before
    "loops": "while True: pass",
    "loops and catches": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "sleeps": "import time\ntime.sleep(10**6)",
    "waits for a signal": "import signal\nsignal.pause()",
    "leaves": "os._exit(0)",
    "leaves with 1": "os._exit(1)",
    "aborts": "os.abort()",
    "reads address zero": "import ctypes\nctypes.string_at(0)",
    "jumps to address one": "import ctypes\nctypes.CFUNCTYPE(None)(1)()",
    "shouts no sandbox": EVERY.format('os.write(i, b"!no Landlock (forged)\\n")') + "\nos._exit(0)",
    "says locked": EVERY.format('os.write(i, b"locked")') + "\nos._exit(0)",
    "writes noise": EVERY.format("os.write(i, bytes(range(256)))"),
    "claims a long answer": EVERY.format('os.write(i, b"\\xff" * 13)'),
    "floods": EVERY.format('[os.write(i, b"z" * 65536) for _ in range(10**6)]'),
    "closes everything": "os.closerange(0, 64)\nimport time\ntime.sleep(10**6)",
    "closes and leaves": "os.closerange(0, 64)\nos._exit(0)",
    "takes what is to come": EVERY.format("os.read(i, 10**6)"),
    "calls the answers off": "sys.modules['scalinglaws.resampling.contained']._say = lambda *a: None",
    "breaks the writer": "os.write = None",
    "breaks reading": "os.read = lambda *a: b''",
}
HARMLESS = {  # contained; whether the rest is right is the rest's business
    "forks": "os.fork()",
    "starts a process": "import subprocess\nsubprocess.run(['true'])",
    "starts a thread": "import threading\nthreading.Thread(target=print).start()",
    "opens a socket": "import socket\nsocket.create_connection(('127.0.0.1', 22), 1)",
    "kills its parent": "os.kill(os.getppid(), 9)",
    "kills everybody": "os.kill(-1, 9)",
    "reads passwords": "open('/etc/passwd').read()",
    "writes a file": "open('/tmp/left-behind-by-a-program', 'w').write('x')",
    "removes the library": "import shutil\nshutil.rmtree(os.path.dirname(os.__file__))",
    "lifts its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "takes memory": "held = []\nwhile True: held.append(bytearray(10**7))",
    "recurses": "def g(): return g() + 1\ng()",
    "raises SystemExit": "raise SystemExit(0)",
    "raises an interrupt": "raise KeyboardInterrupt",
    "raises a strange name": "raise type('a\\nb\\x00\\ud800' * 50, (Exception,), {})",
    "raises what cannot be named": "class M(type):\n    __name__ = property(lambda c: 1 / 0)\n"
    "class E(Exception, metaclass=M): pass\nraise E",
    "changes builtins": "import builtins\nbuiltins.len = builtins.isinstance = lambda *a: True",
    "changes json": "import json\njson.loads = lambda *a: []",
    "forgets modules": "sys.modules.clear()",
    "is deaf to signals": "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass",
    "traces": "sys.settrace(lambda *a: 1 / 0)\nsys.setprofile(lambda *a: 1 / 0)",
    "hooks the collector": "import gc\ngc.callbacks.append(lambda *a: 1 / 0)\ngc.set_threshold(1)",
    "asks the kernel": "import ctypes\n[ctypes.CDLL(None).syscall(n, 0, 0, 0, 0, 0) for n in (101, 165, 321, 425, 435)]",
    "becomes another program": "os.execv('/bin/true', ['true'])",
}  # fmt: skip
PLACES = {
    "at the top": "act()\ndef f(x):\n    return 2 * x",
    "when called": "def f(x):\n    act()\n    return 2 * x",
    "after a right answer": "def f(x):\n    if x > 1: act()\n    return 2 * x",
    "when its value goes": (
        "class V(int):\n    def __del__(self): act()\ndef f(x):\n    return V(2 * x)"
    ),
}  # fmt: skip
STATUS = {"finished", "undefined", "timeout", *sandbox.REFUSED}


def hostile(body, place):
    indented = body.replace("\n", "\n    ")
    return f"import os, sys\ndef act():\n    {indented}\n{PLACES[place]}"


PROGRAMS = {
    (what, place): hostile(body, place)
    for (what, body), place in itertools.product((DEADLY | HARMLESS).items(), PLACES)
}
RIGHT = "def f(x):\n    return 2 * x"
HONEST = {RIGHT: 3, "def f(x):\n    return x + x if x < 3 else 5": 2, "def f(x):\n    return x": 0}
QUICK = Limits(seconds=1, wall=1.0, memory=2**28, output=2**20)


def test_hostile_programs_change_nothing_for_others():
    """Each is contained, on record, and wrong where it died; honest ones between them are judged as if alone."""
    assert len(PROGRAMS) >= 150
    codes = list(PROGRAMS.values())
    honest = [f"{code}\nnumber = {i}" for i in range(12) for code in HONEST]
    order = np.random.default_rng(0).permutation(len(codes) + len(honest))
    written, done = judged(DOUBLES, [(codes + honest)[i] for i in order], QUICK)
    outcome = lambda code: done[evalplus.parse(code, "f").key]
    assert len(done) == len(written)
    for (what, place), code in PROGRAMS.items():
        found = outcome(code)
        assert found.status in STATUS
        if what in DEADLY:
            assert not passed(DOUBLES, found).all(), (what, place, found)
        if passed(DOUBLES, found).all():
            assert found.status == "finished"
    for code in honest:
        found = outcome(code)
        assert found.status == "finished"
        assert passed(DOUBLES, found).sum() == HONEST[code[: code.index("\nnumber")]]
    assert not Path("/tmp/left-behind-by-a-program").exists()


@pytest.mark.parametrize("seed", range(4))
def test_order_and_company_do_not_matter(seed):
    """Permuted, repeated, among hostile ones, by one worker or two: every program does what it does alone."""
    told = lambda found: (found.status, found.values, found.errors)
    rng = np.random.default_rng(seed)
    codes = [*HONEST, "def f(x):\n    return [x, object()]", "def f(x):\n    return 1 // (x - 1)"]
    alone = {code: told(next(iter(judged(DOUBLES, [code])[1].values()))) for code in codes}
    quick = [
        "leaves",
        "aborts",
        "writes noise",
        "says locked",
        "forks",
        "raises a strange name",
        "forgets modules",
    ]
    company = [PROGRAMS[what, place] for what in quick for place in PLACES]
    mixed = [*codes, *codes, *rng.choice(company, 10).tolist()]
    mixed = [mixed[i] for i in rng.permutation(len(mixed))]
    written, done = judged(DOUBLES, mixed, workers=1 + seed % 2)
    for code, p in zip(mixed, written, strict=True):
        if code in alone:
            assert told(done[p.key]) == alone[code]


def test_equal_programs_do_the_same():
    """Which spelling of a program is run does not matter: it cannot know its own lines."""
    short = "import sys\ndef f(x):\n    return sys._getframe().f_lineno"
    (a, b), done = judged(DOUBLES, [short, "\n\n# here\n" + short])
    assert a.key == b.key
    with Sandbox() as box:
        assert box.run(a.code, "f", [arguments(1)]).values == box.run(b.code, "f", [arguments(1)]).values
    assert len(done) == 1


@pytest.mark.parametrize(
    ("then", "status"),
    [
        ("while True: pass", "timeout"),
        ("os.abort()", "crashed"),
        ("os._exit(0)", "exited"),
        ("os._exit(3)", "exited"),
    ],
)
def test_a_right_answer_counts_once_the_program_came_back(then, status):
    """It gives the right answers itself, and never returns from the last."""
    code = FORGES.replace("TIMES", "1").replace("return 2", f"{then}\n    return 2")
    about = task(["2"])
    (found,) = judged(about, [code], QUICK)[1].values()
    assert (found.status, passed(about, found).any()) == (status, False)
    ends = f"import os\ndef f(x):\n    if x == 2:\n        {then}\n    return 2 * x"
    (found,) = judged(DOUBLES, [ends], QUICK)[1].values()
    assert found.status == status
    assert passed(DOUBLES, found).tolist() == [True, False, False]


# ---- what is never right ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "Mbpp/737", "Mbpp/787", "Mbpp/794"])
def test_objects_are_never_right(name):
    """Not by their type's name, not inside a list, not where only "found" is asked."""
    for expected in ("true", '{"match":[0,1]}', '"found"', "[1]"):
        about = task([expected], [arguments("abc")], name)
        shams = ["object()", "[object()]", "iter([1])", "f", "type('Match', (), {})()", "(1, [object])"]
        _, done = judged(about, [f"def f(x):\n    return {sham}" for sham in shams])
        assert not any(passed(about, found).any() for found in done.values())


def test_a_match_is_found():
    about = task(['{"match":[1,2]}'], [arguments("abc")], "Mbpp/737")
    codes = ["import re\ndef f(x):\n    return re.search('b', x)", "def f(x):\n    return 'b' in x"]
    wrong = ["import re\ndef f(x):\n    return re.search('d', x)", "def f(x):\n    return False"]
    written, done = judged(about, codes + wrong)
    assert [passed(about, done[p.key]).all() for p in written] == [True, True, False, False]


def test_what_a_program_sends_cannot_upset_the_comparison():
    """Text of every kind in place of an answer is wrong, and nothing is raised."""
    deep, keys = "[" * 50_000, ",".join(f'["{i}",1]' for i in range(10))
    texts = [
        "", "{", "nul", "NaN", "1e999", "9" * 5000, deep, deep + "]" * 50_000, '{"int":"zz"}', '{"int":7}',
        '{"complex":[1]}', '{"complex":["x",1]}', '{"bytes":"0"}', '{"dict":[[[],1]]}', '{"dict":5}', '{"set":[[]]}',
        '{"match":[1]}', '{"match":["a",2]}', '{"tuple":null}', '{"object":null}', '{"digest":[]}', '"\\ud800"',
        f'{{"dict":[{keys}]}}', '{"int":"0x' + "f" * 4000 + '"}', '{"complex":[1e308,1e308]}',
    ]  # fmt: skip
    names = ["none", *evalplus._RULES]
    for name, text, expected in itertools.product(names, texts, ("1.5", "[1,2.5]", '{"dict":[["a",1.5]]}')):
        about = task([expected], [arguments([1, 2], 3)], name)
        passed(about, sandbox.Outcome("finished", (text,), (None,), 0.0))
    plain_ = task(["1.5"])
    assert not any(passed(plain_, sandbox.Outcome("finished", (t,), (None,), 0.0)).any() for t in texts)


def test_programs_are_read_from_any_text_in_one_pass():
    """A quadratic reader would take an hour over these."""
    about = Task("HumanEval/0", "f", "def f(x):\n", "", (), 0, 0.0)
    many = 200_000
    for text in (
        "```python\n" + "\n" * many, "\n" * many, "```\n" * many, " \n" * many, "`" * many, "``` x " * many,
        "```py\n" + " \t" * many, "def f(x):\n" + "\n" * many, "@" * many, "```x\n" + "def f\n" * many,
    ):  # fmt: skip
        assert isinstance(evalplus.program(about, text, chat=True), str)
    code = 'def f(x):\n    return "\u2028\x0c" + x\n'
    assert evalplus.program(about, f"```py\n{code}```\nso", chat=True) == code
