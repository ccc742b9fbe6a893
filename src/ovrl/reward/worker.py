"""The process that judges: `python -m ovrl.reward.worker FD MODE [RULE]`. Started and killed by `pool`.

A process of its own, because a hang inside a library can only be ended from outside.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from ovrl.plugins import resolve
from ovrl.reward.judge import judge, prepare
from ovrl.reward.table import REWARDS

STARTED = "started"
"""Sent when a rule is loaded and a completion's time begins."""

_PR_SET_PDEATHSIG = 1  # prctl.h


def main() -> None:
    """Answer (question, completion) with (verdict, milliseconds) until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    if sys.platform.startswith("linux"):  # a parent that is killed must not leave a spinning worker
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(2, 1)  # nothing that a library prints may end among the records
    connection = Connection(int(sys.argv[1]))
    mode = "ov15" if sys.argv[2] == "ov15" else "strict"
    rule = resolve(sys.argv[3], REWARDS, "reward") if len(sys.argv) > 3 else None
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe: it needs no more
        while True:
            question, completion = connection.recv()
            prepare(question, rule)
            connection.send(STARTED)  # only now does the clock run: libraries are not the completion's fault
            start = time.perf_counter()
            verdict = judge(question, completion, mode=mode, rule=rule)
            connection.send((verdict, (time.perf_counter() - start) * 1000))


if __name__ == "__main__":
    main()
