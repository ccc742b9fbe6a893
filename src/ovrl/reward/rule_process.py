"""The built-in rules in a confined process of their own, beside a worker that runs the user's plug-ins.

A plug-in may need files, the network and much memory, and the rules must have none of them, whoever else judges.
"""

import contextlib
import os
import signal
import socket
import sys
from typing import Any

from ovrl.records import Question
from ovrl.reward import seal
from ovrl.reward.channel import Channel
from ovrl.reward.confine import confine_worker
from ovrl.reward.judge import Verdict, judge, load_rule
from ovrl.reward.outcome import Mode


class RuleProcess:
    """A confined child that judges by rule; it ends with the process that started it, and takes it along."""

    def __init__(self, memory_bytes: int, *keep_out: int) -> None:
        """Start it. To be called in the only thread, before any plug-in is loaded.

        Args:
            memory_bytes: most that it may hold.
            keep_out: descriptors that it closes.
        """
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            for descriptor in keep_out:
                os.close(descriptor)
            _serve(parent, Channel(theirs), memory_bytes)
        theirs.close()
        self._channel = Channel(ours)

    def judge(self, question: Question, completion: str, *, mode: Mode, limit_s: float | None) -> Verdict:
        """Return what `judge` returns, there."""
        return self._asked((question, completion, mode, limit_s))

    def prepare(self, answer_type: str) -> None:
        """Load the rule of an answer type, there."""
        self._asked(answer_type)

    def _asked(self, request: Any) -> Any:
        try:
            self._channel.send(request)
            return self._channel.recv()
        except (EOFError, OSError):  # it died, as a worker would have died here: so does this one
            code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            if code < 0:
                signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
                os.kill(os.getpid(), -code)
            sys.exit(code or 1)


def _serve(parent: int, channel: Channel, memory_bytes: int) -> None:
    try:
        seal.die_with_parent(parent)
        confine_worker(memory_bytes)
        with contextlib.suppress(EOFError, OSError):  # the worker needs no more
            while True:
                request = channel.recv()
                if isinstance(request, str):
                    load_rule(request)
                    channel.send(None)
                else:
                    question, completion, mode, limit_s = request
                    channel.send(judge(question, completion, mode=mode, limit_s=limit_s))
        os._exit(0)
    finally:  # nothing of this process may return into the worker's code
        os._exit(1)
