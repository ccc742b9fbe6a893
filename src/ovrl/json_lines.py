"""Lines of JSON as a command's output: to stdout, to one file, or to a named file inside a directory."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TextIO

from ovrl.manifest import Identity
from ovrl.store import Directory, OutputFile, dumps


class JsonLines:
    """JSON lines to stdout, to one file, or to a named file inside a directory; resumable but for stdout."""

    def __init__(
        self,
        target: str,
        file_name: str,
        identity: Identity,
        *,
        overwrite: bool = False,
        to_parquet: Callable[[Path, Path], None] | None = None,
    ) -> None:
        """Open the output.

        Args:
            target: "-" for stdout, a path that ends in .jsonl, .json or .parquet for a file, else a directory.
            file_name: the file's name inside a directory.
            identity: what the output is made from.
            overwrite: start again.
            to_parquet: makes a parquet file of the finished lines, for a target that ends so; None: there is none.

        Raises:
            UsageError: as for `Directory` and `OutputFile`.
        """
        self._directory: Directory | None = None
        self._output: OutputFile | None = None
        self.finished = False
        self._recovered_bytes = 0
        self._to_parquet = None
        self.counts: dict[str, Any] = {}
        """What the run that finished the output counted."""
        self._file: TextIO = sys.stdout
        if target == "-":
            return
        path = Path(target)
        if path.suffix in (".jsonl", ".json") or (path.suffix == ".parquet" and to_parquet):
            self._output = OutputFile(path, identity, overwrite=overwrite)
            self.finished, self._partial = self._output.finished, self._output.partial
            self.counts = self._output.counts
            if path.suffix == ".parquet":
                self._to_parquet = to_parquet
                self._partial = path.with_name(f"{path.name}.lines.partial")
                if overwrite or not self._output.resumed:
                    self._partial.unlink(missing_ok=True)
        else:
            self._directory = Directory(path, identity, overwrite=overwrite)
            self.finished, self._partial = self._directory.finished, path / f"{file_name}.partial"
            self.counts = self._directory.counts
            if not self.finished and (path / file_name).exists():
                (path / file_name).replace(self._partial)  # stopped between the last line and `_SUCCESS`
        if not self.finished:
            self._recovered_bytes = _recover(self._partial)
            self._file = self._partial.open("a", encoding="utf-8")

    def recovered_lines(self) -> Iterator[bytes]:
        """Yield the complete lines of an earlier, interrupted run."""
        if self._recovered_bytes:
            with self._partial.open("rb") as file:
                while file.tell() < self._recovered_bytes:
                    yield file.readline()

    @property
    def recovered(self) -> list[dict[str, Any]]:
        """The records of these lines."""
        return [json.loads(line) for line in self.recovered_lines()]

    def keep(self, size: int) -> None:
        """Cut what an earlier run wrote behind the first `size` bytes."""
        os.truncate(self._partial, size)
        self._recovered_bytes = size

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record and hand it to the system, so that a killed process loses nothing."""
        self._file.write(dumps(record) + "\n")
        self._file.flush()

    def write_encoded(self, lines: Iterable[bytes]) -> None:
        """Append lines that are encoded already, each with its line break."""
        data = b"".join(lines)
        binary: BinaryIO | None = getattr(self._file, "buffer", None)
        if binary is None:  # stdout in memory
            self._file.write(data.decode())
        else:
            binary.write(data)
        self._file.flush()

    def finish(self, counts: Mapping[str, Any]) -> None:
        """Give the output its final name and write its manifest."""
        if self._output is not None:
            self._file.close()
            if self._to_parquet is not None:
                self._to_parquet(self._partial, self._output.partial)
            self._output.finish(counts)
            if self._to_parquet is not None:
                self._partial.unlink()
        elif self._directory is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            final = self._partial.with_suffix("")
            self._partial.replace(final)
            self._directory.finish(counts, [final.name])
        self.finished, self.counts = True, dict(counts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not sys.stdout and not self.finished:
            with contextlib.suppress(OSError):  # a full disk: what was flushed before is kept
                self._file.close()
        if self._directory:
            self._directory.__exit__(kind, error, trace)
        if self._output:
            self._output.close()


def _recover(partial: Path) -> int:
    """Cut what is torn at the end of an interrupted output, and return the size of the complete lines."""
    partial.touch()
    kept = 0
    with partial.open("rb") as file:
        for line in file:
            try:
                is_record = line.endswith(b"\n") and isinstance(json.loads(line), dict)
            except ValueError:  # no JSON, or no UTF-8
                is_record = False
            if not is_record:
                break
            kept += len(line)
    os.truncate(partial, kept)
    return kept
