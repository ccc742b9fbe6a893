"""What goes between the parent and its workers: duties, batches and parts of answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ovrl.errors import RecordError
from ovrl.records import Question, Score
from ovrl.reward.judge import Verdict
from ovrl.reward.lines import load
from ovrl.reward.outcome import Mode
from ovrl.reward.table import REWARDS

Asked = tuple[Question, str, Mapping[str, Any]]
"""A question, a completion, and all fields of the record or sample, for plug-ins."""

Place = tuple[int, int]
"""An item of a batch, and a completion of the item."""

WHOLE = -1
"""Instead of a completion: the item itself, as a line too large to be read."""
COMPARED, EXPLAINED = 1 << 32, 1 << 33
"""Added to a completion: what is judged besides, to compare the modes or to find the nearest gold."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What workers do with everything they are given, how many there are, and what they may take."""

    mode: Mode = "strict"
    reward: str | None = None
    components: Mapping[str, str] = field(default_factory=dict[str, str])
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    gate: str | None = None
    timeout: float = 10.0
    """Seconds for one completion."""
    memory_mb: int = 512
    workers: int = 2
    null_as: float | None = None
    """What lines say instead of a null reward."""
    explain: bool = False
    compare: Mode | None = None
    """A mode whose reward is set beside."""

    @property
    def has_plugins(self) -> bool:
        """Whether code of the user runs in the worker."""
        return bool(self.components) or not self.is_by_rule

    @property
    def is_by_rule(self) -> bool:
        """Whether a built-in rule gives the accuracy, and not a plug-in."""
        return self.reward is None or self.reward in REWARDS


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a file as one text, which costs nothing to hand over."""

    text: bytes
    first: int
    """Number of the first line in the file, from 1."""
    numbers: tuple[int, ...] | None = None
    """Numbers of the lines, when they do not follow each other."""

    def split(self) -> list[bytes]:
        """Return each line without its line break, blank ones among them."""
        lines = self.text.split(b"\n")  # at nothing else: a carriage return is white space to JSON
        if not lines[-1]:
            lines.pop()
        return lines

    def number(self, item: int) -> int:
        """Return the number of a line in the file."""
        return self.numbers[item] if self.numbers else self.first + item

    def numbered(self) -> list[tuple[int, bytes]]:
        """Return each line with its number, blank ones among them; one without a line break was cut off in writing."""
        lines = [line + b"\n" for line in self.split()]
        if lines and not self.text.endswith(b"\n"):
            lines[-1] = lines[-1][:-1]
        return [(self.number(item), line) for item, line in enumerate(lines)]

    @staticmethod
    def of(numbered: list[tuple[int, bytes]]) -> "Lines":
        """Return these lines."""
        return Lines(b"".join(line for _, line in numbered), 0, tuple(number for number, _ in numbered))


@dataclass(frozen=True, slots=True)
class Batch:
    """Work for one worker: lines, or questions. These are its items."""

    lines: Lines | None = None
    asked: list[Asked] = field(default_factory=list[Asked])
    failures: Mapping[Place, Score] = field(default_factory=dict[Place, Score])
    """What to say of completions that took an earlier worker down."""

    def rest(self, done: int, place: Place, failure: Score) -> "Batch":
        """Return what is left after `done` items, with one completion that has failed."""
        failures = {**self.failures, place: failure}
        kept = {(item - done, k): score for (item, k), score in failures.items() if item >= done}
        lines = None if self.lines is None else Lines.of(self.lines.numbered()[done:])
        return Batch(lines, self.asked[done:], kept)


@dataclass(frozen=True, slots=True)
class Timed:
    """A verdict and what it cost."""

    verdict: Verdict
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that cannot be scored."""

    line: int
    record_id: str | None
    field: str
    reason: str

    @staticmethod
    def of(number: int, raw: bytes, error: RecordError) -> "Reject":
        """Return the rejection of a line, with its id if that can be read."""
        try:
            record, _ = load(raw)
        except RecordError:
            record = None
        given = record.get("id") if isinstance(record, dict) else None
        return Reject(number, given if isinstance(given, str) else None, error.field, error.reason)


@dataclass(slots=True)
class Part:
    """The answer to the next items of a batch."""

    done: int = 0
    """How many items."""
    verdicts: list[Timed] = field(default_factory=list[Timed])
    """Of questions."""
    lines: list[bytes] = field(default_factory=list[bytes])
    """Scored lines, whole or in pieces."""
    rejects: list[Reject] = field(default_factory=list[Reject])
    tally: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    """(answer type, status) -> [completions, sum of their rewards]."""
    differences: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Completions that the compared modes reward differently."""
    is_last: bool = False

    def count(self, key: tuple[str, str], reward: float, times: int = 1) -> None:
        """Count completions of one answer type and status that got the same reward."""
        known = self.tally.get(key)
        if known is None:
            known = self.tally[key] = [0, 0.0]
        known[0] += times
        known[1] += times * reward

    def seal(self) -> "Part":
        """Return the part, ready to be sent: its lines joined, which makes one object of thousands."""
        self.lines = [b"".join(self.lines)]
        return self
