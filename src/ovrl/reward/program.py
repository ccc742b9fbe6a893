"""Run untrusted Python programs: each in a sealed process that can compute, write to one pipe, and nothing else.

`program_host` is the process that forks them. It is started once, when the first program comes, and never
learns what a program should print. The output comes here, past the host, and is compared here.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ovrl.reward import seal
from ovrl.reward.program_wire import READY, REPLY, REQUEST, SEALED, STOP, WAKE

OUTPUT_BYTES = 4 << 20
"""A program that writes more is ended."""

_GRACE = 20.0
"""Seconds after which a host that does not answer is given up; it has a time limit of its own for each run."""
_START = 60.0
_LOST = "the program host is lost, and this process may start no other"
_CODE = "import sys; sys.path.append(sys.argv[2]); from ovrl.reward.program_host import main; main()"
_SOURCE = str(Path(__file__).parents[2])

Ending = Literal["returned", "raised", "syntax", "missing", "slow", "flooded", "died"]


class NotSealedError(RuntimeError):
    """This machine cannot lock programs in, so none is run; the message says what is missing."""


class NotRunError(RuntimeError):
    """One program could not be locked in, and was not run; the host has said so and goes on."""


class HostLostError(RuntimeError):
    """The program host died or hangs; the next program gets a new one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use."""

    cpu: float
    """Seconds of processor time, rounded up to whole ones."""
    wall: float
    """Seconds from start to end."""
    memory: int
    """Bytes of address space on top of the bare interpreter's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    ending: Ending
    output: bytes
    """All of standard output; with `returned`, what `solution` returned is its last line."""
    exit_code: int
    """0 also for a program that exits by itself without an error; that is no `returned`."""
    note: str = ""
    """The exception, for a person."""
    is_expired: bool = False
    """Whether it was ended for its wall time, and not for its processor time."""


def run(source: str, text: str | None, limits: Limits) -> Outcome:
    """Run a program and call its `solution` with the text; print what that returns.

    Args:
        source: Python.
        text: given to `solution` as a string, and to the body as the global name `input`. None: run the
            body alone.
        limits: of this run.

    Raises:
        NotSealedError: programs cannot be run on this machine.
        NotRunError: this one was not, although others can be.
        HostLostError: the grader's failure, not the program's.
        SystemExit: the same, in a process that can start no other host.
    """
    with _lock:
        try:
            return _current_host().run(source, text, limits)
        except (OSError, HostLostError) as error:
            _drop_host()
            if _state.is_only:  # now, so that the completion that comes next does not pay for it
                sys.exit(f"{_LOST}: {error}")
            raise HostLostError(f"the program host failed: {error}") from error


def missing() -> str | None:
    """Return why programs cannot be run on this machine, and what would help; None when they can."""
    try:
        with _lock:
            _current_host()
    except NotSealedError as error:
        return str(error)
    return None


def reserve() -> None:
    """Fork the process that will become the host when the first program comes.

    For a process that is about to give up the right to start others: it gets this host and no other, and
    exits when that is lost, so that whoever watches it starts a fresh one. The fork costs a millisecond; the
    interpreter is started only if it is needed.
    """
    if sys.platform.startswith("linux"):
        _state.reserved, _state.is_only = _forked_host(), True


def close() -> None:
    """End the host."""
    with _lock:
        _drop_host()


class _Host:
    """This process's side of a program host."""

    def __init__(self, control: socket.socket, end: Callable[[], object]) -> None:
        self._control = control
        self._end = end
        self.owner = os.getpid()

    def check(self) -> None:
        """Wait until the host has tried its locks.

        Raises:
            NotSealedError: they do not hold.
            HostLostError: it died.
        """
        self._control.settimeout(_START)
        try:
            self._control.send(WAKE)
            greeting = self._control.recv(4096)
        except OSError as error:
            raise HostLostError(f"it does not start: {error}") from error
        if not greeting:
            raise HostLostError("it does not start")
        if greeting != READY:
            raise NotSealedError(greeting.decode())

    def run(self, source: str, text: str | None, limits: Limits) -> Outcome:
        channel, theirs = socket.socketpair()
        reader, writer = os.pipe()
        try:
            with theirs:
                try:
                    request = REQUEST.pack(limits.cpu, limits.wall, limits.memory)
                    socket.send_fds(self._control, [request], [theirs.fileno(), writer])
                finally:
                    os.close(writer)
            _give(channel, {"source": source, "input": text, "pasted": text is None}, limits.wall)
            return self._outcome(channel, reader, limits)
        finally:
            channel.close()
            os.close(reader)

    def close(self) -> None:
        self._control.close()  # the host ends when it sees this
        self._end()

    def _outcome(self, channel: socket.socket, reader: int, limits: Limits) -> Outcome:
        """Collect what the program writes until the host says how it ended."""
        output, report = bytearray(), bytearray()
        os.set_blocking(reader, False)
        channel.setblocking(False)
        flooded, reply = False, b""
        deadline = time.monotonic() + limits.wall + _GRACE
        waiting = {reader, channel.fileno(), self._control.fileno()}
        while waiting:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select(waiting, (), (), left)
            if not ready:
                raise HostLostError("it does not answer")
            if self._control.fileno() in ready:
                reply = self._control.recv(REPLY.size)
                if not reply:
                    raise HostLostError("it died")
                waiting.discard(self._control.fileno())
            if reader in ready and not _drain(reader, output):
                waiting.discard(reader)
            if channel.fileno() in ready and not _drain(channel.fileno(), report):
                waiting.discard(channel.fileno())
            if len(output) > OUTPUT_BYTES or len(report) > OUTPUT_BYTES:
                del output[OUTPUT_BYTES:], report[OUTPUT_BYTES:]
                if not flooded and not reply:
                    self._control.send(STOP)
                flooded = True
        return _read_outcome(reply, bytes(output), bytes(report), flooded, limits)


def _read_outcome(reply: bytes, output: bytes, report: bytes, flooded: bool, limits: Limits) -> Outcome:
    signal_number, code, expired, cpu = REPLY.unpack(reply)
    if flooded:
        return Outcome("flooded", output, 1, f"more than {OUTPUT_BYTES >> 20} MiB of output")
    if expired:
        return Outcome("slow", output, 1, f"still running after {limits.wall:.3g} s", is_expired=True)
    if signal_number:
        if signal_number == signal.SIGXCPU or (signal_number == signal.SIGKILL and cpu > limits.cpu):
            return Outcome("slow", output, 1, f"used more than {limits.cpu:g} s of processor time")
        return Outcome("died", output, 1, f"killed by signal {signal_number}")
    ending, note = _read_report(report.removeprefix(SEALED))
    if ending == "died" and not report.startswith(SEALED):
        raise NotRunError(f"a program was not run, because it could not be locked in: {note}")
    return Outcome(ending, output, code, note)


def _read_report(report: bytes) -> tuple[Ending, str]:
    """Return what the child says of its end. A program that was started may have written it, so nothing is believed."""
    try:
        said = json.loads(report)
        ending, note = str(said["end"]), str(said["note"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return "died", "it left without a report"
    for known in ("returned", "raised", "syntax", "missing"):
        if ending == known:
            return known, note[:500]
    return "died", note[:500]


def _give(channel: socket.socket, job: dict[str, str | bool | None], seconds: float) -> None:
    channel.settimeout(seconds)
    with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):  # the reply says how it ended
        channel.sendall(json.dumps(job).encode())
        channel.shutdown(socket.SHUT_WR)


def _drain(descriptor: int, into: bytearray) -> bool:
    """Take what can be read now; return whether more may come."""
    try:
        part = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    into += part
    return bool(part)


class _State:
    """The host of this process."""

    host: _Host | None = None
    reserved: _Host | None = None
    is_only: bool = False
    """Whether no other host can be started."""
    refusal: str | None = None
    """Why no program can be run here."""


_state = _State()
_lock = threading.Lock()


def _current_host() -> _Host:
    host = _state.host
    if host is not None and host.owner == os.getpid():
        return host
    if _state.refusal is not None:
        raise NotSealedError(_state.refusal)
    if _state.is_only and _state.reserved is None:
        sys.exit(_LOST)
    host, _state.reserved = _state.reserved or _popened_host(), None
    try:
        host.check()
    except NotSealedError as error:
        _state.refusal = str(error)
        host.close()
        raise
    except HostLostError:
        host.close()
        raise
    _state.host = host
    return host


def _drop_host() -> None:
    if _state.host is not None and _state.host.owner == os.getpid():
        _state.host.close()
    _state.host = None


def _popened_host() -> _Host:
    import subprocess  # only here: scoring workers fork theirs

    if not sys.platform.startswith("linux"):
        raise NotSealedError(seal.LINUX_ONLY)
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command, environment = _command(parent=0), _environment()
    with theirs:
        try:
            process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment)
        except OSError as error:
            raise NotSealedError(f"no interpreter can be started for them: {error}") from error

    def end() -> None:
        process.kill()
        process.wait()

    atexit.register(close)
    return _Host(control, end)


def _forked_host() -> _Host:
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if os.fork() == 0:
        try:
            seal.die_with_parent(parent)
            os.dup2(theirs.fileno(), 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            host = socket.socket(fileno=0)  # named, because it would be closed when it is collected
            if host.recv(1, socket.MSG_PEEK):
                os.execve(sys.executable, _command(parent), _environment())
        finally:
            os._exit(1)
    theirs.close()
    return _Host(control, lambda: None)  # it dies with us


def _command(parent: int) -> list[str]:
    # As with -I, but the environment, which is ours, may fix the order of sets: same record, same score.
    return [sys.executable, "-s", "-S", "-P", "-B", "-c", _CODE, str(parent), _SOURCE]


def _environment() -> dict[str, str]:
    # Where an interpreter that was not installed for all users may have its own library.
    return {"PYTHONHASHSEED": "0", "LD_LIBRARY_PATH": str(Path(sys.base_prefix) / "lib")}
