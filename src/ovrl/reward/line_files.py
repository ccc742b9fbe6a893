"""Files of lines as bytes, whatever they are kept in: JSON lines, the same with gzip, or rows of parquet."""

import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ovrl.errors import RecordError, UsageError

_ROWS = 256
"""Rows of parquet that are read at once."""
_MARK = b"\xef\xbb\xbf"
"""Byte order mark in UTF-8."""


def open_lines(path: str, bad: list[tuple[int, RecordError]]) -> BinaryIO:
    """Open a file for reading in chunks; one that ends in .gz is unpacked, one in .parquet becomes JSON lines.

    Args:
        path: the file.
        bad: takes the numbers of the rows of parquet that cannot be read, and why.

    Raises:
        UsageError: it cannot be opened.
    """
    try:
        if path.endswith(".parquet"):
            return io.BufferedReader(_Rows(path, bad))
        return gzip.open(path) if path.endswith(".gz") else Path(path).open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def read_chunk(file: BinaryIO, name: str, size: int, *, is_first: bool) -> bytes:
    """Return what can be read at once, b"" at the end; the first chunk without a byte order mark.

    Raises:
        UsageError: the file is damaged, or no lines of JSON; says what to do.
    """
    try:
        chunk: bytes = file.read1(size)  # type: ignore[attr-defined]  # buffered files have it
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{name} cannot be unpacked: {error}") from error
    if not is_first:
        return chunk
    if chunk.startswith(b"PAR1"):
        raise UsageError(f"{name} is parquet; give it as a file whose name ends in .parquet")
    if chunk.startswith(b"\x1f\x8b"):
        raise UsageError(f"{name} is compressed; unpack it (zcat), or give it as a file whose name ends in .gz")
    if name.endswith(".json") and chunk.lstrip(b" \t\r\n").startswith(b"["):
        raise UsageError(f"{name} is one JSON array, and not a record on each line; make lines of it: jq -c '.[]'")
    return chunk.removeprefix(_MARK)


class _Rows(io.RawIOBase):
    """The rows of a parquet file as JSON lines; a row that is lost is a blank line, so that the numbers are right."""

    def __init__(self, path: str, bad: list[tuple[int, RecordError]]) -> None:
        self._lines = self._encoded(path, bad)
        self._left = b"".join(itertools.islice(self._lines, _ROWS))  # says now that the file is none

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = b"".join(itertools.islice(self._lines, _ROWS))
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    @staticmethod
    def _encoded(path: str, bad: list[tuple[int, RecordError]]) -> Iterator[bytes]:
        from ovrl.codec import jsonable  # and parquet: pyarrow is slow to import
        from ovrl.parquet import read_rows

        for number, row in read_rows(Path(path)):
            if isinstance(row, RecordError):
                bad.append((number, row.at(f"{path}:{number}")))
                yield b"\n" * (row.records or 1)
            else:
                yield orjson.dumps(jsonable(row)) + b"\n"
