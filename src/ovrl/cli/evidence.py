"""Scores as curation reads them: from a file, or from stdin, which is kept aside so that it can be told apart."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovrl import codec, store
from ovrl.cli.score import lines_file
from ovrl.errors import RecordError
from ovrl.records import Evidence
from ovrl.rejects import Rejects


class Evidences:
    """The scored lines of a source, with the digest that the manifest wants before they are read."""

    def __init__(self, source: str) -> None:
        """Find the file; stdin is read to its end into a temporary file."""
        self._spool: tempfile.TemporaryDirectory[str] | None = None
        self.name = "stdin" if source == "-" else lines_file(source, "scores.jsonl")
        self._path = Path(self.name)
        if source == "-":
            self._spool = tempfile.TemporaryDirectory()
            self._path = Path(self._spool.name) / "stdin.jsonl"
            with self._path.open("w", encoding="utf-8") as file:
                shutil.copyfileobj(sys.stdin, file)
        self.described: dict[str, Any] = store.describe(self._path)
        if source == "-":  # a pipe that runs again takes other times for the same scores
            self.described |= {"sha256": self._meaning()}

    def _meaning(self) -> str:
        """Return a digest of what curation reads of the lines."""
        digest = hashlib.sha256()
        with store.open_text(str(self._path)) as stream:
            for _, record in store.read_jsonl(stream, ""):
                try:
                    digest.update(repr(codec.decode_evidence(record)).encode())
                except RecordError as error:
                    digest.update(repr(error).encode())
        return digest.hexdigest()

    def read(self, rejects: Rejects) -> Iterator[Evidence]:
        """Yield the evidence; lines that are no scores go to `rejects`."""
        with store.open_text(str(self._path)) as stream:
            for number, record in store.read_jsonl(stream, self.name):
                given = record.get("id") if isinstance(record, dict) else None
                try:
                    if isinstance(record, RecordError):
                        raise record
                    yield codec.decode_evidence(record)
                except RecordError as error:
                    where = error if error.where else error.at(f"{self.name}:{number}")
                    rejects.add(where, line=number, record_id=given if isinstance(given, str) else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spool is not None:
            self._spool.cleanup()
