"""The process that starts untrusted Python programs; `program` starts it, in an interpreter of its own.

It forks one child for each run, so that a program pays neither for an interpreter nor for its usual modules.
It holds no text at all: the child reads the program and its input from a socket and writes to a pipe that
go past the host, so that no program finds another's source or output in the memory that it inherits.

The child gives up, in this order, its session, its descriptors, time and memory, the modules that it may
import, its user, and all system calls but those that compute and write to what is open. Only then does it run
a line of the program.
"""

import ast
import builtins
import contextlib
import errno
import gc
import importlib
import io
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from typing import Any

from ovrl.reward import seal
from ovrl.reward.program_wire import READY, REPLY, REQUEST, SEALED, STOP

_WARM = (
    *("bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools", "math"),
    *("operator", "random", "re", "statistics", "string", "typing", "_strptime"),
    *("_sitebuiltins", "encodings.ascii", "encodings.latin_1"),
)
"""Loaded once, before the first program: what most programs import, and what these modules load when used."""

_REFUSED = frozenset({"antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"})
"""Standard modules that open windows or browsers, or print, when they are imported."""

_FREE_CALLS = (
    *("read", "readv", "write", "writev", "close", "lseek", "fstat"),
    *("munmap", "mremap", "brk", "madvise", "exit", "exit_group", "futex", "sched_yield"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times"),
    *("getrandom", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrusage"),
)
"""All that a program may ask of the kernel. It cannot name a file, a process or an address."""

_PROT_EXEC = 4
_NOBODY = 65534
_NOTE = 300


def main() -> None:
    """Serve the process that started this one.

    The arguments are its number, or 0 if it may end before its thread does, and where ovrl lies.
    """
    parent, path = sys.argv[1:]
    sys.path.remove(path)
    if int(parent):
        seal.die_with_parent(int(parent))
    _settle()
    control = socket.socket(fileno=0)
    if control.recv(REQUEST.size):  # wakes a host that is started early; when started late, it is there already
        serve(control)


def serve(control: socket.socket) -> None:
    """Say whether programs can be locked in (`READY`, or why not), then run them until the other end closes.

    Args:
        control: keeps messages apart (SOCK_SEQPACKET).
    """
    try:
        code = _built_seal()
        _try_seal(code)
    except OSError as error:
        control.send(str(error).encode())
        return
    control.send(READY)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 2)
        if not message:
            return
        if message == STOP:  # meant for a run that had already ended
            continue
        cpu, wall, memory = REQUEST.unpack(message)
        channel, output = descriptors
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _Child(parent, cpu, memory, code).run(channel, output)
        os.close(channel)
        os.close(output)
        control.sendall(_waited(pid, control, reader, wall))


def _waited(pid: int, control: socket.socket, woken: int, wall: float) -> bytes:
    """Return the reply about a child, once it has ended or was ended."""
    deadline = time.monotonic() + wall
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(woken, select.POLLIN)
    expired = False
    while True:
        ended, status, usage = os.wait4(pid, 0 if expired else os.WNOHANG)
        if ended:
            break
        left = deadline - time.monotonic()
        ready = {descriptor for descriptor, _ in poller.poll(max(0.0, left) * 1000)}
        if woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
        if control.fileno() in ready or left <= 0:
            expired = left <= 0
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)  # in case it has no group yet
            if control.fileno() in ready and not control.recv(REQUEST.size):
                sys.exit()
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    code = 0 if ended_by else os.WEXITSTATUS(status)
    return REPLY.pack(ended_by, code, expired, usage.ru_utime + usage.ru_stime)


def _built_seal() -> bytes:
    rules = [seal.Rule(call, seal.ALLOW) for call in _FREE_CALLS]
    rules += [seal.Rule(call, seal.ALLOW, 2, _PROT_EXEC, 0) for call in ("mmap", "mmap2", "mprotect")]
    return seal.build_filter(seal.deny(errno.EPERM), rules)


def _try_seal(code: bytes) -> None:
    """Lock in a child that does nothing, and see that it held.

    Raises:
        OSError: it could not be locked in, or it could still open a file.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        verdict = "a sealed process could still open a file"
        try:
            seal.install_filter(code)
            os.close(os.open("/", os.O_RDONLY))
        except seal.SealError as error:
            verdict = str(error)
        except PermissionError:
            verdict = "sealed"
        finally:
            os.write(writer, verdict.encode()[:_NOTE])
            os._exit(0)
    os.close(writer)
    verdict = os.read(reader, _NOTE).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    if verdict != "sealed":
        raise OSError(verdict or "a sealed process died")


class _Child:
    """One run of one program, in the process that was forked for it."""

    def __init__(self, parent: int, cpu: float, memory: int, seal_code: bytes) -> None:
        self._parent = parent
        self._cpu = cpu
        self._memory = memory
        self._seal = seal_code
        self._end = "unsealed"

    def run(self, channel: int, output: int) -> None:
        """Run the program and exit. Whatever it raises ends in the report: nothing returns to the host."""
        try:
            self._leave(channel, output)
            job = self._job()
            self._bound()
            self._end = "syntax"
            code = self._prepared(job["source"])
            self._end = "unsealed"
            self._lock()
            os.write(_CHANNEL, SEALED)
            self._end = "raised"
            self._execute(code, job)
            self._end = "returned"
        finally:  # catches what a program raises, SystemExit and all; `os._exit` lets nothing pass
            error = sys.exc_info()[1]
            if self._end == "unsealed" and isinstance(error, MemoryError):
                self._end = "raised"  # a text that leaves no room for the lock has itself to blame
            self._report(error)
            exited = isinstance(error, SystemExit) and error.code in (None, 0)
            os._exit(0 if error is None or exited else 1)

    def _leave(self, channel: int, output: int) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        channel, output = os.dup(channel), os.dup(output)  # both above 3, so that neither is overwritten
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (output, 1), (null, 2), (channel, _CHANNEL)):
            os.dup2(source, target)
        os.closerange(_CHANNEL + 1, _DESCRIPTORS)

    def _job(self) -> dict[str, Any]:
        parts: list[bytes] = []
        while part := os.read(_CHANNEL, 1 << 16):
            parts.append(part)
        return json.loads(b"".join(parts))

    def _bound(self) -> None:
        held = _address_space()
        seconds = math.ceil(self._cpu)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # SIGXCPU tells it; it can be ignored
        for limit, value in (
            (resource.RLIMIT_AS, held + self._memory),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),
        ):
            resource.setrlimit(limit, (value, value))

    def _prepared(self, source: str) -> types.CodeType:
        tree = ast.parse(source, "<program>")
        code = compile(tree, "<program>", "exec", dont_inherit=True)
        for name in _imported(tree):
            with contextlib.suppress(ImportError, OSError):
                importlib.import_module(name)
        if "random" in sys.modules:
            sys.modules["random"].seed(0)  # the same record gives the same score
        return code

    def _lock(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if os.geteuid() == 0:
            with contextlib.suppress(OSError):  # a container may lack the right, or the user
                os.setgroups([])
                os.setresgid(_NOBODY, _NOBODY, _NOBODY)
                os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        seal.die_with_parent(self._parent)  # after the change of user, which clears it
        seal.install_filter(self._seal)

    def _execute(self, code: types.CodeType, job: dict[str, Any]) -> None:
        """Run the body of the program, then its `solution`, as the job says."""
        main = types.ModuleType("__main__")
        names = main.__dict__
        names["__builtins__"] = builtins
        sys.modules["__main__"] = main
        for name in [name for name in sys.modules if name.partition(".")[0] == "ovrl"]:
            del sys.modules[name]
        sys.argv = [""]
        sys.stdin = sys.__stdin__ = _stream(0, "r")  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = _stream(2, "w")  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = output = _stream(1, "w")  # type: ignore[misc]
        # The program is run as a function without arguments: there is no name to look it up by.
        if job["pasted"]:
            types.FunctionType(code, names)()
            sys.stdout.flush()
            return
        text = job["input"]
        names["input"] = text
        types.FunctionType(code, names)()
        if "solution" not in names:
            self._end = "missing"
            raise NameError("the program defines no solution(input)")
        answer = str(names["solution"](text))
        output.write(answer + "\n")
        output.flush()

    def _report(self, error: BaseException | None) -> None:
        """Say how it ended. An object of the program may do anything when it is printed, even raise."""
        note = ""
        try:
            note = "" if error is None else f"{type(error).__name__}: {error}"[:_NOTE]
        finally:
            with contextlib.suppress(OSError):
                os.write(_CHANNEL, json.dumps({"end": self._end, "note": note}).encode())
            return  # noqa: B012 - the exit code follows, come what may


_CHANNEL = 3
_DESCRIPTORS = 256


def _stream(descriptor: int, mode: str) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw, 1 << 16)
    return io.TextIOWrapper(buffer, encoding="utf-8")  # type: ignore[arg-type]


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the standard modules that a program names in import statements, wherever these stand."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names and top not in _REFUSED:
                yield name


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - as above
        return int(file.read().split()[0]) * resource.getpagesize()


def _settle() -> None:
    """Stand in a directory that is gone, with few descriptors, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setsid()
    os.chdir("/")
    with contextlib.suppress(OSError):
        place = tempfile.mkdtemp()
        os.chdir(place)
        os.rmdir(place)  # noqa: PTH106 - pathlib is not loaded
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(_DESCRIPTORS, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
    for name in _WARM:
        importlib.import_module(name)
    quitter: Any = sys.modules["_sitebuiltins"].Quitter
    for name in ("exit", "quit"):  # `site` would have defined them
        setattr(builtins, name, quitter(name, ""))
    gc.freeze()  # so that children share these objects instead of copying them
