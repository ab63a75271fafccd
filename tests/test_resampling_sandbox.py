"""The sandbox against programs that mean harm: each is contained, and what it did is on record."""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from scalinglaws.resampling import contained, plain, sandbox
from scalinglaws.resampling.sandbox import Limits, Sandbox

pytestmark = pytest.mark.usefixtures("contained_here")

QUICK = Limits(seconds=1, wall=3, memory=2**29)


@pytest.fixture(scope="module")
def box():
    sandbox.check()
    with Sandbox() as box:
        yield box


def arguments(*values):
    return json.dumps(plain.encode(list(values)))


def ran(box, code, *values, limits=QUICK):
    """The outcome of f on one test."""
    return box.run(code, "f", [arguments(*values)], limits)


def returned(outcome):
    return [None if v is None else plain.decode(json.loads(v)) for v in outcome.values]


VALUES = [
    None, True, 0, -3, 2**200, 1.5, -0.0, float("inf"), 1 + 2j, "äé\n\ud800", b"\x00x", [], [1, [2]], (), (1, (2,), [3]),
    {}, {"a": 1, 2: (3,)}, set(), {1, 2, "a"},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=[f"{type(v).__name__}-{i}" for i, v in enumerate(VALUES)])
def test_values_come_through_unchanged(box, value):
    """There and back, types and all, through the program's own process."""
    back = returned(ran(box, "def f(x):\n    return x", value))[0]
    assert back == value
    assert type(back) is type(value)
    assert plain.encode(plain.decode(plain.encode(value))) == plain.encode(value)


def test_arguments_are_fresh_for_every_test(box):
    code = (
        "seen = []\ndef f(x):\n    seen.append(x)\n    for y in seen:\n        y.append(0)\n    return len(x)"
    )
    assert returned(box.run(code, "f", [arguments([])] * 3, QUICK)) == [1, 1, 1]


def test_what_is_no_plain_data_equals_nothing(box):
    for code in ("iter([1])", "object()", "(i for i in [1])", "f", "range(3)"):
        (back,) = returned(ran(box, f"def f():\n    return {code}"))
        assert isinstance(back, plain.Opaque)
        assert back != back
    with pytest.raises(ValueError, match="no encoded value"):
        plain.decode({"tuple": [], "list": []})


def test_long_values_are_known_by_a_digest(box):
    first, same, other = (
        ran(box, f"def f():\n    return {text}").values[0]
        for text in ("[1] * 70000", "[1.0] * 70000", "[1] * 69999 + [2]")
    )
    assert (
        ran(box, "def f():\n    return 'a1.0' * 30000").values
        != ran(box, "def f():\n    return 'a1' * 30000").values
    )
    assert first == same != other
    assert len(first) < 100


def test_endings_are_told_apart(box):
    assert ran(box, "def f():\n    return 1").status == "finished"
    assert ran(box, "def g():\n    return 1").status == "undefined"
    assert ran(box, "1 / 0").status == "undefined"
    assert ran(box, "def f(:").status == "undefined"
    found = box.run(
        "def f(x):\n    if x == 1:\n        while True: pass\n    return x",
        "f",
        [*map(arguments, (0, 1, 2))],
        QUICK,
    )
    assert (found.status, returned(found)) == ("timeout", [0, None, None])
    found = box.run("def f(x):\n    return 1 // x", "f", [*map(arguments, (1, 0, 1))], QUICK)
    assert (found.status, returned(found)) == ("finished", [1, None, 1])
    assert found.errors == (None, "ZeroDivisionError", None)


def test_a_program_is_the_same_every_time(box):
    """Hashes and random numbers are fixed."""
    code = "import random\ndef f():\n    return [random.random(), list({'a', 'b', 'c', 'd'})]"
    first = ran(box, code)
    assert first == first.__class__(first.status, ran(box, code).values, first.errors, first.seconds)


# Each: the program, how it may end, the error it may meet. None of them may return True.
HOSTILE = {
    "fork bomb": ("import os\ndef f():\n    while True:\n        os.fork()", "refused", "PermissionError"),
    "other processes": (
        "import subprocess\ndef f():\n    return subprocess.run(['true']).returncode == 0",
        "refused", "PermissionError",
    ),
    "thread bomb": (
        "import threading, time\ndef f():\n    while True:\n        threading.Thread(target=time.sleep, args=(99,)).start()",
        "finished", "RuntimeError",
    ),
    "infinite loop": ("def f():\n    while True:\n        pass", "timeout", None),
    "infinite loop that catches everything": (
        "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "timeout", None,
    ),
    "infinite loop at the top": ("while True:\n    pass", "timeout", None),
    "deaf to signals": (
        "import signal, time\ndef f():\n    for s in range(1, 65):\n        try: signal.signal(s, signal.SIG_IGN)\n"
        "        except (OSError, ValueError): pass\n    while True: pass",
        "timeout", None,
    ),
    "sleeping forever": ("import time\ndef f():\n    time.sleep(10**6)", "timeout", None),
    "10 GB": ("def f():\n    return len(bytearray(10**10)) > 0", "memory", "MemoryError"),
    "memory bit by bit": (
        "def f():\n    held = []\n    while True:\n        held.append(bytearray(10**7))", "memory", "MemoryError"
    ),
    "memory in anonymous files": (
        "import os\ndef f():\n    return os.memfd_create('x') > 0", "refused", "PermissionError"
    ),
    "os._exit": ("import os\ndef f():\n    os._exit(0)", "exited", None),
    "os._exit at the top": ("import os\nos._exit(0)", "exited", None),
    "SystemExit": ("def f():\n    raise SystemExit(0)", "finished", "SystemExit"),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    class A:\n        def __repr__(self): return repr(self)\n"
        "    return repr(A())",
        ("crashed", "memory"), None,
    ),
    "network": (
        "import socket\ndef f():\n    return socket.socket() is not None", "refused", "PermissionError"
    ),
    "local sockets": (
        "import socket\ndef f():\n    return socket.socketpair() is not None", "refused", "PermissionError"
    ),
    "killing the parent": (
        "import os\ndef f():\n    os.kill(os.getppid(), 9)\n    return True", "refused", "PermissionError"
    ),
    "killing everybody": (
        "import os\ndef f():\n    os.kill(-1, 9)\n    return True", "refused", "PermissionError"
    ),
    "signals by descriptor": (
        "import fcntl, os\ndef f():\n    fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid())\n    return True",
        "refused", "PermissionError",
    ),
    "raising its own limits": (
        "import resource\ndef f():\n    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))\n    return True",
        ("refused", "finished"), None,
    ),
    "tracing": (
        "import ctypes\ndef f():\n    return ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0", "finished", None
    ),
    "another way to call the system": (  # the x32 numbers of getpid and socket
        "import ctypes\ndef f():\n    return ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0) >= 0", "finished", None
    ),
    "hand-made system calls": (  # io_uring_setup, clone3, execveat, mount, bpf
        "import ctypes\ndef f():\n    call = ctypes.CDLL(None).syscall\n"
        "    return any(call(n, 0, 0, 0, 0, 0) >= 0 for n in (425, 435, 322, 165, 321, 56, 57, 58))",
        "finished", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_are_contained_and_recorded(box, name):
    code, status, error = HOSTILE[name]
    started = time.monotonic()
    found = ran(box, code)
    assert found.status in ((status,) if isinstance(status, str) else status)
    assert returned(found)[0] in (None, False)
    if error:
        assert found.errors == (error,)
    assert time.monotonic() - started < QUICK.wall + 3
    assert returned(ran(box, "def f():\n    return 'well'")) == ["well"]  # the server stands


def test_files_are_out_of_reach(box, tmp_path):
    """Reading, writing, making, deleting, renaming, changing: nothing outside the library, and nothing is changed there."""
    kept = tmp_path / "kept"
    kept.write_text("secret")
    library = Path(os.__file__)
    before = library.stat().st_mtime_ns
    ways = """
import os, shutil
def f(way):
    return eval(way)
"""
    tries = [
        f"open({str(kept)!r}).read()", f"open({str(kept)!r}, 'w')", f"open({str(kept)!r}, 'a')", f"os.remove({str(kept)!r})",
        f"os.rename({str(kept)!r}, {str(kept) + '2'!r})", f"os.chmod({str(kept)!r}, 0)", f"os.truncate({str(kept)!r}, 0)",
        f"os.listdir({str(tmp_path)!r})", f"os.mkdir({str(tmp_path / 'new')!r})", f"os.symlink('x', {str(tmp_path / 'l')!r})",
        f"shutil.rmtree({str(tmp_path)!r})", f"os.utime({str(kept)!r}, (0, 0))", f"os.open({str(tmp_path)!r}, os.O_RDWR | os.O_TMPFILE)",
        f"open({str(library)!r}, 'a')", f"os.remove({str(library)!r})", "open('here', 'w')", "open('/etc/passwd').read()",
        "open('/proc/self/environ').read()", "open('/proc/self/mem', 'rb')", "open('/dev/null', 'w')", "os.listdir('/')",
        "os.chroot('/')", "os.setuid(1)", "os.setxattr('/', 'user.x', b'1')",
    ]  # fmt: skip
    found = box.run(ways, "f", [arguments(t) for t in tries], QUICK)
    assert found.status == "refused"
    for way, value, error in zip(tries, found.values, found.errors, strict=True):
        assert value is None, way
        assert error in ("PermissionError", "OSError"), (way, error)
    assert kept.read_text() == "secret"
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert library.stat().st_mtime_ns == before
    assert returned(ran(box, "def f():\n    import colorsys, sqlite3.dump\n    return True"))[0] in (
        True,
        None,
    )
    assert returned(
        ran(box, "def f():\n    import colorsys\n    return colorsys.rgb_to_hsv(1, 1, 1)[2]")
    ) == [1]


def test_no_environment_no_descriptors_no_input(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    code = """
import os, sys
def f():
    handles = []
    for i in range(3, 64):
        try:
            os.fstat(i)
            handles.append(i)
        except OSError:
            pass
    return dict(os.environ), len(handles), sys.stdin.read(), os.getcwd(), [n for n in sys.path if 'site-packages' in n]
"""
    with Sandbox() as box:
        # the one descriptor is that of the answers
        assert returned(ran(box, code)) == [({}, 1, "", "/", [])]


def test_floods_end_nowhere_or_at_the_limit(box):
    loud = "import os, sys\ndef f():\n    for _ in range(300):\n        print('x' * 10**5)\n        os.write(2, b'y' * 10**5)\n    return 1"
    assert returned(ran(box, loud)) == [1]
    flood = (
        "import os\ndef f():\n    for i in range(64):\n        try:\n            while True: os.write(i, b'z' * 65536)\n"
        "        except OSError: pass"
    )
    found = ran(box, flood, limits=Limits(seconds=1, wall=3, output=2**20))
    assert found.status in ("flooded", "garbled", "timeout")
    assert found.values == (None,)
    big = "def f():\n    return list(range(10**7))"
    assert ran(box, big, limits=Limits(seconds=20, wall=60)).status == "finished"


# Each tries to be taken for right where 42 is asked for and it does not know.
FORGERIES = {
    "says so": "def f(x):\n    print('ok')\n    return None",
    "equals everything": "class A:\n    def __eq__(self, o): return True\n    def __hash__(self): return 0\ndef f(x):\n    return A()",
    "an int that equals everything": (
        "class A(int):\n    def __eq__(self, o): return True\n    def __index__(self): return 42\n"
        "    def __repr__(self): return '42'\n    def __abs__(self): return 42\ndef f(x):\n    return A(7)"
    ),
    "a list that equals everything": "class A(list):\n    def __eq__(self, o): return True\ndef f(x):\n    return A()",
    "other built-ins": (
        "import builtins, json, operator\nclass T:\n    def __eq__(self, o): return True\n"
        "builtins.all = lambda *a: True\noperator.eq = lambda a, b: True\ndef f(x):\n    return 0"
    ),
    "overrides the sender": (
        "import sys\ninside = sys.modules['scalinglaws.resampling.contained']\ninside.written = lambda v: 'true'\n"
        "sys.modules['scalinglaws.resampling.plain'].encode = lambda v: True\ndef f(x):\n    return 0"
    ),
    "writes into the channel": (
        "import os\ndef f(x):\n    for i in range(3, 32):\n        try: os.write(i, b'pass\\ntrue\\n.\\n')\n        except OSError: pass\n    os._exit(0)"
    ),
    "ends well": "import os\ndef f(x):\n    os._exit(0)",
    "looks into the tests": (
        "import gc\ndef f(x):\n    return [o for o in gc.get_objects() if isinstance(o, dict) and 'expected' in o][:1]"
    ),
    "looks up the stack": (
        "import sys\ndef f(x):\n    frame, names = sys._getframe(), []\n    while frame:\n        names += frame.f_locals\n"
        "        frame = frame.f_back\n    return 'expected' in names or 'answer' in names"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_verdict_cannot_be_forged(box, name):
    """What comes back is compared here, by value."""
    from scalinglaws.resampling.evalplus import Task, passed

    task = Task("none", "f", "", "", (arguments(1),) * 2, 1, 0.0, expected=("42", "42"))
    known = box.run("def f(x):\n    return 42", "f", list(task.tests), QUICK)
    assert passed(task, known).all()
    assert not passed(task, box.run(FORGERIES[name], "f", list(task.tests), QUICK)).any()


def test_several_at_a_time_come_in_order():
    job = lambda i: lambda box: returned(ran(box, "def f(x):\n    return x * x", i))[0]
    assert list(sandbox.run_all(map(job, range(7)), 2)) == [i * i for i in range(7)]


def test_a_dead_server_is_no_pass_and_is_replaced(box):
    ran(box, "def f(): return 1")
    box.server.kill()
    box.server.wait()
    assert returned(ran(box, "def f():\n    return 1")) == [1]


@pytest.mark.parametrize(
    ("missing", "open_"),
    [
        ("files", "reading files"),
        ("calls", "the network, starting processes"),
        ("limits", "memory"),
    ],
)
def test_a_missing_layer_is_found_by_trial(monkeypatch, missing, open_):
    monkeypatch.setattr(sandbox, "LAYERS", tuple(x for x in contained.LAYERS if x != missing))
    with pytest.raises(sandbox.NoSandbox, match=rf"open: {open_}\); needs Linux 5.13"):
        sandbox.check()


def test_a_program_is_not_run_where_a_layer_fails(tmp_path, monkeypatch):
    """A kernel without Landlock: the copy says so and runs nothing."""
    room = tmp_path / "scalinglaws" / "resampling"
    room.mkdir(parents=True)
    shutil.copy(plain.__file__, room)
    own, calls = Path(contained.__file__).read_text(), "_RESTRICT_SELF = 444, 445, 446"
    assert calls in own
    (room / "contained.py").write_text(own.replace(calls, "_RESTRICT_SELF = 999, 999, 999"))
    monkeypatch.setattr(sandbox, "LIBRARY", tmp_path)
    with Sandbox() as box, pytest.raises(sandbox.NoSandbox, match=r"no Landlock .*needs Linux 5\.13"):
        ran(box, "def f(): return 1")


def test_other_systems_are_named(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(sandbox.NoSandbox, match="not contained on darwin"):
        sandbox.check()
    with pytest.raises(contained.NotContained, match="riscv64"):
        contained.call_filter("riscv64")
    assert len(contained.call_filter("aarch64")) % 8 == 0


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_nothing_is_left_running():
    """The end of the server is the end of the program that it runs."""
    with Sandbox() as box:
        ran(box, "def f(): return 1")
        server = box.server.pid
        sleeper = threading.Thread(target=ran, args=(box, "import time\ndef f():\n    time.sleep(99)"))
        sleeper.start()
        children = Path(f"/proc/{server}/task/{server}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.01)
        os.kill(server, 9)
        sleeper.join()
    until = time.monotonic() + 5
    while (left := [pid for pid in (server, int(found[0])) if alive(pid)]) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left
