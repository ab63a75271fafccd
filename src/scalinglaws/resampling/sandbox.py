"""Programs of unknown origin, run where they can do no harm, judged from outside.

Each program runs in a process of its own that `contained` has locked in: it opens nothing but the
interpreter's library, for reading; it has no network, no environment, no way to write a file, to start a
process or thread, to signal others; memory, processor time, time on the wall and output are limited. It works
under Linux ≥ 5.13 with Landlock and seccomp, with or without privileges. That a file exists can still be seen.

What comes back are plain values. They are compared here, with answers that the program's process never held:
whatever it prints, exits with, overwrites or claims to equal, it passes only by giving the right answers, one by
one, and ending by itself after the last. Nor did its process ever hold another program or what that one returned,
or an input before the answer to the one before it: it comes from a zygote that never sees any.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from . import contained, plain

LAYERS = contained.LAYERS
NEEDED = "needs Linux 5.13 or newer with Landlock and seccomp, on x86_64 or aarch64"
REFUSED = ("memory", "refused", "crashed", "exited", "flooded", "garbled")
"""Outcomes of programs that ran into the sandbox, time aside."""


LIBRARY = Path(__file__).resolve().parents[2]
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from scalinglaws.resampling import contained; del sys.path[0]; "
    "contained.serve(sys.argv[2].split(','))"
)


class NoSandbox(Exception):
    """Programs cannot be contained on this machine. One line: what is open, and what is needed."""


@dataclass(frozen=True)
class Limits:
    """seconds of processor time; seconds on the wall; bytes of address space; bytes sent back."""

    seconds: float = 5.0
    wall: float = 20.0
    memory: int = 2**30
    output: int = 2**24


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what its function gave for each test.

    status: "finished"; "undefined" (it defines no such function), "timeout", "memory" or "refused" (a call asked
    for memory or for something that is locked), "crashed" (a signal), "exited" (before it was let go), "flooded"
    (sent too much), "garbled" (wrote into the channel of the answers). values [tests]: JSON of `plain.encode`,
    None where there is none; errors [tests]: the exception's name, None where there is none. seconds: processor time.

    A value counts once the program has come back for more: the last one is None where the process, let go, did not
    end by itself with exit code 0. A flood or garbled answers leave no values at all.
    """

    status: str
    values: tuple[str | None, ...]
    errors: tuple[str | None, ...]
    seconds: float


class _Ended(Exception):
    """Nothing more can be asked of a process. Its argument: the status, or None where its exit tells."""


class _Channel:
    """Questions to a program's process, one at a time. Nothing that comes back is trusted."""

    def __init__(self, socket_: socket.socket, until: float, most: int):
        socket_.setblocking(False)
        self.socket, self.until, self.most = socket_, until, most
        self.poller = select.poll()
        self.poller.register(socket_)

    def _ready(self, events: int) -> int:
        self.poller.modify(self.socket, events)
        left = self.until - time.monotonic()
        if left <= 0 or not (found := self.poller.poll(left * 1000)):
            raise _Ended("timeout")
        return found[0][1]

    def _receive(self) -> bytes:
        piece = self.socket.recv(1 << 16)
        self.most -= len(piece)
        if self.most < 0:
            raise _Ended("flooded")
        return piece

    def ask(self, question: bytes, letters: bytes) -> tuple[bytes, str]:
        """The answer's letter, one of `letters`, and its text. Raises _Ended.

        An answer bears the number of its question, so that none can be given before it was asked.
        """
        number, got, size = os.urandom(8), bytearray(), contained.ANSWER.size
        left = memoryview(contained.QUESTION.pack(number, len(question)) + question)
        letter = b""
        try:
            while left or len(got) < size:
                if self._ready(select.POLLIN | (select.POLLOUT if left else 0)) & select.POLLOUT:
                    left = left[self.socket.send(left) :]
                    continue
                got += (piece := self._receive())
                if not piece:
                    raise _Ended(None)
                if not letter and len(got) >= size:
                    theirs, letter, more = contained.ANSWER.unpack_from(got)
                    size += more
                    if theirs != number or letter not in letters:
                        raise _Ended("garbled")
                    if more > self.most + len(got):
                        raise _Ended("flooded")
        except ConnectionError:
            raise _Ended(None) from None
        if len(got) > size:
            raise _Ended("garbled")
        return letter, got[contained.ANSWER.size :].decode("ascii", "replace")

    def close(self) -> None:
        """Wait until the other end is closed. Raises _Ended."""
        try:
            self._ready(select.POLLIN)
            if self._receive():
                raise _Ended("garbled")
        except ConnectionError:
            pass


class Sandbox:
    """A zygote of `contained` and what is asked of it; a context manager. One thread at a time."""

    def __init__(self, layers: Iterable[str] | None = None):
        self.layers = tuple(LAYERS if layers is None else layers)
        self.server: subprocess.Popen | None = None
        self.control: socket.socket
        self.stopped = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """End the zygote, and with it whatever it runs."""
        if self.server is not None:
            self.control.close()
            self.server.kill()
            self.server.wait()
            self.server = None

    def stop(self) -> None:
        """Have another thread's `run` end at once; nothing is run any more."""
        self.stopped = True
        if self.server is not None:
            self.server.kill()

    def _start(self) -> None:
        if self.server is not None and self.server.poll() is None:
            return
        self.close()
        python = getattr(sys, "_base_executable", None) or sys.executable
        # messages keep their bounds; processes not yet locked in write to it as well
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -I would ignore the seed of hashes, with which verdicts are the same each time
            self.server = subprocess.Popen(
                [python, "-s", "-S", "-P", "-B", "-c", _START, str(LIBRARY), ",".join(self.layers)],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": "0"}, cwd="/", start_new_session=True,
            )  # fmt: skip

    def run(self, code: str, entry: str, tests: list[str], limits: Limits | None = None) -> Outcome:
        """Define `code` and call its function `entry` on each test: JSON of the encoded arguments.

        Raises NoSandbox where the process could not be locked in: then no program was sent to it.
        """
        for _ in range(2):  # a zygote that dies is no program's doing, and costs none its verdict
            try:
                if self.stopped:
                    break
                return self._run(code, entry, tests, limits or Limits())
            except (OSError, EOFError):
                self.close()
            except BaseException:
                self.close()
                raise
        return Outcome("crashed", (None,) * len(tests), (None,) * len(tests), 0.0)

    def _run(self, code: str, entry: str, tests: list[str], limits: Limits) -> Outcome:
        self._start()
        ours, theirs = socket.socketpair()
        values: list[str | None] = [None] * len(tests)
        errors: list[str | None] = [None] * len(tests)
        status = None
        with ours:
            most = {"memory": limits.memory, "cpu": max(1, round(limits.seconds + 0.5))}
            with theirs:
                socket.send_fds(self.control, [json.dumps(most).encode()], [theirs.fileno()])
            if (said := self._heard(30.0)) != b"locked":
                raise NoSandbox(
                    f"programs cannot be contained: {said.decode('ascii', 'replace')[:200]}; {NEEDED}"
                )
            until = time.monotonic() + limits.wall
            channel = _Channel(ours, until, limits.output)
            try:
                letter, error = channel.ask(json.dumps({"code": code, "entry": entry}).encode(), b"du")
                if letter == b"u":  # it defines nothing, unless it met the sandbox
                    raise _Ended(_met_sandbox({error}) or "undefined")
                for i, test in enumerate(tests):
                    letter, text = channel.ask(test.encode(), b"ve")
                    (values if letter == b"v" else errors)[i] = text
                channel.ask(b"", b".")
                status = "finished"
                channel.close()
            except _Ended as ended:
                (status,) = ended.args
            code_, seconds = self._ending(until if status in (None, "finished") else 0.0)
        if status == "finished" and code_ == 0:
            status = _met_sandbox(set(errors)) or status
        else:
            values[-1:] = [None] * len(values[-1:])
            if status in (None, "finished"):
                killed = code_ in (
                    -signal.SIGKILL,
                    -signal.SIGXCPU,
                )  # by its limit on processor time, or by us
                status = "timeout" if killed else "crashed" if code_ < 0 else "exited"
        if status in ("garbled", "flooded"):
            values, errors = [None] * len(tests), [None] * len(tests)
        return Outcome(status, tuple(values), tuple(errors), seconds)

    def _heard(self, patience: float) -> bytes:
        self.control.settimeout(max(patience, 1e-3))
        if not (said := self.control.recv(4096)):
            raise EOFError
        return said

    def _ending(self, until: float) -> tuple[int, float]:
        """The exit code (negative for a signal) and processor seconds of a process; it is killed if it lives longer."""
        try:
            said = self._heard(until - time.monotonic())
        except TimeoutError:
            self.control.send(b"kill")
            said = self._heard(30.0)
        told = json.loads(said)
        return told["code"], told["seconds"]


def _met_sandbox(errors: set[str | None]) -> str | None:
    return "memory" if "MemoryError" in errors else "refused" if "PermissionError" in errors else None


def run_all(jobs: Iterable[Callable[[Sandbox], object]], workers: int) -> Iterator:
    """Results of jobs that each need a sandbox, in order, `workers` at a time."""
    idle: SimpleQueue[Sandbox] = SimpleQueue()
    boxes = [Sandbox() for _ in range(workers)]
    for box in boxes:
        idle.put(box)

    def one(job):
        box = idle.get()
        try:
            return job(box)
        finally:
            idle.put(box)

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(one, jobs)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for box in boxes:  # after Ctrl-C nobody waits for a program that is running
            box.stop()
        pool.shutdown()
        for box in boxes:
            box.close()


# ---- proof by behaviour -----------------------------------------------------------------------------------

_PROBE = """
import socket, os
def add(a, b):
    return a + b
def connect(port):
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True
def read(path):
    return open(path).read()
def write(path):
    with open(path, "w") as handle:
        return handle.write("x")
def fork(path):
    if not os.fork():
        os._exit(0)
    return True
def remember(size):
    return len(bytearray(size))
def send(port):
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))
"""
_OPEN = {
    "connect": "the network",
    "send": "the network",
    "read": "reading files",
    "write": "writing files",
    "fork": "starting processes",
    "remember": "memory",
}


@cache
def _proven(layers: tuple[str, ...]) -> None:
    import socket

    limits = Limits(seconds=5, wall=30, memory=2**29)
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(layers) as box,
        socket.create_server(("127.0.0.1", 0)) as door,
    ):
        known = Path(folder, "known")
        known.write_text("seen")
        ask = lambda entry, *arguments: box.run(
            _PROBE, entry, [json.dumps(plain.encode(list(arguments)))], limits
        )
        if ask("add", 2, 3).values != ("5",):
            raise NoSandbox(f"programs cannot be contained: not even a harmless one runs; {NEEDED}")
        asked = {
            "connect": door.getsockname()[1],
            "send": door.getsockname()[1],
            "read": str(known),
            "write": str(Path(folder, "new")),
            "fork": "",
            "remember": 2 * limits.memory,
        }
        leaks = [_OPEN[entry] for entry, value in asked.items() if ask(entry, value).values != (None,)]
        leaks = list(dict.fromkeys(leaks))
        if Path(folder, "new").exists() and _OPEN["write"] not in leaks:
            leaks.append(_OPEN["write"])
    if leaks:
        raise NoSandbox(f"programs are not contained here (open: {', '.join(leaks)}); {NEEDED}")


def check() -> None:
    """Prove by harmless trials that programs are contained on this machine. Raises NoSandbox; success is remembered."""
    if sys.platform != "linux":
        raise NoSandbox(f"programs are not contained on {sys.platform}; {NEEDED}")
    _proven(tuple(LAYERS))
