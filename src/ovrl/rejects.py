"""Bad records: counted, written down with line, id and reason, and never the end of a batch."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.errors import BadRecordsError, RecordError, UsageError

log = logging.getLogger(__name__)

_SHOWN = 5  # warnings on the terminal; all of them are in the file


class Rejects:
    """Where bad records go. Without a file, each is a warning on stderr."""

    def __init__(self, path: Path | None, *, keep: bool = False) -> None:
        """Start a list, or go on with the one that is there.

        Args:
            path: the file, or None.
            keep: go on: for commands that do not meet all bad records again when they are resumed.

        Raises:
            UsageError: the file cannot be written, or holds something else than rejects.
        """
        self._path = path
        self._seen: set[tuple[str, str | None, str]] = set()
        self._kept: set[tuple[str, str | None, str]] = set()
        self.places: dict[str, tuple[str, int | None]] = {}
        """Id of a record that was read -> (file:line, line), for what turns out to be bad later on."""
        self.reasons: Counter[str] = Counter()
        """Field at fault -> how many."""
        self.lost_files = 0
        """Files that are lost from some place on, so that nobody can tell how many records that costs."""
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                for entry in _read(path):
                    if keep:
                        self._kept.add((entry["where"] or "", entry["id"], entry["field"] or ""))
                        self.reasons[entry["field"] or "line"] += 1
                self._seen |= self._kept
                if not keep:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise UsageError(f"cannot write rejects to {path}: {error.strerror}") from error

    @property
    def count(self) -> int:
        """How many records were bad."""
        return self.reasons.total()

    def counts(self) -> dict[str, int]:
        """Return what a manifest and a summary say of them."""
        return {"rejected": self.count} | ({"lost_files": self.lost_files} if self.lost_files else {})

    def add(self, error: RecordError, *, line: int | None = None, record_id: str | None = None) -> None:
        """Write one bad record down; one that was met before, in another pass over the input, is not new."""
        if line is None and record_id in self.places:
            where, line = self.places[record_id]
            error = error.at(error.where or where)
        key = (error.where, record_id, error.field)
        if key in self._seen:
            if key in self._kept:  # the file of rejects tells that it was bad, and not what it costs
                self._kept.remove(key)
                self._count(error, known=1)
            return
        self._seen.add(key)
        self._count(error)
        entry: dict[str, Any] = {
            "line": line,
            "id": record_id,
            "field": error.field or None,
            "reason": error.reason,
            "where": error.where or None,
        }
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(store.dumps(entry) + "\n")
        if self._path is None or self.count <= _SHOWN:
            log.warning("rejected %s%s", error, f" (id {record_id})" if record_id else "")
        elif self.count == _SHOWN + 1:
            log.warning("more rejects follow; all are in %s", self._path)

    def _count(self, error: RecordError, *, known: int = 0) -> None:
        self.reasons[error.field or "line"] += (error.records or 1) - known
        self.lost_files += error.records is None


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a rejects file; one that is absent has none.

    Raises:
        UsageError: the file holds something else.
    """
    if not path.exists():
        return []
    try:
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        if all(set(entry) == {"line", "id", "field", "reason", "where"} for entry in entries):
            return entries
    except (ValueError, TypeError):
        pass
    raise UsageError(f"{path} exists and is no list of rejects; give --rejects another name")


def check_allowance(bad: int, total: int, allowance: str, where: str, *, lost_files: int = 0) -> None:
    """Raise when more records were bad than the user allows.

    Args:
        bad: rejected records and records that could not be judged.
        total: all records read.
        allowance: a count ("3") or a share ("1%").
        where: what to look at.
        lost_files: files of which nobody can tell how many records are lost; no share allows one.

    Raises:
        BadRecordsError: the output is complete, and `bad` exceeds the allowance.
        UsageError: `allowance` is neither a count nor a share.
    """
    share = allowance.endswith("%")
    try:
        limit = float(allowance.removesuffix("%"))
    except ValueError as error:
        raise UsageError(f"--fail-on {allowance!r}: give a count such as 3, or a share such as 1%") from error
    if not limit >= 0:
        raise UsageError(f"--fail-on {allowance!r}: a count or a share is not negative")
    if share and lost_files:
        raise BadRecordsError(
            f"finished, but {lost_files} files are lost with an unknown number of records, which may be more than "
            f"--fail-on {allowance}; see {where}; to accept the loss, give a count instead of a share"
        )
    if bad > (limit / 100 * total if share else limit):
        raise BadRecordsError(f"finished, but {bad} of {total} records were bad (--fail-on {allowance}); see {where}")


def check_counts(counts: Mapping[str, Any], allowance: str, where: str) -> None:
    """Do what `check_allowance` does for the counts of a run: of its samples, and those of `Rejects.counts`."""
    bad = counts.get("rejected", 0)
    lost_files = counts.get("lost_files", 0)
    check_allowance(bad, counts.get("samples", 0) + bad, allowance, where, lost_files=lost_files)
