"""Untrusted programs: what they may do, what they may not, and that nothing of them is left."""

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from ovrl.reward import program
from ovrl.reward.program import Limits, Outcome, run

LIMITS = Limits(cpu=1.0, wall=3.0, memory=128 << 20)
NOBODY = 65534
SOURCE = Path(__file__).parents[2] / "src"

if reason := program.missing():
    pytest.skip(f"programs cannot be sealed here: {reason}", allow_module_level=True)


def ran(source: str, text: str = "", limits: Limits = LIMITS) -> Outcome:
    return run(textwrap.dedent(source), text, limits)


def printed(expression: str, before: str = "") -> str:
    """Return what a sealed program makes of an expression."""
    outcome = run(f"{before}\ndef solution(input):\n    return {expression}", "", LIMITS)
    return outcome.output.decode() if outcome.ending == "returned" else f"{outcome.ending}: {outcome.note}"


def refused(expression: str, before: str = "") -> bool:
    return printed(expression, before).startswith("raised: PermissionError")


def test_the_input_is_data_and_the_answer_is_the_last_line():
    text = 'a"""\\n\nb\u00e9\u2028 '
    outcome = ran("print('first')\ndef solution(text):\n    return text + input", text)
    assert outcome == Outcome("returned", f"first\n{text}{text}\n".encode(), 0)


@pytest.mark.parametrize(
    ("before", "expression", "want"),
    [
        ("from collections import Counter", "Counter('aab').most_common(1)", "[('a', 2)]"),
        ("import heapq, bisect", "heapq.nsmallest(2, [3, 1, 2]), bisect.bisect([1, 2], 1)", "([1, 2], 1)"),
        ("from datetime import datetime", "datetime.strptime('2024-02-29', '%Y-%m-%d').day", "29"),
        ("from functools import lru_cache\n@lru_cache(None)\ndef f(n): return n if n < 2 else f(n-1) + f(n-2)",
         "f(80)", "23416728348467685"),
        ("import sys\nsys.setrecursionlimit(10**5)\ndef f(n): return n and 1 + f(n - 1)", "f(20000)", "20000"),
        ("import json, os.path", "json.dumps(os.path.join('a', 'b'))", '"a/b"'),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int", "P(3)", "P(x=3)"),
        ("import decimal, fractions, statistics", "decimal.Decimal(1) / 4 + 0 * statistics.mean([1, 2]).__trunc__()",
         "0.25"),
        ("import hashlib, zlib", "hashlib.md5(b'').hexdigest()[:6], zlib.crc32(b'a')", "('d41d8c', 3904355907)"),
        ("import sys", "sys.stdin.read() + sys.argv[0] + __name__", "__main__"),
        ("import os", "set(os.environ) - {'PYTHONHASHSEED', 'LD_LIBRARY_PATH', 'LC_CTYPE'}", "set()"),
        ("", "'é'.encode('latin-1')", r"b'\xe9'"),
        ("import sys; print('x', file=sys.stderr)", "1", "1"),
    ],
)  # fmt: skip
def test_ordinary_programs_run(before: str, expression: str, want: str):
    assert printed(expression, before) == want + "\n"


@pytest.mark.parametrize(
    ("ending", "source"),
    [
        ("syntax", "def solution(input) return 3"),
        ("syntax", "x = 1\0"),
        ("missing", "def answer(input): return 3"),
        ("raised", "def solution(input): return 1 / 0"),
        ("raised", "raise KeyboardInterrupt"),
        ("raised", "class E(BaseException):\n    def __str__(self): raise E\nraise E"),
        ("raised", "def solution(input): return solution(input)"),
        ("raised", "import sys; sys.exit(1)"),
        ("raised", "x = 'a' * 10**10"),
        ("raised", "import numpy_is_not_for_programs"),
        ("died", "import os; os._exit(0)"),
        ("died", "import os; os._exit(125)"),
        ("died", "import os; os.write(3, b'{\"end\": \"unsealed\", \"note\": \"\"}'); os._exit(125)"),
        ("died", "import ctypes; ctypes.string_at(0)"),
        ("died", "import os\nfor n in range(64):\n    os.close(n)"),
        ("slow", "while True: pass"),
        ("slow", "x = 10**10**10"),
        ("slow", "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"),
        ("slow", "import time; time.sleep(1000)"),
        ("slow", "import signal, time\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n"
                 "    except (OSError, ValueError): pass\nwhile True: time.sleep(1)"),
        ("flooded", "while True: print('x' * 65536)"),
        ("flooded", "import os\nwhile True: os.write(3, b'x' * 65536)"),
    ],
)  # fmt: skip
def test_every_bad_end_has_its_name_and_the_next_program_runs(ending: str, source: str):
    assert run(source, "", LIMITS).ending == ending
    assert printed("6 * 7") == "42\n"


def test_a_program_that_leaves_early_has_not_returned_but_its_exit_code_is_known():
    assert ran("print(3)\nraise SystemExit").exit_code == 0
    outcome = ran("import os\nos.write(1, b'3')\nos._exit(0)")
    assert (outcome.ending, outcome.exit_code, outcome.output) == ("died", 0, b"3")
    assert ran("import os\nos._exit(7)").exit_code == 7


def test_the_body_alone_is_run_without_a_text():
    outcome = run("print(6 * 7)", None, LIMITS)
    assert (outcome.output, outcome.exit_code) == (b"42\n", 0)


def test_no_file_can_be_opened_made_or_listed(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("CANARY")
    tmp_path.chmod(0o777)
    for before, expression in [
        ("", f"open({str(secret)!r}).read()"),
        ("import io", f"io.FileIO({str(secret)!r}).read()"),
        ("import os", f"os.open({str(secret)!r}, os.O_RDONLY)"),
        ("import os", f"os.listdir({str(tmp_path)!r})"),
        ("import os", f"os.stat({str(secret)!r})"),
        ("import os", f"os.unlink({str(secret)!r})"),
        ("import os", f"os.mkdir({str(tmp_path / 'made')!r})"),
        ("import os", f"os.rename({str(secret)!r}, {str(tmp_path / 'moved')!r})"),
        ("", f"open({str(tmp_path / 'new')!r}, 'w')"),
        ("", "open('/proc/self/mem', 'rb')"),
        ("import os", "open(f'/proc/{os.getpid()}/maps')"),
        ("", "open('relative', 'w')"),
        ("import os", "os.memfd_create('x')"),
        ("import os", "os.pipe()"),
        ("import os", "os.dup(1)"),
    ]:
        assert refused(expression, before), expression
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.txt"]
    assert secret.read_text() == "CANARY"


def test_no_process_can_be_started_or_signalled():
    for before, expression in [
        ("import os", "os.fork()"),
        ("import os", "os.execv('/bin/echo', ['echo', '3'])"),
        ("import os", "os.posix_spawn('/bin/echo', ['echo'], {})"),
        ("import subprocess", "subprocess.run(['/bin/echo'])"),
        ("import os", "os.kill(1, 0)"),
        ("import os", f"os.kill({os.getpid()}, 9)"),
        ("import os", "os.killpg(0, 9)"),
        ("import os", "os.setuid(0)"),
    ]:
        assert refused(expression, before), expression
    assert printed("threading.Thread(target=print).start()", "import threading").startswith("raised: RuntimeError")
    assert printed("os.system('true')", "import os") != "0\n"


def test_no_socket_can_be_made():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        port = listener.getsockname()[1]
        assert refused(f"socket.socket().connect(('127.0.0.1', {port}))", "import socket")
        assert not printed(f"socket.create_connection(('127.0.0.1', {port}))", "import socket").startswith("<socket")
        assert refused("socket.socketpair()", "import socket")
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "number",
    ["ptrace", "process_vm_readv", "io_uring_setup", "openat2", "clone3", "bpf", "unshare", "keyctl", "prlimit64"],
)
def test_system_calls_that_python_has_no_name_for_are_refused(number: str):
    library = functools.cache(__import__("ctypes").CDLL)("libseccomp.so.2")
    call = library.seccomp_syscall_resolve_name(number.encode())
    assert call > 0
    before = "import ctypes\nlibrary = ctypes.CDLL(None, use_errno=True)"
    assert printed(f"library.syscall({call}, 0, 0, 0, 0, 0), ctypes.get_errno()", before) == "(-1, 1)\n"


def test_no_memory_becomes_executable():
    before = "import ctypes, mmap"
    assert refused("mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)", before)


def test_a_program_finds_no_descriptor_but_its_own():
    before = """
import os
def is_open(n):
    try: os.write(n, b"")
    except OSError as error: return error.errno != 9
    return True
"""
    assert printed("[n for n in range(1024) if is_open(n)]", before) == "[0, 1, 2, 3]\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
def test_root_runs_programs_as_nobody():
    assert printed("os.getuid(), os.geteuid(), os.getgid(), os.getegid()", "import os") == f"{(NOBODY,) * 4}\n"


def test_runs_share_nothing_and_repeat_themselves():
    first = printed("random.random(), list({'a', 'b', 'c', 'd'})", "import random, math; math.pi = 3")
    assert printed("random.random(), list({'a', 'b', 'c', 'd'})", "import random") == first
    assert printed("math.pi > 3", "import math") == "True\n"


def test_the_host_never_holds_a_text_of_a_program_or_its_output():
    """What it held, the next program would inherit in its memory."""
    mark = "".join(map(chr, range(90, 64, -1)))
    source = f"# {mark}\nimport time\ndef solution(input): print(input * 1000); return input"
    assert ran(source, mark).output.startswith(mark.encode())
    (host,) = [pid for pid in children_of(os.getpid()) if is_host(pid)]
    try:
        memory = memory_of(host)
    except PermissionError:
        pytest.skip("this machine lets no process read its child's memory")
    assert b"solution(input)" in memory  # its own source says so: this is the right memory
    assert mark.encode() not in memory


def memory_of(pid: int) -> bytes:
    parts: list[bytes] = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                parts.append(memory.read(end - start))
    return b"".join(parts)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


CHAIN = """
import sys, threading, time
from ovrl.reward import program
if sys.argv[1] == "reserved":
    program.reserve()
print(program.missing(), flush=True)
program.run("import time\\ntime.sleep(1000)", "", program.Limits(600.0, 600.0, 1 << 28))
"""


@pytest.mark.parametrize("how", ["reserved", "started"])
def test_nothing_is_left_when_the_worker_is_killed(how: str):
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", CHAIN, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "None\n"
        (host,) = children_of(worker.pid)
        until(lambda: children_of(host) != [])
        (child,) = children_of(host)
        worker.send_signal(signal.SIGKILL)
    until(lambda: is_gone(host) and is_gone(child))


def test_a_killed_host_costs_one_program_and_takes_its_child_along():
    pids: list[int] = []

    def kill_host() -> None:
        until(lambda: any(children_of(host) for host in children_of(os.getpid()) if is_host(host)))
        (host,) = [host for host in children_of(os.getpid()) if is_host(host)]
        pids.extend([host, *children_of(host)])
        os.kill(host, signal.SIGKILL)

    assert printed("1") == "1\n"
    killer = threading.Thread(target=kill_host)
    killer.start()
    with pytest.raises(program.HostLostError):
        ran("import time; time.sleep(1000)", limits=Limits(60.0, 60.0, 1 << 27))
    killer.join()
    assert len(pids) == 2
    until(lambda: all(map(is_gone, pids)))
    assert printed("1") == "1\n"


def is_host(pid: int) -> bool:
    return b"program_host" in Path(f"/proc/{pid}/cmdline").read_bytes()


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition) -> None:
    """Wait for something that must come; the limit is for a machine that hangs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_machine_that_cannot_seal_runs_nothing(monkeypatch: pytest.MonkeyPatch):
    """The host is told that there is no libseccomp: it must say so, and not run the program."""
    broken = program._CODE.replace(  # pyright: ignore[reportPrivateUsage]
        "main();", ""
    ).replace(
        "main()",
        "from ovrl.reward import seal; "
        "seal.build_filter = lambda *_: (_ for _ in ()).throw(seal.SealError('no lock: apt-get install one')); main()",
    )
    assert "build_filter" in broken
    monkeypatch.setattr(program, "_CODE", broken)
    monkeypatch.setattr(program, "_state", program._State())  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(program.NotSealedError, match="apt-get install one"):
        ran("def solution(input): return 3")
    assert program.missing() == "no lock: apt-get install one"


def with_lock(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let each child of the next host lock itself in so."""
    lock = f"import ovrl.reward.program_host as h\ndef lock(self): {body}\nh._Child._lock = lock\nmain()"
    code = program._CODE.replace("; ", "\n").replace("main()", lock)  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(program, "_CODE", code)
    monkeypatch.setattr(program, "_state", program._State())  # pyright: ignore[reportPrivateUsage]


def test_a_program_that_cannot_be_locked_in_is_not_run_and_costs_no_other_its_host(monkeypatch: pytest.MonkeyPatch):
    with_lock(monkeypatch, "raise OSError('no room for a lock')")
    hosts: list[list[int]] = []
    for _ in range(2):
        with pytest.raises(program.NotRunError, match="no room for a lock"):
            ran("print('it runs')")
        hosts.append([pid for pid in children_of(os.getpid()) if is_host(pid)])
    assert hosts[0] == hosts[1] != []


def test_a_text_that_leaves_no_memory_for_the_lock_has_failed_by_itself(monkeypatch: pytest.MonkeyPatch):
    with_lock(monkeypatch, "raise MemoryError")
    assert ran("print('it runs')") == Outcome("raised", b"", 1, "MemoryError: ")


AS_USER = """
import sys
from ovrl.reward import program
assert program.missing() is None, program.missing()
limits = program.Limits(1.0, 3.0, 1 << 27)
def printed(source):
    outcome = program.run(source, "4 6", limits)
    return outcome.ending, outcome.output.decode(), outcome.note
print(printed("import os, math\\ndef solution(text): return math.gcd(*map(int, text.split())), os.getuid()"))
for call in ("open('/etc/passwd')", "__import__('os').fork()", "__import__('socket').socket()",
             "__import__('os').kill(__import__('os').getpid(), 9)"):
    print(printed(f"import os, socket\\ndef solution(text): return {call}")[2][:15])
print(printed("while True: pass")[0])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="every test here runs as a user anyway")
def test_the_same_holds_for_a_user_who_is_not_root():
    outside = {"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    for python in filter(None, (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin"))):
        try:
            done = subprocess.run(
                [python, "-c", AS_USER], user=NOBODY, group=NOBODY, extra_groups=[], env=outside, cwd="/",
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
        except PermissionError:  # the interpreter lies where only root can go
            continue
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            f"('returned', '(2, {NOBODY})\\n', '')", *["PermissionError"] * 4, "slow",
        ]  # fmt: skip
        return
    pytest.skip("no Python 3.11 that a user other than root can start")
