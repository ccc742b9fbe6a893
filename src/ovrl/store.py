"""Files that are complete or absent: atomic writes, resumable outputs, manifests.

    OutputFile    one file: `x.partial` grows, `x` appears when it is complete, `x.manifest.json` beside it
    Directory     a run's directory: `manifest.json` first, `_SUCCESS` last, one process at a time

All know what they were started with. The same command again goes on where it stopped, or says that all
is done; a command with other settings or other inputs is refused.
"""

import contextlib
import fcntl
import glob
import json
import os
import shutil
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from ovrl import manifest, strict_json
from ovrl.errors import RecordError, UsageError
from ovrl.manifest import MANIFEST, Identity, describe

SUCCESS = "_SUCCESS"


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write the file so that it is there whole or not at all, also after a power cut."""
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync(directory: Path) -> None:
    """Wait until the disk has every file of a directory."""
    for file in directory.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write the value as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def dumps(record: Mapping[str, Any]) -> str:
    """Return the record on one line; NaN and infinity, which JSON has not, are refused."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can escape it and UTF-8 cannot hold it
        return json.dumps(record, allow_nan=False, separators=(", ", ": "))
    return text


def read_jsonl(stream: TextIO, name: str) -> Iterator[tuple[int, Any | RecordError]]:
    """Yield each line's number, from 1, with its JSON value, or with the error that says what is wrong.

    Args:
        stream: the open file.
        name: how errors call it.
    """
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            value = strict_json.loads(utf8(line))
        except (ValueError, RecursionError) as error:
            yield number, RecordError("", strict_json.line_error(line, error), f"{name}:{number}")
        else:
            yield number, value


def utf8(text: str) -> str:
    """Return the text, if every sign of it stood in the file as UTF-8; see `open_text`.

    Raises:
        ValueError: it did not.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) & 0xFF
        raise ValueError(f"the byte 0x{byte:02x} at sign {error.start + 1} is not UTF-8") from error
    return text


def matches(pattern: str) -> list[Path]:
    """Return the paths that a glob matches, in order; none when it has no `*`, `?` or `[`."""
    if not glob.has_magic(pattern):
        return []
    anchor = Path(pattern).anchor
    return sorted(Path(anchor or ".").glob(str(Path(pattern).relative_to(anchor))))


@contextlib.contextmanager
def open_text(source: str) -> Generator[TextIO]:
    """Open a text file for reading, or stdin for "-", without its byte order mark.

    Bytes that are not UTF-8 become surrogates, which `utf8` finds.

    Raises:
        UsageError: the file cannot be read.
    """
    if source == "-":
        yield sys.stdin
        return
    try:
        with Path(source).open(encoding="utf-8-sig", errors="surrogateescape") as file:
            yield file
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error


class Directory:
    """A directory that one command fills, from `manifest.json` to `_SUCCESS`."""

    def __init__(self, path: Path, identity: Identity, *, overwrite: bool = False) -> None:
        """Create, resume or refuse the directory, and lock it.

        Raises:
            UsageError: another process uses it, it holds something else, or it was begun with other
                settings.
        """
        self.path = path
        self._identity = identity
        _refuse_own_input(path, identity)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the directory {path}: {error.strerror}") from error
        self._lock = _lock(path)
        try:
            earlier = self._earlier(overwrite)
        except BaseException:
            os.close(self._lock)
            raise
        self.finished = (path / SUCCESS).exists()
        self._manifest = manifest.begin(identity, earlier)
        self.counts: dict[str, Any] = earlier["counts"] if earlier else {}
        if self.finished:
            (path / SUCCESS).touch()  # so that Make sees it as new as its inputs
        else:
            write_json(path / MANIFEST, self._manifest)

    def _earlier(self, overwrite: bool) -> dict[str, Any] | None:
        """Return the manifest of the run that is resumed, or None for a fresh start."""
        file = self.path / MANIFEST
        if not file.exists():
            leftovers = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
            if leftovers:
                raise UsageError(
                    f"{self.path} is not empty ({leftovers[0]} ...) and has no {MANIFEST} of ovrl; "
                    "choose another directory"
                )
            return None
        earlier = manifest.read(file)
        if overwrite:
            _empty(self.path)
            return None
        manifest.refuse_changes(earlier, self._identity, str(self.path))
        return earlier

    def finish(self, counts: Mapping[str, Any], outputs: Sequence[str]) -> None:
        """Write the final manifest, with a digest of each output, and then `_SUCCESS`."""
        described = {name: describe(self.path / name) for name in outputs}
        manifest.end(self._manifest, counts, described)
        self.counts = self._manifest["counts"]
        write_json(self.path / MANIFEST, self._manifest)
        write_atomic(self.path / SUCCESS, "")
        self.finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)


class OutputFile:
    """One file that is there when it is complete; its manifest stands beside it."""

    def __init__(self, path: Path, identity: Identity, *, overwrite: bool = False) -> None:
        """Begin, resume or refuse the file.

        Raises:
            UsageError: the file exists and was not made by this command, or from something else.
        """
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self._sidecar = path.with_name(f"{path.name}.{MANIFEST}")
        _refuse_own_input(path, identity)
        if path.is_dir():
            raise UsageError(f"{path} is a directory; a file is to be written")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the directory {path.parent}: {error.strerror}") from error
        self.partial.touch()
        self._lock: int | None = _lock(self.partial)
        try:
            earlier = self._earlier(identity, overwrite)
        except BaseException:
            self._release()
            raise
        self.finished = path.exists()
        self.resumed = earlier is not None
        """Whether an earlier run began it."""
        self._manifest = manifest.begin(identity, earlier)
        self.counts: dict[str, Any] = earlier["counts"] if earlier else {}
        if self.finished:
            path.touch()  # so that Make sees it as new as its inputs
            self._release()
        else:
            write_json(self._sidecar, self._manifest)

    def _earlier(self, identity: Identity, overwrite: bool) -> dict[str, Any] | None:
        """Return the manifest of the run that is resumed, or None for a fresh start."""
        if overwrite:
            for file in (self.path, self._sidecar):
                file.unlink(missing_ok=True)
            os.truncate(self.partial, 0)
        if self._sidecar.exists():
            earlier = manifest.read(self._sidecar)
            manifest.refuse_changes(earlier, identity, str(self.path))
            if earlier["finished"] is None and self.path.exists():
                self.path.replace(self.partial)  # stopped between the last name and the manifest
            return earlier
        if self.path.exists():
            raise UsageError(f"{self.path} exists; give --overwrite to replace it")
        os.truncate(self.partial, 0)  # of a run that was not even begun
        return None

    def finish(self, counts: Mapping[str, Any]) -> None:
        """Give the partial file its final name and complete the manifest."""
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        self.partial.replace(self.path)
        manifest.end(self._manifest, counts, {self.path.name: describe(self.path)})
        write_json(self._sidecar, self._manifest)
        self.finished = True
        self.close()

    def close(self) -> None:
        """Let others have the file; what was written so far is kept."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _release(self) -> None:
        """Close, and take away a partial file that holds nothing."""
        if self.partial.stat().st_size == 0:
            self.partial.unlink()
        self.close()


def _refuse_own_input(path: Path, identity: Identity) -> None:
    """Raise when the output is, or holds, something that the command reads: it would be written over.

    Raises:
        UsageError: naming the input.
    """
    output = path.resolve()
    for name in identity.inputs:
        for place in (name, *matches(name)):
            source = Path(place).resolve()
            if output == source or output in source.parents:
                raise UsageError(f"the output {path} is, or holds, the input {place}; choose another output")


def _lock(path: Path) -> int:
    """Return a descriptor that holds an exclusive lock until it is closed, or the process ends."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UsageError(f"{path} is in use by another ovrl command; wait for it, or end it") from error
    return descriptor


def _empty(directory: Path) -> None:
    for child in directory.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
