"""Completions on the disk, from the moment at which their group is scored to the file of the step that decides on it.

    RUN/spool/000012.jsonl                groups that were scored, each line one completion, without its fate
    RUN/trajectories/step-000012.jsonl    every completion of the groups that step 12 trained, and of those that were
                                          rejected since step 11, each with its fate; whole or absent
    RUN/trajectories/open.jsonl           only where a run has stopped: what was scored and waits for its step

A line is encoded once; its fate is appended to it. Of the same completion, the last line in the spool counts: what
comes before was written by a run that was killed before its journal had the group.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ovrl import store
from ovrl.train.journal import write_through
from ovrl.train.trajectory import Group, encode

Lines = tuple[bytes, ...]
"""The completions of a group, each a JSON object without its closing brace and its fate."""


class Spool:
    """The scored groups of a run."""

    def __init__(self, run: Path) -> None:
        """Open the spool; it goes on in a segment of its own."""
        self._folder, self._final = run / "spool", run / "trajectories"
        for folder in (self._folder, self._final):
            folder.mkdir(exist_ok=True)
        self._segments: dict[int, set[int]] = {}
        """Number of a segment -> its groups without a final place."""
        self._stored = dict[int, Lines]()
        for path in sorted(self._folder.glob("*.jsonl")):
            found = _read(path)
            self._stored.update(found)
            self._segments[int(path.stem)] = set(found)
        self._waiting: list[bytes] = []
        self._file: BinaryIO | None = None
        self._number = max(self._segments, default=-1)
        (self._final / "open.jsonl").unlink(missing_ok=True)

    def stored(self, gid: int) -> Lines:
        """Return the lines of a group that an earlier run spooled; none for one that was never sampled."""
        return self._stored.get(gid, ())

    def put(self, group: Group) -> Lines:
        """Add a group; it is on the disk after the next `sync`. Returns its lines, for `seal`."""
        lines = tuple(orjson.dumps(line)[:-1] for line in encode(group))
        self._waiting.extend(line + b"}\n" for line in lines)
        if self._file is None:
            self._number += 1
            self._segments[self._number] = set()
            self._file = (self._folder / f"{self._number:06d}.jsonl").open("wb", buffering=0)
        self._segments[self._number].add(group.gid)
        return lines

    def sync(self) -> None:
        """Wait until the disk has every group."""
        if self._waiting and self._file is not None:
            write_through(self._file.fileno(), b"".join(self._waiting))
            self._waiting.clear()

    def seal(self, step: int, groups: Mapping[int, tuple[Lines, str | None]]) -> None:
        """Write the file of a step, and forget what is in it.

        Args:
            step: the step.
            groups: those that it trains, and those rejected since the step before, each with the reason or None.
        """
        fates = {gid: (lines, _fate(None if reason else step, reason)) for gid, (lines, reason) in groups.items()}
        store.write_atomic(self.file(step), _joined(fates))
        self._forget(fates)

    def _forget(self, gids: Iterable[int]) -> None:
        """Remove the segments in which nothing waits any more, and go on in a new one."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None
        for segment in self._segments.values():
            segment.difference_update(gids)
        for number in [number for number, segment in self._segments.items() if not segment]:
            (self._folder / f"{number:06d}.jsonl").unlink()
            del self._segments[number]
        for gid in gids:
            self._stored.pop(gid, None)

    def file(self, step: int) -> Path:
        """Return where the completions of a step are."""
        return self._final / f"step-{step:06d}.jsonl"

    def sealed(self, step: int) -> dict[int, Lines]:
        """Return the groups in the file of a step, as `stored` does."""
        return _read(self.file(step))

    def close(self, groups: Mapping[int, tuple[Lines, str | None]]) -> None:
        """End; groups without a step are written where a reader of a stopped run finds them."""
        if self._file is not None:
            self.sync()
            self._file.close()
            self._file = None
        if groups:
            fates = {gid: (lines, _fate(None, reason)) for gid, (lines, reason) in groups.items()}
            store.write_atomic(self._final / "open.jsonl", _joined(fates))
        else:  # nothing waits: what is left was written by runs that were killed before their journal had it
            shutil.rmtree(self._folder)


def decoded(lines: Lines) -> list[dict[str, Any]]:
    """Return the completions of a group as records."""
    return [orjson.loads(line + b"}") for line in lines]


def _fate(step: int | None, rejected: str | None) -> bytes:
    return b"," + orjson.dumps({"step": step, "rejected": rejected})[1:] + b"\n"


def _joined(fates: Mapping[int, tuple[Lines, bytes]]) -> bytes:
    return b"".join(line + fate for gid in sorted(fates) for lines, fate in (fates[gid],) for line in lines)


def _read(path: Path) -> dict[int, Lines]:
    """Return the groups in a file, up to the first torn line."""
    found: dict[int, dict[int, bytes]] = {}
    with path.open("rb") as file:
        for line in file:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                break
            found.setdefault(record["group_id"], {})[record["k"]] = line.rstrip(b"\n").removesuffix(b"}")
    return {gid: tuple(lines[k] for k in sorted(lines)) for gid, lines in found.items()}
