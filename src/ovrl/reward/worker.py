"""The process that judges: `fleet` starts it, gives it batches, and kills it when a completion takes too long.

A process of its own, because a hang inside a library can only be ended from outside. It answers a batch
in parts, so that little has to be done again when it is killed.
"""

import contextlib
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

from ovrl.records import Score
from ovrl.reward import seal
from ovrl.reward.batch import WHOLE, Asked, Batch, Clock, Duty, Part, Place, Timed
from ovrl.reward.channel import Channel
from ovrl.reward.confine import confine_worker
from ovrl.reward.judge import Judge, Plugin, Verdict
from ovrl.reward.line_scorer import LineScorer
from ovrl.reward.process import PROGRESS
from ovrl.reward.table import REWARDS

_FLUSH_AFTER = 0.05
"""Seconds of work after which a part is sent: what has to be done again if the next completion hangs."""


class _Worker:
    def __init__(self, channel: Channel, clock: Clock, duty: Duty) -> None:
        self._channel = channel
        self._clock = clock
        self._judge = make_judge(duty)
        compared = Judge(mode=duty.compare) if duty.compare else None
        self._scorer = LineScorer(
            self._judge, clock, null_as=duty.null_as, is_explained=duty.explain, compared=compared
        )

    def serve(self) -> None:
        """Answer batches until the other end closes."""
        while True:
            batch: Batch = self._channel.recv()
            work: Any = self._scorer.score if batch.lines else self._ask
            part, sent_at = Part(), time.monotonic()
            for item, content in enumerate(batch.lines.numbered() if batch.lines else batch.asked):
                work(item, content, batch.failures, part)
                part.done += 1
                if self._clock.begun - sent_at > _FLUSH_AFTER:
                    self._clock.rest()
                    self._channel.send(part.seal())
                    part, sent_at = Part(), time.monotonic()
            self._clock.rest()
            part.is_last = True
            self._channel.send(part.seal())

    def _ask(self, item: int, asked: Asked, failures: Mapping[Place, Score], part: Part) -> None:
        question, completion, record = asked
        failure = failures.get((item, 0)) or failures.get((item, WHOLE))
        self._clock.begin(item, 0, question.answer_type)
        verdict = self._judge(question, completion, record) if failure is None else Verdict(failure, "none")
        part.verdicts.append(Timed(verdict, self._clock.elapsed_ms()))


def make_judge(duty: Duty) -> Judge:
    """Return the judge of a duty, with its plug-ins loaded.

    Raises:
        UsageError: a plug-in cannot be loaded.
    """
    is_built_in = duty.reward in REWARDS

    def resolve(target: str) -> Plugin:
        from ovrl.plugins import resolve  # most workers need none

        return resolve(target, {}, "reward")

    return Judge(
        mode=duty.mode,
        reward=resolve(duty.reward) if duty.reward and not is_built_in else None,
        components={name: resolve(target) for name, target in duty.components.items()},
        weights=duty.weights,
        gate=duty.gate,
        answer_type=duty.reward if is_built_in else None,
    )


def main(parent: int, channel_fd: int, progress_fd: int) -> None:
    """Serve the process that started this one, whose number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    seal.die_with_parent(parent)  # one that is killed must not leave a spinning worker
    os.dup2(2, 1)  # nothing that a library prints may end among the records
    clock = Clock(mmap.mmap(progress_fd, PROGRESS.size))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent needs no more
        channel = Channel(socket.socket(fileno=channel_fd))
        duty: Duty = channel.recv()
        worker = _Worker(channel, clock, duty)
        if not duty.has_plugins:  # a user's own code may need files and the network
            confine_worker(duty.memory_mb << 20)
        worker.serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
