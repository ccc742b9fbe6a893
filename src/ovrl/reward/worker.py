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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ovrl.records import Score
from ovrl.reward import seal
from ovrl.reward.batch import WHOLE, Asked, Batch, Duty, Part, Place, Timed
from ovrl.reward.channel import Channel
from ovrl.reward.clock import PROGRESS, Clock
from ovrl.reward.confine import confine_worker
from ovrl.reward.judge import Judge, Plugin, Verdict, judge, load_rule
from ovrl.reward.line_scorer import FLUSH_AFTER, LineScorer
from ovrl.reward.rule_process import RuleProcess


class _Worker:
    def __init__(self, channel: Channel, progress: mmap.mmap, duty: Duty) -> None:
        self._channel = channel
        rules, prepare = judge, load_rule
        if duty.has_plugins and duty.is_by_rule:
            confined = RuleProcess(duty.memory_mb << 20, channel.fileno())
            rules, prepare = confined.judge, confined.prepare
        self._clock = Clock(progress, prepare)
        self._judge = make_judge(duty, rules)
        compared = make_judge(replace(duty, mode=duty.compare), rules) if duty.compare else None
        self._scorer = LineScorer(
            self._judge, self._clock, null_as=duty.null_as, is_explained=duty.explain, compared=compared
        )

    def serve(self) -> None:
        """Answer batches until the other end closes."""
        while True:
            batch: Batch = self._channel.recv()
            for part in self._scorer.score(batch) if batch.lines is not None else self._answers(batch):
                self._clock.rest()
                self._channel.send(part)

    def _answers(self, batch: Batch) -> Iterator[Part]:
        part, sent_at = Part(), time.monotonic()
        for item, asked in enumerate(batch.asked):
            self._ask(item, asked, batch.failures, part)
            part.done += 1
            if self._clock.begun - sent_at > FLUSH_AFTER:
                yield part
                part, sent_at = Part(), time.monotonic()
        part.is_last = True
        yield part

    def _ask(self, item: int, asked: Asked, failures: Mapping[Place, Score], part: Part) -> None:
        question, completion, record = asked
        failure = failures.get((item, 0)) or failures.get((item, WHOLE))
        self._clock.begin(item, 0, self._judge.rule_type(question))
        verdict = self._judge(question, completion, record) if failure is None else Verdict(failure, "none")
        part.verdicts.append(Timed(verdict, self._clock.elapsed_ms()))


def make_judge(duty: Duty, rules: Callable[..., Verdict] = judge) -> Judge:
    """Return the judge of a duty, with its plug-ins loaded.

    Args:
        duty: what to judge by.
        rules: what judges by rule.

    Raises:
        UsageError: a plug-in cannot be loaded.
    """

    def resolve(target: str) -> Plugin:
        from ovrl.plugins import resolve  # most workers need none

        return resolve(target, {}, "reward")

    return Judge(
        mode=duty.mode,
        reward=None if duty.is_by_rule or not duty.reward else resolve(duty.reward),
        components={name: resolve(target) for name, target in duty.components.items()},
        weights=duty.weights,
        gate=duty.gate,
        answer_type=duty.reward if duty.is_by_rule else None,
        limit_s=duty.timeout,
        rules=rules,
    )


def main(parent: int, channel_fd: int, progress_fd: int) -> None:
    """Serve the process that started this one, whose number is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    seal.die_with_parent(parent)  # one that is killed must not leave a spinning worker
    os.dup2(2, 1)  # nothing that a library prints may end among the records
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent needs no more
        channel = Channel(socket.socket(fileno=channel_fd))
        duty: Duty = channel.recv()
        worker = _Worker(channel, mmap.mmap(progress_fd, PROGRESS.size), duty)
        if not duty.has_plugins:  # a user's own code may need files and the network; see `rule_process`
            confine_worker(duty.memory_mb << 20)
        worker.serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
