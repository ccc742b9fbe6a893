"""Read raw rows, one after the other: JSON lines, JSON arrays, parquet, globs, directories, stdin, the hub.

What cannot be read is a `RecordError` in the place of its row, so that the rest goes through. What a row
means is the business of `layouts`.
"""

import glob
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl import store, strict_json
from ovrl.errors import RecordError, UsageError
from ovrl.manifest import MANIFEST

_HUB = "hf://"  # only a source that is named so uses the network

_IN_DIRECTORIES = (".jsonl", ".parquet")  # a .json there is more often a manifest than data
_SUFFIXES = (*_IN_DIRECTORIES, ".json")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a source, or the whole of a source that is not made of files."""

    name: str
    base: Path
    """The folder that relative image paths start from."""
    rows: Iterator[tuple[int | None, Any]]
    """(line or row number from 1, the row or what is wrong with it)."""

    def where(self, line: int | None) -> str:
        """Return the place as errors name it."""
        return self.name if line is None else f"{self.name}:{line}"


def is_remote(source: str) -> bool:
    """Whether the source is a data set of the hub, which is the only reason to use the network."""
    return source.startswith(_HUB)


def read_parts(source: str) -> Iterator[Part]:
    """Yield the parts of a source in order; each must be read before the next.

    Args:
        source: a .jsonl, .json or .parquet file, a glob, a directory, "-" for stdin, or
            `hf://owner/name[/config][@revision][:split]`.

    Raises:
        UsageError: nothing is there, or the one file that is named cannot be read at all.
    """
    if source == "-":
        with store.open_text("-") as stream:
            yield Part("stdin", Path(), store.read_jsonl(stream, "stdin"))
    elif is_remote(source):
        from ovrl import hub  # datasets is slow to import, and optional

        yield Part(
            source, Path(), ((line, row) for line, row in enumerate(hub.read_rows(source.removeprefix(_HUB)), start=1))
        )
    else:
        files = data_files(source)
        for path in files:
            rows = file_rows(path)
            yield Part(str(path), path.parent, rows if len(files) == 1 else _or_reject(rows, str(path)))


def data_files(source: str) -> list[Path]:
    """Return the files that a path or a glob names, in order.

    A directory means the data files in it, or, when it has none, all those below it.

    Raises:
        UsageError: nothing is there, or a file of an unknown kind is named.
    """
    path = Path(source)
    if path.is_dir():
        return _directory_files(path)
    if not path.exists():
        if files := [file for file in store.matches(source) if file.suffix in _SUFFIXES and _holds_data(file)]:
            return files
        raise UsageError(f"{source} {'matches no data file' if glob.has_magic(source) else 'does not exist'}")
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"{source}: unknown kind of file; known: {', '.join(_SUFFIXES)}")
    return [path]


def _directory_files(path: Path) -> list[Path]:
    below = () if (path / MANIFEST).exists() else path.rglob("*")  # the parts of an output are no one data set
    for files in (path.iterdir(), (file for file in below if not _is_hidden(file.relative_to(path)))):
        if found := sorted(file for file in files if file.suffix in _IN_DIRECTORIES and _holds_data(file)):
            return found
    inside = ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))
    hint = f"; name one of its folders: {inside}" if inside else ""
    raise UsageError(f"{path} holds no {' or '.join(_IN_DIRECTORIES)} file{hint}")


def _holds_data(path: Path) -> bool:
    """Whether a file is data, and not what a command wrote beside it."""
    return not path.name.startswith((".", "_")) and not path.name.endswith(("rejects.jsonl", "curation.jsonl"))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def file_rows(path: Path) -> Iterator[tuple[int | None, Any]]:
    """Yield (line or row number from 1, the row or what is wrong with it) of one file.

    Raises:
        UsageError: the file cannot be read at all.
    """
    if path.suffix == ".parquet":
        from ovrl import parquet  # pyarrow is slow to import

        yield from parquet.read_rows(path)
        return
    with store.open_text(str(path)) as stream:
        if path.suffix == ".json" and _starts_array(stream):
            yield from _array_rows(stream.read(), str(path))
        else:
            yield from store.read_jsonl(stream, str(path))


def _or_reject(rows: Iterator[tuple[int | None, Any]], name: str) -> Iterator[tuple[int | None, Any]]:
    """Turn a file that cannot be read into one bad row: the other files go through."""
    try:
        yield from rows
    except UsageError as error:
        yield None, RecordError("", str(error).removeprefix(f"{name} "), name, records=None)


def _starts_array(stream: Any) -> bool:
    first = next((sign for sign in iter(lambda: stream.read(1), "") if sign.strip()), "")
    stream.seek(0)
    return first == "["


def _array_rows(text: str, name: str) -> Iterator[tuple[int | None, Any]]:
    """Yield the items of a JSON array, numbered from 1; behind a tear nothing can be read."""
    decoder = strict_json.decoder()
    position, length = text.index("[") + 1, len(text)

    def skip(signs: str) -> int:
        return next((at for at in range(position, length) if text[at] not in signs), length)

    for number in itertools.count(1):
        position = skip(" \t\r\n,")
        if position < length and text[position] == "]":
            return
        try:
            start = position
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            reason = f"the JSON array is torn at item {number}, and what follows is lost: {strict_json.why(error)}"
            yield number, RecordError("", reason, f"{name}:{number}", records=None)
            return
        try:
            store.utf8(text[start:position])
        except ValueError as error:
            value = RecordError("", f"item {number} cannot be read: {error}", f"{name}:{number}")
        yield number, value
