"""What Linux offers to lock a process in: prctl, seccomp filters and Landlock, called through ctypes.

Filters are written with the names of system calls; libseccomp knows their numbers on each architecture.
Every lock is inherited by child processes and can never be opened again. Nothing here reads ovrl's other
modules, because the program host imports it into a bare interpreter.
"""

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2

# seccomp.h of libseccomp
ALLOW = 0x7FFF0000
_SCMP_CMP_MASKED_EQ = 7
_SCMP_FLTATR_ACT_BADARCH = 2
_KILL_PROCESS = 0x80000000
_FILTER_BYTES = 1 << 16
"""Room of a pipe; the longest filter here has a tenth of it."""

# include/uapi/linux/landlock.h; the numbers of these calls are the same on every architecture
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_PATH_BENEATH = 1, 1
_LANDLOCK_READ_FILE, _LANDLOCK_READ_DIR = 1 << 2, 1 << 3
_LANDLOCK_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of rights over files by version: `(1 << n) - 1` are all of them."""

LINUX_ONLY = "only Linux can lock programs in: score them there, or in a Linux container"


class SealError(OSError):
    """This machine lacks a lock; the message says which, and how to get it."""


def deny(code: int) -> int:
    """Return the action that makes a system call fail with this errno."""
    return 0x00050000 | code


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens on a system call, if `argument & mask == value`; a mask of 0 means always."""

    call: str
    action: int
    argument: int = 0
    mask: int = 0
    value: int = 0


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def build_filter(default: int, rules: Iterable[Rule]) -> bytes:
    """Return a seccomp filter for this machine's architecture; a call that the machine lacks is left out.

    Raises:
        SealError: no Linux, no libseccomp, or a rule that it cannot express.
    """
    if not sys.platform.startswith("linux"):
        raise SealError(LINUX_ONLY)
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SealError("libseccomp is missing: apt-get install libseccomp2, or dnf install libseccomp") from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    try:
        library.seccomp_attr_set(context, _SCMP_FLTATR_ACT_BADARCH, ctypes.c_uint32(_KILL_PROCESS))
        for rule in rules:
            number = library.seccomp_syscall_resolve_name(rule.call.encode())
            if number < 0:
                continue
            comparison = _Comparison(rule.argument, _SCMP_CMP_MASKED_EQ, rule.mask, rule.value)
            failed = library.seccomp_rule_add_array(
                context, ctypes.c_uint32(rule.action), number, int(rule.mask != 0), ctypes.byref(comparison)
            )
            if failed:
                raise SealError(f"libseccomp takes no rule for {rule.call}: {os.strerror(-failed)}")
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def install_filter(code: bytes) -> None:
    """Apply a filter to the calling thread and to all that it starts, for ever.

    Raises:
        SealError: the kernel refuses it.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Args:
        parent: the process that started this one; if it has gone already, this one exits.
    """
    if not sys.platform.startswith("linux"):
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers; 0 when it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION)))


def restrict_files(readable: Iterable[str]) -> None:
    """Let the calling thread, and all that it starts, read below these paths and touch no other file.

    What is open stays open. Paths that do not exist are passed over.

    Raises:
        SealError: the kernel has no Landlock, or refuses.
    """
    version = landlock_version()
    if version == 0:
        raise SealError("the kernel has no Landlock: Linux 5.13 or newer with landlock in its lsm= list")
    all_rights = (1 << _LANDLOCK_FILE_RIGHTS.get(version, 16)) - 1
    wanted = _Ruleset(all_rights)
    ruleset = _syscall(_LANDLOCK_CREATE, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)), 0)
    if ruleset < 0:
        raise SealError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        for path in readable:
            _allow_reading(ruleset, path)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        if _syscall(_LANDLOCK_RESTRICT, ruleset, 0) < 0:
            raise SealError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = _LANDLOCK_READ_FILE | (_LANDLOCK_READ_DIR if os.path.isdir(path) else 0)  # noqa: PTH112 - starts early
        beneath = _PathBeneath(access, place)
        if _syscall(_LANDLOCK_ADD, ruleset, _LANDLOCK_PATH_BENEATH, ctypes.byref(beneath), 0) < 0:
            raise SealError(ctypes.get_errno(), f"landlock_add_rule {path}")
    finally:
        os.close(place)


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    reader, writer = os.pipe()
    try:
        failed = library.seccomp_export_bpf(context, writer)
        if failed:
            raise SealError(f"libseccomp cannot write the filter: {os.strerror(-failed)}")
        return os.read(reader, _FILTER_BYTES)
    finally:
        os.close(reader)
        os.close(writer)


def _prctl(option: int, value: int, pointer: int = 0) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(pointer), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        code = ctypes.get_errno()
        wanted = "seccomp filters" if option == _PR_SET_SECCOMP else "prctl"
        if code in (errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EACCES):
            raise SealError(f"the kernel or the container refuses {wanted} ({os.strerror(code)})")
        raise SealError(code, f"{wanted}: {os.strerror(code)}")


def _syscall(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library.syscall(ctypes.c_long(number), *arguments)
