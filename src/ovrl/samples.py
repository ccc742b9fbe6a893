"""Read samples: JSON lines, parquet, a directory of either, or stdin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovrl import codec, store
from ovrl.errors import RecordError, UsageError
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.selection import Selection

_SUFFIXES = (".jsonl", ".parquet")


def data_files(source: str, suffixes: tuple[str, ...] = _SUFFIXES) -> list[Path]:
    """Return the files that `source` names, in order.

    Args:
        source: a file, or a directory whose data files are meant.
        suffixes: what counts as data.

    Raises:
        UsageError: nothing is there, or a file of an unknown kind is named.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in suffixes and _holds_samples(p))
        if not files:
            raise UsageError(f"{source} holds no {' or '.join(suffixes)} file")
        return files
    if not path.exists():
        raise UsageError(f"{source} does not exist")
    if path.suffix not in suffixes:
        raise UsageError(f"{source}: unknown kind of file; known: {', '.join(suffixes)}")
    return [path]


def _holds_samples(path: Path) -> bool:
    """Whether a file of a directory is data, and not what a command wrote beside it."""
    return not path.name.startswith((".", "_")) and path.name not in ("rejects.jsonl", "curation.jsonl")


def read_samples(source: str, rejects: Rejects, selection: Selection | None = None) -> Iterator[Sample]:
    """Yield the samples of `source` in order; bad records and repeated ids go to `rejects`.

    Args:
        source: a .jsonl or .parquet file, a directory of such files, or "-" for stdin.
        rejects: where bad records go.
        selection: the part to read; None reads all.

    Raises:
        UsageError: the source itself cannot be read.
    """
    seen: set[str] = set()
    for where, line, record, base in (selection or Selection())(_raw(source)):
        given = record.get("id") if isinstance(record, dict) else None
        try:
            if isinstance(record, RecordError):
                raise record
            sample = codec.decode_sample(record, base)
            if sample.id in seen:
                raise RecordError("id", f"{sample.id!r} is used twice; ids must be unique")
        except RecordError as error:
            rejects.add(error.at(where), line=line, record_id=given if isinstance(given, str) else None)
            continue
        seen.add(sample.id)
        rejects.places[sample.id] = (where, line)
        yield sample


def _raw(source: str) -> Iterator[tuple[str, int, Any, Path]]:
    """Yield (place, line or row number from 1, record, folder of relative paths)."""
    if source == "-":
        with store.open_text("-") as stream:
            for line, record in store.read_jsonl(stream, "stdin"):
                yield f"stdin:{line}", line, record, Path()
        return
    for path in data_files(source):
        if path.suffix == ".parquet":
            from ovrl import parquet  # pyarrow is slow to import

            for row, record in enumerate(parquet.read_rows(path), start=1):
                yield f"{path}:{row}", row, record, path.parent
        else:
            with store.open_text(str(path)) as stream:
                for line, record in store.read_jsonl(stream, str(path)):
                    yield f"{path}:{line}", line, record, path.parent
