"""The ledger: a pure state machine that owns all counts. No clock, no files, no threads; all others ask it.

    planned -> running -> finished -> taken
                  |           |
                  +-----------+---> rejected (reason)

Groups are integers, so that "exactly once" is algebra on sets. With B groups a step, ceiling eta and
policy version v, a group may start while (admitted - rejected + surrendered) < (eta + v + 1) * B, and a token of
version u may be trained at version s only if 0 <= s - u <= eta. Here eta is 0: every batch is on-policy.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Ledger:
    """Counts and states of all groups of a run."""

    groups_per_step: int
    eta: int = 0
    version: int = 0
    """Policy version in force; equals the number of steps trained."""
    admitted: int = 0
    """Groups started so far; also the next group's number."""
    rejected: int = 0
    surrendered: int = 0
    """Places of past batches that stayed empty."""
    running: set[int] = field(default_factory=set[int])
    finished: dict[int, int] = field(default_factory=dict[int, int])
    """Finished and waiting: group -> oldest version of its tokens."""
    taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])

    def room(self) -> int:
        """Return how many groups may start now."""
        occupied = self.admitted - self.rejected + self.surrendered
        return max(0, (self.eta + self.version + 1) * self.groups_per_step - occupied)

    def admit(self) -> int:
        """Start a group and return its number."""
        assert self.room() > 0, "admission beyond the lead"
        gid = self.admitted
        self.admitted += 1
        self.running.add(gid)
        return gid

    def finish(self, gid: int, version_oldest: int) -> None:
        """Note that all completions of a running group are there and scored."""
        self.running.remove(gid)
        self.finished[gid] = version_oldest

    def reject(self, gid: int, reason: str) -> None:
        """Give the place of a running or finished group back."""
        if gid in self.running:
            self.running.remove(gid)
        else:
            del self.finished[gid]
        self.rejected += 1
        self.reasons[reason] += 1

    def surrender(self) -> None:
        """Leave the open places of this step empty: the prompts that can teach something have run out."""
        self.surrendered += self.room()

    def take(self) -> list[int]:
        """Return the groups of the next batch, oldest first, at most B; each token at most eta versions old."""
        chosen = sorted(self.finished)[: self.groups_per_step]
        for gid in chosen:
            age = self.version - self.finished.pop(gid)
            assert 0 <= age <= self.eta, f"group {gid} is {age} versions old; at most {self.eta} are allowed"
        self.taken += len(chosen)
        return chosen

    def published(self) -> None:
        """Note that the weights of the step just trained are in force."""
        self.version += 1

    def counts(self) -> dict[str, Any]:
        """Return what a checkpoint between two steps has to keep; nothing is running or waiting then."""
        under_way = len(self.running) + len(self.finished)
        assert under_way == 0, "a step is under way"
        return {
            "version": self.version,
            "admitted": self.admitted,
            "rejected": self.rejected,
            "surrendered": self.surrendered,
            "taken": self.taken,
            "reasons": dict(self.reasons),
        }

    @staticmethod
    def restored(groups_per_step: int, counts: Mapping[str, Any]) -> "Ledger":
        """Return the ledger that gave `counts`."""
        ledger = Ledger(groups_per_step)
        for name, value in counts.items():
            setattr(ledger, name, Counter[str](value) if name == "reasons" else value)
        return ledger
