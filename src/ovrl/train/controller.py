"""The controller: admits groups when the engine has room, has their completions scored, and decides on each group.

    engine pulls --> plan --> completions --> scores --> group complete --> done, or rejected with a reason

All of it runs on one thread, that of the event loop; each change is one event, which the ledger counts and the
journal keeps. Every group goes to the disk before its event, so that what is done is never sampled again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from ovrl.errors import OvrlError, RecordError
from ovrl.records import Question, Sample
from ovrl.rejects import Rejects
from ovrl.rollout.engine import Generation
from ovrl.train.books import Books
from ovrl.train.meter import Meter
from ovrl.train.trajectory import Group, Trajectory

_WINDOW = 0.05
"""Seconds that events wait for each other before they go to the disk together."""


class Scorer(Protocol):
    """Judges completions; `ScorePool` is one."""

    def submit(self, question: Question, completion: str) -> Future[Any]:
        """Return a future of the verdict, a `Timed`, at once."""
        ...


@dataclass(slots=True)
class _Open:
    """A group whose completions are being sampled and scored."""

    row: int
    trajectories: dict[int, Trajectory] = field(default_factory=dict[int, Trajectory])


def group_of(request_id: str) -> int:
    """Return the group of a request, which is named `group` or `group/part`."""
    return int(request_id.partition("/")[0])


class Controller:
    """The state of everything that is under way."""

    def __init__(
        self,
        books: Books,
        samples: Sequence[Sample],
        scorer: Scorer,
        reject: Callable[[Group], str | None],
        *,
        group_size: int,
        rejects: Rejects,
        meter: Meter,
    ) -> None:
        """Take the parts together; what was running when the last run ended is to be sampled again.

        Args:
            books: counts, journal and spool.
            samples: the prompts.
            scorer: judges completions.
            reject: says why a group must not train, or None.
            group_size: completions of a group.
            rejects: takes samples whose prompt cannot be asked.
            meter: told what is sampled when.
        """
        self._books = books
        self._samples = samples
        self._scorer = scorer
        self._reject = reject
        self._group_size = group_size
        self._rejects = rejects
        self._meter = meter
        self._again = deque(sorted(books.ledger.running))
        self._open: dict[int, _Open] = {}
        self._loop = asyncio.get_running_loop()
        self._commit: asyncio.TimerHandle | None = None
        self.changed = asyncio.Event()
        """Set when something happened that the trainer may wait for."""
        self.failure: BaseException | None = None
        """Why the run cannot go on."""
        self.on_room: Callable[[], None] = lambda: None
        """Called when there may be something to start again; from the event loop's thread."""
        self.may_start = False
        """Whether a pull would bring a group; may be read from any thread, and be a moment late."""
        self.refresh()

    def pull(self) -> tuple[int, int] | None:
        """Return the number and the row of a group to start now, or None."""
        if self._again:
            gid = self._again.popleft()
            row = self._books.rows[gid]
        elif self._books.ledger.room() > 0:
            gid, row = self._books.plan()
        else:
            self.wait()
            return None
        self._open[gid] = _Open(row)
        self._meter.started(gid, self._group_size)
        self._changed()
        return gid, row

    def wait(self) -> None:
        """Note that the engine has room and waits for something to start."""
        self._meter.hungry()

    def sampled(self, generation: Generation) -> None:
        """Take a completion, and have it scored."""
        gid = group_of(generation.request_id)
        if gid not in self._open:  # another part of it was refused
            return
        self._meter.sampled(gid, len(generation.token_ids))
        question = self._samples[self._open[gid].row].question
        future = self._scorer.submit(question, generation.text)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._scored, generation, done))

    def _scored(self, generation: Generation, done: Future[Any]) -> None:
        gid = group_of(generation.request_id)
        if (entry := self._open.get(gid)) is None:
            return
        entry.trajectories[generation.k] = Trajectory(
            k=generation.k,
            text=generation.text,
            token_ids=generation.token_ids,
            logprobs=generation.logprobs,
            versions=generation.versions,
            finish_reason=generation.finish_reason,
            score=done.result().verdict.score,
        )
        if len(entry.trajectories) == self._group_size:
            del self._open[gid]
            members = (entry.trajectories[k] for k in sorted(entry.trajectories))
            self._complete(Group(gid=gid, sample=self._samples[entry.row], trajectories=tuple(members)))

    def _complete(self, group: Group) -> None:
        """Decide on a group: it may train, or it is rejected."""
        started = self._books.ledger.running[group.gid]
        if group.version_oldest < started:
            raise OvrlError(
                f"the engine says that group {group.gid} was begun by policy version {group.version_oldest}; "
                f"version {started} was in force: is another process loading weights into it?"
            )
        self._books.complete(group, self._reject(group))
        self._changed()

    def refuse(self, gid: int, error: RecordError) -> None:
        """Note that a group cannot be sampled: its prompt cannot be built, or the engine refuses it."""
        if (entry := self._open.pop(gid, None)) is None:  # another part of it was refused
            return
        self._meter.dropped(gid)
        self._rejects.add(error, record_id=self._samples[entry.row].id)
        self._books.reject(gid, "bad_prompt")
        self._changed()

    def fail(self, error: BaseException) -> None:
        """Note why the run cannot go on; the first reason counts."""
        self.failure = self.failure or error
        self.changed.set()

    def on_error(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Take what escaped a callback: it must end the run, and not only a callback."""
        del loop
        self.fail(context.get("exception") or OvrlError(str(context["message"])))

    def _changed(self) -> None:
        self.refresh()
        self.changed.set()
        if self._commit is None:
            self._commit = self._loop.call_later(_WINDOW, self._commit_now)

    def refresh(self) -> None:
        """See whether something may be started; called after each change of the ledger."""
        self.may_start = bool(self._again) or self._books.ledger.room() > 0
        if self.may_start:
            self.on_room()

    def _commit_now(self) -> None:
        self._commit = None
        self._books.sync()

    def close(self) -> None:
        """Let no commit follow."""
        if self._commit is not None:
            self._commit.cancel()
