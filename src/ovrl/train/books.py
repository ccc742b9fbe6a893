"""The books of a run: ledger, journal, spool and sampler, which change together, by events.

The journal is the truth: the ledger is its fold, the files of the steps are made from it
and the spool, and what has been taken since the last checkpoint is to be trained again with the same groups.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl.errors import OvrlError
from ovrl.records import Sample
from ovrl.train import trajectory
from ovrl.train.journal import Journal
from ovrl.train.ledger import Ledger
from ovrl.train.sampler import Sampler
from ovrl.train.spool import Lines, Spool, decoded
from ovrl.train.trajectory import Group


@dataclass(frozen=True, slots=True)
class Step:
    """The groups that a step decides on."""

    number: int
    taken: list[Group]
    rejected: list[Group]
    reasons: Counter[str]


@dataclass(slots=True)
class _Decided:
    """What the journal says of a step."""

    taken: list[int]
    rejected: dict[int, str]


class Books:
    """Everything that must agree."""

    def __init__(self, run: Path, ledger: Ledger, sampler: Sampler, samples: Sequence[Sample]) -> None:
        """Open the files; `resume` is to follow.

        Args:
            run: the run directory.
            ledger: one in which nothing has happened.
            sampler: one in which nothing has happened.
            samples: the prompts.
        """
        self.ledger = ledger
        self.rows: dict[int, int] = {}
        """Group -> row."""
        self._run = run
        self._sampler = sampler
        self._samples = samples
        self._journal = Journal(run / "journal.jsonl")
        self._spool = Spool(run)
        self._groups: dict[int, tuple[Group, Lines]] = {}
        """Groups that were scored and have no step yet, those rejected since the last one included."""
        self._rejected: dict[int, str] = {}
        """Groups rejected since the last step, with the reason."""
        self._observed: list[tuple[int, list[float | None], int]] = []
        """Group, rewards and oldest version of what the sampler is told at the next step."""
        self._decided: list[_Decided] = []
        """What earlier runs decided, by step."""

    def resume(self, progress: Mapping[str, Any] | None) -> None:
        """Bring everything to where the journal ends.

        Args:
            progress: what `progress` gave for the checkpoint from which the run goes on; None for the start.

        Raises:
            OvrlError: the journal does not go as far as the checkpoint.
        """
        events = self._journal.events
        told = 0
        if progress is not None:
            told = progress["events"]
            if told > len(events):
                raise OvrlError(f"{self._run}/journal.jsonl has lost what a checkpoint builds on; give --overwrite")
            self._sampler.load_state_dict(progress["sampler"])
        for number, event in enumerate(events):
            self._replay(event, is_new=number >= told)
        self._settle()
        if events:
            self._note("restart", step=self.ledger.version)
            self.sync()

    def _replay(self, event: Mapping[str, Any], *, is_new: bool) -> None:
        """Make the change of an event of an earlier run; one behind the checkpoint is new to the sampler."""
        self.ledger.apply(event)
        match event["event"]:
            case "plan":
                self.rows[event["gid"]] = event["row"]
                if is_new:
                    self._sampler.row(event["gid"])
            case "done" | "reject":
                if "rewards" in event:
                    self._observed.append((event["gid"], event["rewards"], event["oldest"]))
                if "reason" in event:
                    self._rejected[event["gid"]] = event["reason"]
            case "take":
                self._decided.append(_Decided(event["gids"], self._rejected))
                self._rejected = {}
                self._tell(is_new=is_new)
            case _:
                pass

    def _settle(self) -> None:
        """Write the files of steps that a kill left unwritten, and read back the groups that wait."""
        for step, decided in enumerate(self._decided):
            if not self._spool.file(step).exists():
                stored = {gid: self._spool.stored(gid) for gid in (*decided.taken, *decided.rejected)}
                self._spool.seal(step, {gid: (lines, decided.rejected.get(gid)) for gid, lines in stored.items()})
        for gid in (*self.ledger.finished, *self._rejected):
            if lines := self._spool.stored(gid):
                self._groups[gid] = (self._group(gid, lines), lines)

    def _group(self, gid: int, lines: Lines) -> Group:
        return trajectory.decode(decoded(lines), self._samples[self.rows[gid]])

    def replays(self, version: int) -> Iterator[Step]:
        """Yield the steps that were begun after a policy version was saved, to be trained again."""
        for step in range(version, len(self._decided)):
            decided, stored = self._decided[step], self._spool.sealed(step)
            groups = {gid: self._group(gid, lines) for gid, lines in stored.items()}
            yield Step(
                number=step,
                taken=[groups[gid] for gid in decided.taken],
                rejected=[groups[gid] for gid in decided.rejected if gid in groups],
                reasons=Counter(decided.rejected.values()),
            )

    def plan(self) -> tuple[int, int]:
        """Plan the next group; return its number and row."""
        gid = self.ledger.planned
        row = self._sampler.row(gid)
        self.rows[gid] = row
        self._note("plan", gid=gid, row=row)
        return gid, row

    def complete(self, group: Group, reason: str | None) -> None:
        """Note that a group is sampled and scored, and why it must not train, if so."""
        gid, rewards, oldest = group.gid, group.rewards, group.version_oldest
        self._groups[gid] = (group, self._spool.put(group))
        self._observed.append((gid, rewards, oldest))
        if reason is None:
            self._note("done", gid=gid, oldest=oldest, rewards=rewards)
        else:
            self._rejected[gid] = reason
            self._note("reject", gid=gid, reason=reason, oldest=oldest, rewards=rewards)

    def reject(self, gid: int, reason: str) -> None:
        """Note that a group cannot be sampled."""
        self._rejected[gid] = reason
        self._note("reject", gid=gid, reason=reason)

    def take(self, gids: Sequence[int]) -> Step:
        """Fix the batch of the present step; when this returns, it is on the disk."""
        number = self.ledger.version
        self._note("take", step=number, gids=list(gids))
        self.sync()
        self._tell(is_new=True)
        rejected, self._rejected = self._rejected, {}
        taken = [self._groups.pop(gid) for gid in gids]
        left = [self._groups.pop(gid) for gid in sorted(rejected) if gid in self._groups]
        self._spool.seal(number, {group.gid: (lines, rejected.get(group.gid)) for group, lines in (*taken, *left)})
        return Step(number, [group for group, _ in taken], [group for group, _ in left], Counter(rejected.values()))

    def _tell(self, *, is_new: bool) -> None:
        """Tell the sampler what was scored since the last step; in order, so that a run at eta = 0 repeats itself."""
        for gid, rewards, oldest in sorted(self._observed) if is_new else ():
            self._sampler.observe(self.rows[gid], rewards, oldest)
        self._observed = []

    def trained(self, step: int) -> None:
        """Note that the optimizer made its update."""
        self._note("trained", step=step)

    def publish(self, lead: int) -> None:
        """Note that the engines have the weights of the batch in training."""
        self._note("publish", version=self.ledger.version + 1, lead=lead)

    def checkpoint(self, version: int) -> None:
        """Note that the weights of a version are on the disk."""
        self._note("checkpoint", step=version)

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, so that `resume` can go on from it."""
        self.sync()
        return {"events": self._journal.count, "sampler": self._sampler.state_dict()}

    def _note(self, name: str, **values: Any) -> None:
        event = {"event": name, **values}
        self.ledger.apply(event)
        self._journal.append(event)

    def sync(self) -> None:
        """Wait until everything is on the disk: groups first, for their events say that they are there."""
        self._spool.sync()
        self._journal.sync()

    def close(self) -> None:
        """End; what was scored and has no step yet is written where a reader of a stopped run finds it."""
        self._spool.sync()
        self._journal.close()
        self._spool.close({gid: (lines, self._rejected.get(gid)) for gid, (_, lines) in self._groups.items()})
