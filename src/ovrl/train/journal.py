"""The journal of a run: one line for each event, checksummed, durable before what it announces happens.

    {"event": "take", "step": 12, "gids": [...], "crc": ...}        before the first gradient of step 12
    {"event": "trained", "step": 12}                                after its optimizer update
    {"event": "checkpoint", "step": 13}                             weights of version 13 are on disk
    {"event": "resume", "step": 10}                                 a run goes on from version 10

What follows the last checkpoint is repeated on resume; its batches must be the same again.
"""

import json
import os
import zlib
from pathlib import Path
from typing import Any


class Journal:
    """Append-only. A torn last line, as a kill leaves it, is cut."""

    def __init__(self, path: Path) -> None:
        """Open the journal and read the events that are there."""
        self._path = path
        self.events: list[dict[str, Any]] = []
        """What earlier runs wrote, oldest first."""
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    event = _decode(line)
                    if event is None:
                        break
                    self.events.append(event)
                    whole += len(line)
            os.truncate(path, whole)
        self._file = path.open("ab")

    def append(self, event: str, **values: Any) -> None:
        """Write one event and wait until the disk has it."""
        body = {"event": event, **values}
        body["crc"] = _crc(body)
        self._file.write((json.dumps(body) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def taken(self, step: int) -> list[int] | None:
        """Return the groups that an earlier run took for a step, or None."""
        found: list[int] | None = None
        for event in self.events:
            if event["event"] == "take" and event["step"] == step:
                found = event["gids"]
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _decode(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    crc = event.pop("crc", None)
    return event if crc == _crc(event) else None


def _crc(body: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())
