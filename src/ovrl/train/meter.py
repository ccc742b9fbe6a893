"""How busy engine and trainer are, and what overlap can bring at best.

Of a step, with G the time that the engine needs for the step's tokens when all its slots are busy:

    R      training time / G
    omega  time in which new weights are handed over / G
    sigma  time of the batch when it is sampled alone / G: at the end of it, slots run empty
    bound  (sigma + R + omega) / (max(1, R) + omega), and at most eta + 1: how many times faster than sampling and
           training in turns the run can be (Little's law for the work under way)
"""

import heapq
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

_KEPT = 0.8
"""What a step leaves of the earlier ones in the measured rate of the engine."""


_BATCHES = 6
"""Batches from which the straggler factor is taken."""


@dataclass(slots=True)
class _Started:
    """A group in the engine."""

    at: float
    full: float
    """Time until then in which the engine had no room."""
    left: int


@dataclass(slots=True)
class Meter:
    """Watches the engine from outside: it has room exactly from a pull that brought nothing to one that did."""

    now: Callable[[], float]
    """The clock, in seconds."""
    slots: int | None = None
    """Completions that the engine decodes together; None: as many as were ever under way."""
    _groups: dict[int, _Started] = field(default_factory=dict[int, _Started])
    _under_way: int = 0
    _most: int = 1
    _full: float = 0.0
    """Seconds so far in which the engine had no room."""
    _is_full: bool = False
    _since: float = 0.0
    """When that began, or when it was last added up."""
    _tokens: float = 0.0
    """Tokens that were sampled while the engine had no room, and in what time; the past counts less and less."""
    _time: float = 0.0
    _mark: float = 0.0
    """`_full` when `step` was last called."""
    _mark_at: float = 0.0
    _batches: deque[Mapping[int, Sequence[int]]] = field(default_factory=lambda: deque(maxlen=_BATCHES))

    def _advance(self) -> None:
        now = self.now()
        if self._is_full:
            self._full += now - self._since
        self._since = now

    def started(self, gid: int, completions: int) -> None:
        """Note that the engine pulled a group."""
        self._advance()
        self._is_full = True
        self._groups[gid] = _Started(self._since, self._full, completions)
        self._under_way += completions
        self._most = max(self._most, self._under_way)

    def hungry(self) -> None:
        """Note that the engine has room and there is nothing to start."""
        self._advance()
        self._is_full = False

    def sampled(self, gid: int, tokens: int) -> None:
        """Note that a completion came out of the engine."""
        self._advance()
        group = self._groups[gid]
        if (lasted := self._since - group.at) > 0:
            self._tokens += tokens * (self._full - group.full) / lasted
        self._under_way -= 1
        group.left -= 1
        if not group.left:
            del self._groups[gid]

    def dropped(self, gid: int) -> None:
        """Note that a group will not be sampled."""
        self._under_way -= self._groups.pop(gid).left

    def step(self, batch: Mapping[int, Sequence[int]], *, train: float, publish: float, eta: int) -> "Overlap":
        """Return what can be said of a step that has just ended.

        Args:
            batch: tokens of each completion, by group.
            train: seconds of training.
            publish: seconds of handing over the weights.
            eta: the bound of the age.
        """
        self._advance()
        full, lasted = self._full - self._mark, self._since - self._mark_at
        self._time += full
        rate = self._tokens / self._time if self._time > 0 else 0.0
        work = sum(map(sum, batch.values())) / rate if rate > 0 else None
        found = Overlap(lasted, lasted - full, work, self._sigma(batch), train, publish, eta)
        self._mark, self._mark_at = self._full, self._since
        self._tokens *= _KEPT
        self._time *= _KEPT
        return found

    def _sigma(self, batch: Mapping[int, Sequence[int]]) -> float:
        """Return the straggler factor of batches in planned order; those that were trained come short ones first."""
        self._batches.append(batch)
        lengths = dict(sorted(item for past in self._batches for item in past.items()))
        slots = min(self.slots or self._most, self._most)
        factors: list[float] = []
        gids = list(lengths)
        for first in range(0, len(gids) - len(batch) + 1, max(1, len(batch))):
            tokens = [length for gid in gids[first : first + len(batch)] for length in lengths[gid]]
            if sum(tokens):
                factors.append(makespan(tokens, slots) * slots / sum(tokens))
        return statistics.fmean(factors) if factors else 1.0

    def begin(self) -> None:
        """Start the first step now."""
        self._advance()
        self._mark, self._mark_at = self._full, self._since


@dataclass(frozen=True, slots=True)
class Overlap:
    """How well a step's generation and training overlapped."""

    lasted: float
    engine_idle: float
    """Seconds in which the engine had room and nothing to start."""
    work: float | None
    """G; None before anything was measured."""
    sigma: float
    train: float
    publish: float
    eta: int

    @property
    def train_ratio(self) -> float | None:
        """R."""
        return self.train / self.work if self.work else None

    @property
    def publish_ratio(self) -> float | None:
        """Omega."""
        return self.publish / self.work if self.work else None

    @property
    def _in_turns(self) -> float | None:
        """Seconds that the step would take if nothing overlapped."""
        return self.sigma * self.work + self.train + self.publish if self.work else None

    @property
    def _ideal(self) -> float | None:
        """Seconds that the step would take if everything overlapped."""
        return max(self.work, self.train) + self.publish if self.work else None

    @property
    def bound(self) -> float | None:
        """The largest speed-up over sampling and training in turns."""
        if self._in_turns is None or not self._ideal:
            return None
        return min(self._in_turns / self._ideal, self.eta + 1.0)

    @property
    def speedup(self) -> float | None:
        """The speed-up that this step had."""
        return self._in_turns / self.lasted if self._in_turns and self.lasted else None

    @property
    def efficiency(self) -> float | None:
        """What the step would have taken if everything overlapped, divided by what it took."""
        return self._ideal / self.lasted if self._ideal and self.lasted else None


def makespan(lengths: Sequence[int], slots: int) -> float:
    """Return the decoding steps that it takes to sample completions of these lengths, `slots` at a time, in order."""
    if not lengths:
        return 0.0
    busy = [0] * min(slots, len(lengths))
    for length in lengths:
        heapq.heapreplace(busy, busy[0] + length)
    return float(max(busy))
