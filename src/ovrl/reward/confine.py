"""Confine a scoring worker: what a completion makes its libraries do stays in the process.

Rules neither read files nor open connections on purpose. This is for the day when one of their libraries can
be talked into it, or into holding all of the memory. A machine that lacks a lock goes on without it, and says so.
"""

import ctypes
import errno
import os
import resource
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from types import ModuleType
from typing import Any

from ovrl.reward import program, seal

DEFAULT_MEMORY = 512 << 20

_MAPPED = 128 << 20
"""Of the memory, what libraries take that are mapped from files, which `RLIMIT_DATA` does not count."""
_LEAST_DATA = 128 << 20
_DESCRIPTORS = 128

_WRITING = os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC
_CLONE_THREAD = 0x10000  # include/uapi/linux/sched.h

_CHANGES_FILES = (
    *("creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "truncate", "truncate64", "chmod", "fchmod", "fchmodat"),
    *("fchmodat2", "chown", "lchown", "fchown", "fchownat", "utime", "utimes", "utimensat", "futimesat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "open_by_handle_at"),
)
_REACHES_OUT = (
    *("socket", "connect", "bind", "listen", "accept", "accept4", "fork", "vfork", "execve", "execveat"),
    *("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_getfd"),
    *("pidfd_send_signal", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
)
_RULES_THE_MACHINE = (
    *("mount", "umount", "umount2", "pivot_root", "chroot", "setns", "unshare", "fsopen", "fsmount", "move_mount"),
    *("open_tree", "mount_setattr", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
    *("reboot", "swapon", "swapoff", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname"),
    *("setdomainname", "acct", "quotactl", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key"),
    *("request_key", "fanotify_init", "iopl", "ioperm", "syslog", "vhangup"),
)
_BY_POINTER = ("openat2", "clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
"""Calls whose meaning a filter cannot see; said not to exist, so that libraries use the older ones."""

_SYSTEM_PLACES = (
    *("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/nix/store", "/opt", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
    *("/etc/fonts", "/usr/share", "/usr/local/share/fonts", "/var/cache/fontconfig", "/etc/localtime"),
    *("/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system"),
)
_HOME_PLACES = (".fonts", ".fontconfig", ".local/share/fonts", ".cache/fontconfig", ".config/fontconfig")

_FORBIDDEN_EVENTS = (
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"),
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
    *("os.chown", "os.kill", "os.killpg", "os.putenv", "shutil.rmtree"),
)


@dataclass(frozen=True, slots=True)
class Lock:
    """One means of confinement, on this machine."""

    name: str
    is_in_force: bool
    remedy: str
    """What would bring it, when it is not in force; why it is not."""


def confine_worker(memory_bytes: int = DEFAULT_MEMORY, readable: Iterable[str] = ()) -> list[Lock]:
    """Give up, for this process and for ever, what judging does not need; return what is in force.

    To be called once, in the only thread of a worker, before its first record and not where a user's plug-in runs.
    Afterwards files can be read where Python, its packages and fonts lie, and nowhere else; nothing can be
    written, no connection opened, no process started. What is open stays open. The program host is
    prepared before. Never raises: a lock that this machine lacks is replaced by Python's audit hooks, which hold
    against Python code but not against a library in C.

    Args:
        memory_bytes: most that the process may come to hold.
        readable: further files and directories, as libraries in unusual places.
    """
    host = _tried("program host, started before the locks (general-code)", program.reserve)
    _replace_library_search()
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.putenv(threads, "1")  # each thread would reserve memory; workers are the parallelism
    places = [*map(str, readable), *_places()]
    locks = [
        host,
        _tried("limits on memory, files and descriptors", lambda: _limit(memory_bytes)),
        _tried("file reads (Landlock)", lambda: seal.restrict_files(places)),
        _tried("network, writing, new processes (seccomp)", lambda: seal.install_filter(_worker_filter())),
    ]
    if not all(lock.is_in_force for lock in locks[2:]):
        sys.addaudithook(_watch(places))
    return locks


def available() -> list[Lock]:
    """Return which means this machine offers, without applying any, for `ovrl doctor`."""
    reason = program.missing()
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    version = seal.landlock_version()
    return [
        Lock("programs run in a sealed process (general-code)", reason is None, reason or ""),
        Lock("programs run as another user", is_root, "" if is_root else "not needed; only root can change its user"),
        _tried("scoring without network, writing, new processes (seccomp)", _worker_filter),
        Lock(
            "scoring reads no foreign file (Landlock)",
            version > 0,
            "" if version else "Linux 5.13 or newer with landlock among its security modules; audit hooks until then",
        ),
    ]


def _replace_library_search() -> None:
    """Let `ctypes.util.find_library` find nothing: it would start ldconfig and a compiler.

    Packages then try names such as libcairo.so.2, which the loader finds by itself.
    """
    module: Any = ModuleType("ctypes.util")
    module.find_library = lambda name: None  # pyright: ignore[reportUnknownLambdaType]
    sys.modules["ctypes.util"] = module
    ctypes.__dict__["util"] = module


def _tried(name: str, apply: Callable[[], object]) -> Lock:
    try:
        apply()
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: not this operating system
        return Lock(name, False, str(error) or type(error).__name__)
    return Lock(name, True, "")


def _limit(memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_DATA: max(_LEAST_DATA, memory_bytes - _MAPPED),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _DESCRIPTORS,
    }
    if not any(map(_is_file, (1, 2))):  # a warning must not fail because standard error is a file
        limits[resource.RLIMIT_FSIZE] = 0
    for limit, value in limits.items():
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, value))


def _is_file(descriptor: int) -> bool:
    try:
        return S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _worker_filter() -> bytes:
    refused, unknown = seal.deny(errno.EACCES), seal.deny(errno.ENOSYS)
    rules = [seal.Rule(call, refused) for call in (*_CHANGES_FILES, *_REACHES_OUT, *_RULES_THE_MACHINE)]
    rules += [seal.Rule(call, unknown) for call in _BY_POINTER]
    rules.append(seal.Rule("clone", refused, 0, _CLONE_THREAD, 0))
    for call, argument in (("open", 1), ("openat", 2)):
        rules += [seal.Rule(call, refused, argument, flag, flag) for flag in _WRITING]
    return seal.build_filter(seal.ALLOW, rules)


def _places() -> list[str]:
    """Return where Python, its packages, system libraries and fonts lie."""
    package = Path(__file__).resolve().parents[2]
    here = Path.cwd()
    imported = [Path(entry) for entry in sys.path if entry and Path(entry).resolve() != here]
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    installed = [prefix / name for prefix in prefixes for name in ("lib", "lib64", "share", "etc/fonts", "pyvenv.cfg")]
    home = [Path(os.path.expanduser("~"), name) for name in _HOME_PLACES]  # noqa: PTH111 - never raises
    return [*map(str, (package / "ovrl", *imported, *installed, *home)), *_SYSTEM_PLACES]


def _watch(places: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that refuses what the locks would have refused."""
    roots = tuple(os.path.realpath(place) for place in places)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN_EVENTS:
            raise PermissionError(errno.EACCES, f"scoring may not do this: {event}")
        if event != "open" or isinstance(arguments[0], int):
            return
        path, mode, flags = arguments
        writes = isinstance(mode, str) and not set(mode).isdisjoint("wax+")
        writes = writes or bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        real = os.path.realpath(os.fsdecode(path))
        if writes or not any(real == root or real.startswith(root + os.sep) for root in roots):
            raise PermissionError(errno.EACCES, "scoring may not touch this file", str(path))

    return hook
