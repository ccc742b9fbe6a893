"""Lines of files or of a pipe, as many as are there: a slow pipe is served line by line, a file by the megabyte."""

import collections
import contextlib
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO, Self

from ovrl.errors import RecordError
from ovrl.reward.batch import Lines
from ovrl.reward.line_files import open_lines, read_chunk
from ovrl.selection import Selection

_CHUNK = 1 << 20  # bytes


class LineSource:
    """The selected lines of an input. Blank ones are left out, but numbered."""

    def __init__(self, paths: list[str], selection: Selection) -> None:
        """Open the first file.

        Args:
            paths: files, one after the other; "-" is stdin.
            selection: which lines to take, over all files.

        Raises:
            UsageError: a file cannot be read.
        """
        self._paths = collections.deque(paths)
        (self._shard, self._shards), self._limit = selection.shard, selection.limit
        self._seen = self._selected = self._number = 0
        self._ready = Lines(b"", 1)
        self._count = 0  # of ready lines
        self._torn: list[bytes] = []
        self._file: BinaryIO | None = None
        self._is_pipe = self._is_fresh = False
        self.bad: list[tuple[int, RecordError]] = []
        """Rows that could not be read, with their numbers; `read` adds to them."""
        self.name = ""
        """How errors call the file that lines come from."""
        self._open()

    @property
    def is_done(self) -> bool:
        """Whether all lines were taken, as far as `read` knows."""
        return self._file is None and not self._paths and not self._count

    @property
    def is_slow(self) -> bool:
        """Whether the next lines come through a pipe, and are perhaps not there yet."""
        return self._is_pipe and self._file is not None and not self._count

    @property
    def is_readable(self) -> bool:
        """Whether a slow source has something, or has ended."""
        return bool(select.select([self.fileno()], [], [], 0)[0])

    def fileno(self) -> int:
        """Return the descriptor to wait for when the source is slow."""
        assert self._file is not None
        return self._file.fileno()

    def read(self) -> None:
        """Read on when no lines are left: from a pipe what is there, from files the next lines."""
        while not self._count and not self.is_done:
            if self._file is None:
                self._open()
                continue
            chunk = read_chunk(self._file, self.name, _CHUNK, is_first=self._is_fresh)
            self._is_fresh = self._is_fresh and not chunk
            end = chunk.rfind(b"\n") + 1 if chunk else 0
            if end or not chunk:
                self._keep(b"".join((*self._torn, chunk[:end])))
                self._torn.clear()
            self._torn.append(chunk[end:])
            if not chunk or self._selected == self._limit:
                self.close()
            if self._is_pipe:
                return

    @property
    def has_lines(self) -> bool:
        """Whether `take` has something to give."""
        return self._count > 0

    def take(self, count: int) -> Lines:
        """Return up to `count` lines that have been read, blank ones among them."""
        ready = self._ready
        if count >= self._count:
            self._ready, self._count = Lines(b"", self._number + 1), 0
            return ready
        # Where so many lines of middling length end; then back to what was asked for, line by line.
        end = ready.text.rfind(b"\n", 0, len(ready.text) * count // self._count) + 1 or ready.text.index(b"\n") + 1
        found = ready.text.count(b"\n", 0, end)
        while found > count:
            end = ready.text.rfind(b"\n", 0, end - 1) + 1
            found -= 1
        count = found
        taken, left = (ready.numbers[:count], ready.numbers[count:]) if ready.numbers else (None, None)
        self._ready, self._count = Lines(ready.text[end:], ready.first + count, left), self._count - count
        return Lines(ready.text[:end], ready.first, taken)

    def put_back(self, lines: Lines) -> None:
        """Undo a `take` of the lines before those that are ready."""
        both = [*lines.numbered(), *self._ready.numbered()]
        self._ready, self._count = Lines.of(both), len(both)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield all lines that are left and not blank."""
        while not self.is_done:
            self.read()
            yield from (numbered for numbered in self.take(self._count).numbered() if not numbered[1].isspace())

    def close(self) -> None:
        """Close the file; stdin stays open."""
        if self._file is not None and self.name != "stdin":
            self._file.close()
        self._file = None
        if self._selected == self._limit:
            self._paths.clear()

    def _keep(self, text: bytes) -> None:
        """Make the lines of a text ready."""
        count = text.count(b"\n") + (not text.endswith(b"\n") and bool(text))
        self._ready, self._count = Lines(text, self._number + 1), count
        self._number += count
        if self._shards > 1 or self._limit is not None:
            kept = [
                numbered for numbered in self._ready.numbered() if not numbered[1].isspace() and self._is_selected()
            ]
            self._ready, self._count = Lines.of(kept), len(kept)

    def _is_selected(self) -> bool:
        is_selected = self._seen % self._shards == self._shard and self._selected != self._limit
        self._seen += 1
        self._selected += is_selected
        return is_selected

    def _open(self) -> None:
        path = self._paths.popleft()
        self._torn, self._number, self._is_pipe, self._is_fresh = [], 0, False, True
        if path == "-":
            buffer: BinaryIO | None = getattr(sys.stdin, "buffer", None)
            self.name, self._file = "stdin", buffer or io.BytesIO(sys.stdin.read().encode())
        else:
            self.name = path
            self._file = open_lines(path, self.bad)
        with contextlib.suppress(OSError):  # stdin in memory has no descriptor
            self._is_pipe = not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
