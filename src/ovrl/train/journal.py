"""The journal of a run: one line for each event, checksummed, in the order in which things happened.

    {"event":"plan","gid":7,"row":3,"crc":...}          group 7 asks for row 3
    {"event":"done","gid":7,"oldest":2,"rewards":[...]} sampled, scored and written down; or
    {"event":"reject","gid":7,"reason":"zero_variance"}
    {"event":"take","step":2,"gids":[...]}              on the disk before the first gradient of step 2
    {"event":"trained","step":2}                        after its optimizer update
    {"event":"publish","version":3,"lead":16}           the engines sample with the new weights
    {"event":"checkpoint","step":3}                     weights of version 3 are on the disk
    {"event":"restart","step":3}                        a run goes on; what was running is sampled again

Events are collected, and reach the disk together: `sync` waits for all of them.
"""

import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

log = logging.getLogger(__name__)

_MARK = b',"crc":'


class Journal:
    """Append-only. A torn end, as a kill leaves it, is cut."""

    def __init__(self, path: Path) -> None:
        """Open the journal and read the events that are there."""
        self.events: list[dict[str, Any]] = []
        """What earlier runs wrote, oldest first."""
        self._waiting: list[bytes] = []
        whole = 0
        if path.exists():
            for event, size in _read(path):
                self.events.append(event)
                whole += size
            if torn := path.stat().st_size - whole:
                log.warning("%s: %d bytes behind the last whole record are cut", path, torn)
                os.truncate(path, whole)
        self.count = len(self.events)
        """Events so far, those of this run included."""
        self._file = path.open("ab", buffering=0)

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event, {"event": its name, ...}; it is on the disk after the next `sync`."""
        body = orjson.dumps(event)
        self._waiting.append(body[:-1] + _MARK + b"%d}\n" % zlib.crc32(body))
        self.count += 1

    def sync(self) -> None:
        """Wait until the disk has every event."""
        if self._waiting:
            write_through(self._file.fileno(), b"".join(self._waiting))
            self._waiting.clear()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.sync()
        self._file.close()


def write_through(descriptor: int, data: bytes) -> None:
    """Write all of the data, and wait until the disk has it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _read(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each event with the length of its line, up to the first that is not as it was written."""
    with path.open("rb") as file:
        for line in file:
            head, mark, tail = line.rpartition(_MARK)
            body = head + b"}"
            if not mark or tail != b"%d}\n" % zlib.crc32(body):
                return
            yield orjson.loads(body), len(line)
