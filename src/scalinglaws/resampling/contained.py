"""The inside of the sandbox: a zygote that forks a process for each program; the process locks itself in and answers.

Imported by `sandbox` in a process of its own, with the standard library only. The zygote sees no program, input
or answer: it hands each process a socket and tells how the process ended. The process gives up everything but that socket
(other descriptors, files by Landlock, system calls that are not on a short list by seccomp: no network, no
processes or threads, no writing, no signals to others; memory and time by limits), says so, and only then is
sent a program, and one input at a time, each after the answer to the one before.
"""

from __future__ import annotations

import ast
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import sysconfig
import types
from collections.abc import Iterable

from .plain import decode, name_of, written

LAYERS = ("limits", "files", "calls")
"""What a program is locked in with: resource limits, Landlock, seccomp."""
QUESTION = struct.Struct("!8sI")
"""Before a question: its number, drawn at random, and the bytes that follow."""
ANSWER = struct.Struct("!8scI")
"""Before an answer: the number of its question, a letter, and the bytes that follow."""


class NotContained(Exception):
    """A layer that this machine does not have."""


# ---- layers -----------------------------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 1, 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3

# System calls that reading modules, computing, sleeping and ending need, by number.
_CALLS = {
    "x86_64": (0xC000003E, {
        "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
        "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
        "pread64": 17, "readv": 19, "writev": 20, "access": 21, "select": 23, "sched_yield": 24, "mremap": 25,
        "madvise": 28, "dup": 32, "pause": 34, "nanosleep": 35, "getitimer": 36, "alarm": 37, "setitimer": 38,
        "getpid": 39, "exit": 60, "uname": 63, "fcntl": 72, "getcwd": 79, "readlink": 89, "gettimeofday": 96,
        "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102, "getgid": 104,
        "geteuid": 107, "getegid": 108, "getppid": 110, "rt_sigpending": 127, "rt_sigtimedwait": 128,
        "rt_sigsuspend": 130, "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202,
        "sched_getaffinity": 204, "getdents64": 217, "clock_gettime": 228, "clock_getres": 229,
        "clock_nanosleep": 230, "exit_group": 231, "openat": 257, "newfstatat": 262, "readlinkat": 267,
        "faccessat": 269, "pselect6": 270, "ppoll": 271, "prlimit64": 302, "getrandom": 318, "statx": 332,
        "faccessat2": 439,
    }),
    "aarch64": (0xC00000B7, {
        "getcwd": 17, "dup": 23, "fcntl": 25, "faccessat": 48, "openat": 56, "close": 57, "getdents64": 61,
        "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pselect6": 72,
        "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98,
        "nanosleep": 101, "getitimer": 102, "setitimer": 103, "clock_gettime": 113, "clock_getres": 114,
        "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124, "sigaltstack": 132,
        "rt_sigsuspend": 133, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigpending": 136,
        "rt_sigtimedwait": 137, "rt_sigreturn": 139, "times": 153, "uname": 160, "getrusage": 165,
        "gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176,
        "getegid": 177, "gettid": 178, "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222,
        "mprotect": 226, "madvise": 233, "prlimit64": 261, "getrandom": 278, "statx": 291, "faccessat2": 439,
    }),
}  # fmt: skip
# open for reading only; look at limits but never set them (root could raise them); no signals by descriptor
_OPEN_FLAGS = os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | 0o100000
_FCNTL = (0, 1, 2, 3, 1030)  # duplicate, descriptor flags, status flags


def _call(number: int, *arguments) -> int:
    result = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(*arguments: int) -> None:
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:5]]
    if _libc.prctl(*padded):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def limit(limits: dict) -> None:
    """Limits on memory (bytes of address space), processor time (s), files. Soft and hard alike: death, no warning."""
    for what, most in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_CPU, limits["cpu"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def fence_files() -> None:
    """Landlock: nothing but the interpreter's library can be opened, for reading; no TCP, no signals out where known."""
    try:
        version = _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError as error:
        raise NotContained(f"no Landlock ({error.strerror})") from None
    rights = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    ruleset = struct.pack("QQQ", rights, 3, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    handle = _call(_CREATE_RULESET, ruleset, ctypes.c_size_t(len(ruleset)), ctypes.c_uint(0))
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    for folder in sorted(filter(os.path.isdir, folders)):
        opened = os.open(folder, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIR, opened)
        _call(_ADD_RULE, ctypes.c_int(handle), ctypes.c_int(1), rule, ctypes.c_uint(0))
        os.close(opened)
    _call(_RESTRICT_SELF, ctypes.c_int(handle), ctypes.c_uint(0))
    os.close(handle)


def call_filter(machine: str) -> bytes:
    """The seccomp program for a machine: the listed calls pass, others fail with EPERM, another architecture's kill.

    Raises NotContained for an unknown machine.
    """
    if machine not in _CALLS:
        raise NotContained(f"no list of system calls for {machine}")
    architecture, numbers = _CALLS[machine]
    numbers = dict(numbers)
    load = lambda at: (0x20, 0, 0, at)
    jump = lambda k, yes, no: (0x15, yes, no, k)
    allow, deny, kill = (6, 0, 0, 0x7FFF0000), (6, 0, 0, 0x00050001), (6, 0, 0, 0x80000000)
    low = lambda argument: 16 + 8 * argument
    special = {
        "openat": [load(low(2)), (0x45, 0, 1, 0xFFFFFFFF & ~_OPEN_FLAGS), deny, allow],
        "prlimit64": [load(low(2)), jump(0, 0, 3), load(low(2) + 4), jump(0, 0, 1), allow, deny],
        "fcntl": [load(low(1)), *(jump(c, len(_FCNTL) - i, 0) for i, c in enumerate(_FCNTL)), deny, allow],
    }
    program = [load(4), jump(architecture, 1, 0), kill, load(0)]
    for name, steps in special.items():
        program += [jump(numbers.pop(name), 0, len(steps)), *steps]
    for number in numbers.values():
        program += [jump(number, 0, 1), allow]
    return b"".join(struct.pack("HBBI", *step) for step in [*program, deny])


def fence_calls() -> None:
    """seccomp: see `call_filter`. Numbers of the x32 ABI are on no list."""
    program = call_filter(os.uname().machine)
    held = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    pointer = ctypes.create_string_buffer(header, len(header))
    try:
        _prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(pointer))
    except OSError as error:
        raise NotContained(f"no seccomp filter ({error.strerror})") from None


def lock_in(layers: Iterable[str], limits: dict, keep: set[int]) -> None:
    """Give up everything but the descriptors `keep` and an empty standard input and output. Raises NotContained."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    os.chdir("/")
    os.environ.clear()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    for before, after in zip([2, *sorted(keep)], [*sorted(keep), 1 << 16], strict=True):
        os.closerange(before + 1, after)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if "files" in layers:
        fence_files()
    if "limits" in layers:
        limit(limits)
    if "calls" in layers:
        fence_calls()


# ---- a program's process ----------------------------------------------------------------------------------


def _exactly(channel: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(channel, count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _hear(channel: int) -> tuple[bytes, bytes]:
    number, size = QUESTION.unpack(_exactly(channel, QUESTION.size))
    return number, _exactly(channel, size)


def _say(channel: int, number: bytes, letter: bytes, text: str = "") -> None:
    left = text.encode("ascii", "replace")
    left = ANSWER.pack(number, letter, len(left)) + left
    while left:
        left = left[os.write(channel, left) :]


def compiled(code: str) -> types.CodeType:
    """A program without its positions in the text: programs of equal syntax trees do the same."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt):
            node.lineno = node.end_lineno = 1
            node.col_offset = node.end_col_offset = 0
    return compile(tree, "program", "exec")


def converse(channel: int) -> None:
    """Define the program that comes first, then call its function on what is asked, until the question is empty.

    Answers: "d" defined, or "u" with an error; then "v" with the value or "e" with an error for each question;
    "." at the end. Arguments and value are gone before the answer is given.
    """
    import random

    number, asked = _hear(channel)
    asked = json.loads(asked)
    random.seed(0)
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(compiled(asked["code"]), module.__dict__)
        function = module.__dict__[asked["entry"]]
    except BaseException as error:
        return _say(channel, number, b"u", name_of(error))
    _say(channel, number, b"d")
    while True:
        number, test = _hear(channel)
        if not test:
            return _say(channel, number, b".")
        try:
            letter, text = b"v", written(function(*decode(json.loads(test))))
        except BaseException as error:
            letter, text = b"e", name_of(error)
        _say(channel, number, letter, text)


def _child(channel: int, control: int, layers: Iterable[str], limits: dict, zygote: int) -> None:
    """Lock in, tell the judge on `control`, give that up too, and only then meet a program. Never returns."""
    code = 1
    try:
        try:
            lock_in(layers, limits, {channel, control})
        except (NotContained, OSError) as error:
            os.write(control, str(error).encode()[:200])
            return
        if os.getppid() != zygote:
            return  # it died before this process was bound to it
        os.write(control, b"locked")
        os.close(control)
        converse(channel)
        code = 0
    finally:
        os._exit(code)


# ---- the zygote -------------------------------------------------------------------------------------------


def serve(layers: Iterable[str]) -> None:
    """Fork a process for each socket that comes over standard input with limits (JSON); tell how each ended.

    What a process must never know is never here: it goes through the socket, which is not read here.
    """
    _import_what_programs_use()
    gc.freeze()
    control, zygote = socket.socket(fileno=os.dup(0)), os.getpid()
    while True:
        limits, handles, _, _ = socket.recv_fds(control, 4096, 1)
        if not limits:
            return
        if not handles:
            continue  # to end a process that has ended by itself
        pid = os.fork()
        if not pid:
            _child(handles[0], control.fileno(), layers, json.loads(limits), zygote)
        os.close(handles[0])
        control.send(_ending(pid, control))


def _ending(pid: int, control: socket.socket) -> bytes:
    """Wait until a process ends, or end it when told to (or when nobody is there to tell)."""
    process, poller = os.pidfd_open(pid), select.poll()
    poller.register(process, select.POLLIN)
    poller.register(control, select.POLLIN)
    while process not in (ready := [handle for handle, _ in poller.poll()]):
        if ready:
            os.kill(pid, signal.SIGKILL)
            if not control.recv(16):
                os._exit(0)
    os.close(process)
    _, code, usage = os.wait4(pid, 0)
    seconds = usage.ru_utime + usage.ru_stime
    return json.dumps({"code": os.waitstatus_to_exitcode(code), "seconds": seconds}).encode()


def _import_what_programs_use() -> None:
    """Once, before the forks: quicker, and libraries that live elsewhere (OpenSSL) are there."""
    import importlib

    for name in (
        "abc", "array", "ast", "base64", "bisect", "calendar", "cmath", "collections.abc", "contextlib", "copy",
        "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "inspect",
        "itertools", "math", "numbers", "operator", "queue", "random", "re", "socket", "statistics", "string",
        "textwrap", "threading", "traceback", "typing", "unicodedata", "zlib",
    ):  # fmt: skip
        importlib.import_module(name)
