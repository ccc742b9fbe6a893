"""Read samples: from any place that `rows` reads, in any layout that `layouts` knows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl import codec, rows
from ovrl.errors import RecordError
from ovrl.layouts import LAYOUTS, Reader, recognise, refuse_unknown
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.rows import Part
from ovrl.selection import Selection


def read_samples(
    source: str,
    rejects: Rejects,
    selection: Selection | None = None,
    *,
    reader: Reader | None = None,
    images: Path | None = None,
) -> Iterator[Sample]:
    """Yield the samples of `source` in order; bad records and repeated ids go to `rejects`.

    Args:
        source: anything that `rows.read_parts` reads, in any layout that `layouts` knows.
        rejects: where bad records go.
        selection: the part to read; None reads all.
        reader: reads the rows; None recognises the layout of each file by its columns.
        images: the folder that relative image paths start from; None is that of the data file.

    Raises:
        UsageError: the source itself cannot be read, or fits several layouts.
    """
    seen: set[str] = set()
    for raw in (selection or Selection())(_raw(source, reader)):
        for record in _records(raw, rejects):
            given = _given_id(record)
            try:
                sample = codec.decode_sample(record, images or raw.part.base)
                if sample.id in seen:
                    raise RecordError("id", _REPEATED if given is None else f"{given!r} is used twice")
            except RecordError as error:
                rejects.add(error.at(raw.where), line=raw.line, record_id=given)
                continue
            seen.add(sample.id)
            rejects.places[sample.id] = (raw.where, raw.line)
            yield sample


_REPEATED = "this record has no id, and says word for word what an earlier one says"


@dataclass(frozen=True, slots=True)
class _Raw:
    part: Part
    line: int | None
    value: Any
    reader: Reader

    @property
    def where(self) -> str:
        return self.part.where(self.line)


def _records(raw: _Raw, rejects: Rejects) -> Sequence[Any]:
    """Return the objects of the contract in a raw row; what cannot be one goes to `rejects`."""
    try:
        if isinstance(raw.value, RecordError):
            raise raw.value
        return raw.reader(raw.value) if isinstance(raw.value, Mapping) else [raw.value]
    except RecordError as error:
        rejects.add(error.at(raw.where), line=raw.line, record_id=_given_id(raw.value))
    except Exception as error:  # noqa: BLE001 - --from names code of the user's
        text = f"the row cannot be read ({type(error).__name__}: {error}); is it what --from says?"
        rejects.add(RecordError("", text, raw.where), line=raw.line, record_id=_given_id(raw.value))
    return ()


def _given_id(record: Any) -> str | None:
    """Return the id that the record states, as text."""
    given = record.get("id") if isinstance(record, Mapping) else None
    return str(given) if isinstance(given, str | int) else None


_LOOKED_AT = 100
"""Rows of a file in which its layout is looked for: the first of them may be bad."""


def _raw(source: str, reader: Reader | None) -> Iterator[_Raw]:
    if reader is None and source != "-" and not rows.is_remote(source):
        for path in rows.data_files(source):  # all of them first: nothing is done before a refusal
            _check_layout(path)
    for part in rows.read_parts(source):
        known = reader
        for line, value in part.rows:
            if known is None and isinstance(value, Mapping):
                known = _reader_of(part, value)
            yield _Raw(part, line, value, known or LAYOUTS["canonical"].reader)


def _check_layout(path: Path) -> None:
    """Refuse a file of several layouts, or of none.

    Raises:
        UsageError: see `layouts`.
    """
    if path.suffix == ".parquet":
        from ovrl import parquet  # pyarrow is slow to import

        heads = [frozenset(parquet.columns(path))]
    elif path.is_file():
        objects = (frozenset(value) for _, value in rows.file_rows(path) if isinstance(value, Mapping))
        heads = list(itertools.islice(objects, _LOOKED_AT))
    else:  # a pipe can be read only once
        return
    if heads and not any(recognise(columns, str(path)) for columns in heads):
        refuse_unknown(heads[0], str(path))


def _reader_of(part: Part, row: Mapping[str, Any]) -> Reader | None:
    """Return how a file is read from its row, or None when this row fits no layout and the next one may.

    The columns of parquet are those of the file: a row shows only what it has.
    """
    path = Path(part.name)
    if path.suffix != ".parquet":
        layout = recognise(frozenset(row), part.name)
        return layout.reader if layout else None
    from ovrl import parquet

    layout = recognise(frozenset(parquet.columns(path)), part.name)
    return (layout or LAYOUTS["canonical"]).reader
