"""Keep freed memory in the process, so that tensors do not pay for fresh pages again and again."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc


def keep_freed_memory() -> None:
    """Tell glibc to serve large blocks from the heap and not to give the heap back.

    By default each tensor above 32 MB at most is mapped and unmapped, and the kernel clears its pages
    every time; small models on a CPU run at half their speed then. Elsewhere than glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        mallopt(_M_TOP_PAD, 64 << 20)
