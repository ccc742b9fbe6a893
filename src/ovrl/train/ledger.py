"""The ledger: a pure state machine that owns all counts. No clock, no files, no threads; all others ask it.

    planned --> running --> finished --> taken (trained at one step)
                   |           |
                   +-----------+-------> rejected (reason)

Groups are integers, so that "exactly once" is algebra on sets. With B groups a step, a lead of at most eta * B groups
and policy version v (steps trained so far):

* **admission**: a group may start while (planned - rejected) < (v + 1) * B + lead.
* **deadline**: a token of version u may be trained at step s only if 0 <= s - u <= eta. The deadline of a group is
  the version of its oldest token + eta. A batch may be taken if the groups that it leaves behind can still all keep
  theirs at B a step: for every k in 0..eta, at most k * B of them are due by step v + k (Hall's condition).

So no token is trained later than eta, nothing is thrown away for its age, and no group waits for ever: when everything
under way is finished, there is always a batch that may be taken. Every change is an event, and the events of a run
folded from the beginning give the ledger again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Ledger:
    """Counts and states of all groups of a run."""

    groups_per_step: int
    """B."""
    eta: int = 0
    """Most versions that a trained token may be behind."""
    steps: int | None = None
    """Length of the run: nothing is planned beyond its last batch. None: without end."""
    refills: int | None = None
    """Rejected groups of one step, in batches, that are replaced; more leave their places empty. None: all are."""
    lead: int = 0
    """Groups that may be under way beyond the batch of the present step; at most eta * B."""
    version: int = 0
    """Policy version in force; equals the number of steps trained and published."""
    planned: int = 0
    """Groups planned so far; also the next group's number."""
    rejected: int = 0
    taken: int = 0
    surrendered: int = 0
    """Places of past batches that stayed empty."""
    rejected_since: int = 0
    """Groups rejected since the last batch was taken."""
    in_training: tuple[int, ...] | None = None
    """The batch that was taken and whose weights are not in force yet."""
    running: dict[int, int] = field(default_factory=dict[int, int])
    """Group -> version in force when it was started; none of its tokens can be older."""
    finished: dict[int, int] = field(default_factory=dict[int, int])
    """Finished and waiting: group -> oldest version of its tokens."""
    reasons: Counter[str] = field(default_factory=Counter[str])

    @property
    def empty(self) -> int:
        """Places of the present batch that stay empty, because the prompts that can teach something run out."""
        if self.refills is None:
            return 0
        return min(self.groups_per_step, max(0, self.rejected_since - self.refills * self.groups_per_step))

    @property
    def occupied(self) -> int:
        """Places that are used: by groups that were trained, are under way or wait, and by those left empty."""
        return self.planned - self.rejected + self.surrendered + self.empty

    def room(self) -> int:
        """Return how many groups may start now."""
        limit = (self.version + 1) * self.groups_per_step + self.lead
        if self.steps is not None:
            limit = min(limit, self.steps * self.groups_per_step)
        return max(0, limit - self.occupied)

    def plan(self) -> int:
        """Start a new group and return its number."""
        assert self.room() > 0, "admission beyond the lead"
        gid = self.planned
        self.planned += 1
        self.running[gid] = self.version
        return gid

    def restart(self) -> None:
        """Start everything that runs once more, from its first token: whoever sampled it is gone."""
        self.running = dict.fromkeys(self.running, self.version)

    def finish(self, gid: int, oldest: int) -> None:
        """Note that all completions of a running group are there and scored.

        Args:
            gid: the group.
            oldest: the version of its oldest token.
        """
        started = self.running.pop(gid)
        assert oldest >= started, f"group {gid} has a token of version {oldest} and was started at {started}"
        self.finished[gid] = oldest

    def reject(self, gid: int, reason: str) -> None:
        """Give the place of a running or finished group back."""
        del (self.running if gid in self.running else self.finished)[gid]
        self.rejected += 1
        self.rejected_since += 1
        self.reasons[reason] += 1

    def pick(self) -> list[int] | None:
        """Return the groups that may be trained now, in their order, or None while more have to finish first.

        These are the B that are due first. The batch is smaller where places stay empty; it may have no group.
        """
        if self.in_training is not None or len(self.finished) < self.groups_per_step - self.empty:
            return None
        due = sorted(self.finished, key=lambda gid: (self.finished[gid], gid))
        chosen, left = due[: self.groups_per_step], due[self.groups_per_step :]
        return sorted(chosen) if self._can_wait(left) else None

    def _can_wait(self, left: Iterable[int]) -> bool:
        """Whether all that stays behind can still be trained in time, at B groups a step."""
        waiting = [0] * (self.eta + 1)
        for oldest in (*(self.finished[gid] for gid in left), *self.running.values()):
            slack = oldest + self.eta - self.version
            if slack <= self.eta:
                waiting[max(0, slack)] += 1
        total = 0
        for k, count in enumerate(waiting):
            total += count
            if total > k * self.groups_per_step:
                return False
        return True

    def take(self, gids: Sequence[int]) -> None:
        """Fix the batch of the present step."""
        assert self.in_training is None, "a batch is in training"
        for gid in gids:
            age = self.version - self.finished.pop(gid)
            assert 0 <= age <= self.eta, f"group {gid} is {age} versions old; at most {self.eta} are allowed"
        self.taken += len(gids)
        self.surrendered += self.groups_per_step - len(gids)
        self.rejected_since = 0
        self.in_training = tuple(gids)

    def publish(self, lead: int) -> None:
        """Note that the weights of the batch in training are in force, and how far the next steps may run ahead."""
        assert self.in_training is not None, "nothing was trained"
        self.in_training = None
        self.version += 1
        self.lead = min(max(0, lead), self.eta * self.groups_per_step)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Make the change that a journal's event tells of; events that change nothing here are passed over."""
        match event["event"]:
            case "plan":
                assert self.plan() == event["gid"], "groups are planned in order"
            case "done":
                self.finish(event["gid"], event["oldest"])
            case "reject":
                self.reject(event["gid"], event["reason"])
            case "take":
                self.take(event["gids"])
            case "publish":
                self.publish(event["lead"])
            case "restart":
                self.restart()
            case _:
                pass


def fold(ledger: Ledger, events: Iterable[Mapping[str, Any]]) -> Ledger:
    """Return the ledger after the events of a journal."""
    for event in events:
        ledger.apply(event)
    return ledger


_WAITED = 0.02
"""Share of a step for which the trainer may wait before more is begun ahead."""


def adapted(ledger: Ledger, *, waited: float, spare: int) -> int:
    """Return the lead for the next steps: as small as keeps the trainer busy, for age is its price.

    Args:
        ledger: the counts.
        waited: share of the step that the trainer waited for its batch.
        spare: groups that were finished beyond the batch when the trainer came for it.
    """
    batch = ledger.groups_per_step
    stride = max(1, batch // 4)
    if waited > _WAITED:
        return min(ledger.lead + stride, ledger.eta * batch)
    if 2 * spare >= batch:
        return max(ledger.lead - stride, min(stride, ledger.eta * batch))
    return ledger.lead


def violations(ledger: Ledger) -> list[str]:
    """Return which of the promises that can be read off the counts do not hold; empty for a sound ledger.

    I1 capacity, I2 work under way, I3 whole batches, I4 nothing overdue or of the future, I5 deadlines that can be
    kept, I7 each planned group in one state.
    """
    batch, eta, version = ledger.groups_per_step, ledger.eta, ledger.version
    training = ledger.in_training
    outstanding = len(ledger.running) + len(ledger.finished) + len(training or ())
    stamps = [*ledger.running.values(), *ledger.finished.values()]
    batches_left = 1 if training is None else 0  # that step `version` may still take
    found = {
        "I1": ledger.occupied - ledger.empty <= (eta + version + 1) * batch,
        "I2": outstanding <= (eta + 1) * batch,
        "I3": ledger.taken + ledger.surrendered == (version + (training is not None)) * batch,
        "I4": all(version - eta + (1 - batches_left) <= stamp <= version for stamp in stamps),
        "I5": all(
            sum(stamp + eta <= version + k for stamp in stamps) <= (k + batches_left) * batch for k in range(eta + 1)
        ),
        "I7": ledger.planned == len(ledger.running) + len(ledger.finished) + ledger.taken + ledger.rejected,
    }
    return [name for name, holds in found.items() if not holds]
