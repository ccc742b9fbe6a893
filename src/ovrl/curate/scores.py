"""Read scored lines by the million: blocks of the file go to Arrow, which takes the few columns that count.

    file -> blocks of whole lines -> Arrow columns -> numpy arrays, one entry for each line
                     +-> a block that Arrow or a check refuses: line by line, bad lines set aside

A line is the output of `ovrl score`, or one of a training run's trajectories. Both ways of reading a block
take the same lines and find the same values in them.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.json as pj

from ovrl import store
from ovrl.errors import RecordError, UsageError
from ovrl.records import FinishReason, Status

pc: Any = pyarrow.compute  # its functions are made when it is loaded, unseen by type checkers

_BLOCK = 8 << 20  # bytes; enough for several cores, and few enough for the caches
_PART = 1 << 20
_REJECTS = "rejects.jsonl"  # end of the names of files that lie beside scores and hold none

_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string()),
        pa.field("k", pa.int64()),
        pa.field("reward", pa.float64()),
        pa.field("status", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("components", pa.struct([pa.field("accuracy", pa.float64())])),
        pa.field("group_id", pa.int64()),
        pa.field("shuffled", pa.struct([pa.field("gold", pa.string())])),
    ]
)
T = TypeVar("T")

_STATUSES = frozenset(get_args(Status))
_FINISHES = frozenset(get_args(FinishReason))

TRUNCATED, UNANSWERED = 1, 2
"""Flags of a line: cut off by the length limit; and before it gave an answer."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What curation reads of some lines; one entry for each."""

    code: np.ndarray
    """[N] int64, index of the sample in `Lines.ids`."""
    k: np.ndarray
    """[N] int64, number of the completion."""
    group: np.ndarray
    """[N] int64, group of a training run, and -1 elsewhere."""
    accuracy: np.ndarray
    """[N] float64, NaN where the line has no score."""
    flags: np.ndarray
    """[N] uint8, `TRUNCATED` and `UNANSWERED`."""
    letter: np.ndarray
    """[N] int16, index of the shown gold letter in `Lines.letters`, and -1 where options kept their order."""

    def at(self, places: np.ndarray) -> "Columns":
        """Return the entries at these places."""
        return Columns(*(getattr(self, name)[places] for name in self.__slots__))


@dataclass(slots=True)
class Lines:
    """All scored lines of a source."""

    columns: Columns
    ids: dict[str, int]
    """Sample id -> its code."""
    letters: list[str]
    rows: int
    sha256: str
    """Of the bytes that were read."""
    bad: list[tuple[RecordError, int, str | None]] = field(default_factory=list[Any])
    """Lines that are no scores: what is wrong, line number, sample id."""


def score_files(source: str) -> list[Path]:
    """Return the files of scores in `source`: itself, or what `score` or `train` wrote into that directory.

    A glob stands for all that it matches.

    Raises:
        UsageError: nothing is there.
    """
    path = Path(source)
    if not path.exists():
        found = [match for match in store.matches(source) if not match.name.endswith(_REJECTS)]
        if not found:
            raise UsageError(f"{source} does not exist")
        return [file for match in found for file in score_files(str(match))]
    if not path.is_dir():
        return [path]
    if (path / "scores.jsonl").is_file():
        return [path / "scores.jsonl"]
    folder = path / "trajectories" if (path / "trajectories").is_dir() else path
    files = sorted(p for p in folder.glob("*.jsonl") if not p.name.endswith(_REJECTS))
    if not files:
        raise UsageError(f"{source} holds neither scores.jsonl nor the trajectories of a training run")
    return files


def read_files(files: Sequence[Path]) -> Lines:
    """Return the scored lines of the files.

    Raises:
        UsageError: a file cannot be read.
    """
    reader = _Reader()
    for path in files:
        try:
            with path.open("rb") as stream:
                reader.read(stream, str(path))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return reader.lines()


def read_stream(stream: BinaryIO, name: str) -> Lines:
    """Return the scored lines of an open stream, called `name` in errors."""
    reader = _Reader()
    reader.read(stream, name)
    return reader.lines()


class _Reader:
    """Collects blocks; ids and letters get a code when they are first met."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._letters: dict[str, int] = {}
        self._parts: list[Columns] = []
        self._bad: list[tuple[RecordError, int, str | None]] = []
        self._rows = 0
        self._digest = hashlib.sha256()

    def read(self, stream: BinaryIO, name: str) -> None:
        """Read to the end of the stream; the next block is parsed in a thread meanwhile."""
        number = 1
        for table, block, lines in _ahead(self._tables(stream)):
            self._add(self._line_by_line(block, name, number) if table is None else table)
            number += lines

    def _tables(self, stream: BinaryIO) -> Iterator[tuple[Any | None, bytes, int]]:
        """Yield (columns, nothing, lines) of a block, or (None, the block, lines) when it has to be looked at."""
        with ThreadPoolExecutor(1) as beside:
            for block, lines in _blocks(stream):
                hashed = beside.submit(self._digest.update, block)
                table = _table(block, lines)
                hashed.result()
                yield table, bytes(block) if table is None else b"", lines

    def _line_by_line(self, block: bytes, name: str, first: int) -> Any:
        """Return the table of the good lines; note the bad ones."""
        good: list[dict[str, Any]] = []
        text = block.decode("utf-8-sig" if first == 1 else "utf-8", "surrogateescape")
        text = text.encode(errors="backslashreplace").decode()  # bytes that are no UTF-8, as JSON escapes surrogates
        for number, record in store.read_jsonl(io.StringIO(text), name):
            line = first + number - 1
            given = record.get("sample_id") if isinstance(record, dict) else None
            try:
                if isinstance(record, RecordError):
                    raise record
                good.append(_checked(record))
            except RecordError as error:
                self._rows += 1
                self._bad.append((error.at(f"{name}:{line}"), line, given if isinstance(given, str) else None))
        return pa.Table.from_pylist(good, _SCHEMA)

    def _add(self, table: Any) -> None:
        self._rows += table.num_rows
        if not table.num_rows:
            return
        missing = np.float64("nan")
        reward = _numbers(table["reward"], missing)
        accuracy = _numbers(pc.struct_field(table["components"], "accuracy"), missing)
        scored = np.where(np.isnan(accuracy), reward, accuracy)
        truncated = _equal(table["finish_reason"], "length")
        unanswered = truncated & _equal(table["status"], "no_answer")
        letters = pc.struct_field(table["shuffled"], "gold")
        shown = letters.null_count < len(letters)
        self._parts.append(
            Columns(
                code=_codes(table["sample_id"], self._ids),
                k=_numbers(table["k"], -1),
                group=_numbers(table["group_id"], -1),
                accuracy=np.where(np.isnan(reward), missing, scored),
                flags=(truncated * TRUNCATED + unanswered * UNANSWERED).astype(np.uint8),
                letter=_codes(letters, self._letters).astype(np.int16)
                if shown
                else np.full(table.num_rows, -1, np.int16),
            )
        )

    def lines(self) -> Lines:
        """Return everything that was read."""
        parts = self._parts or [Columns(*(np.zeros(0, kind) for kind in (int, int, int, float, np.uint8, np.int16)))]
        joined = Columns(*(np.concatenate([getattr(part, name) for part in parts]) for name in Columns.__slots__))
        return Lines(joined, self._ids, list(self._letters), self._rows, self._digest.hexdigest(), self._bad)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items; each is made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as beside:
        coming = beside.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = beside.submit(next, items, None)
            yield item


def _blocks(stream: BinaryIO) -> Iterator[tuple[memoryview, int]]:
    """Yield (whole lines, how many); only the last block may lack its line end. A block lives until the next."""
    buffer, filled = bytearray(_BLOCK), 0
    while count := cast("Any", stream).readinto(memoryview(buffer)[filled:]):
        filled += count
        end = buffer.rfind(b"\n", 0, filled) + 1
        if end:
            yield memoryview(buffer)[:end], buffer.count(b"\n", 0, end)
            buffer[: filled - end] = buffer[end:filled]
            filled -= end
        elif filled == len(buffer):  # a line longer than the buffer
            buffer = buffer + bytes(len(buffer))
    if filled:
        yield memoryview(buffer)[:filled], 1


def _table(block: memoryview, lines: int) -> Any | None:
    """Return the columns of a block, or None when any of its lines may be bad.

    Arrow reads objects and not lines. Their numbers differ where an object has several lines, or a line several
    objects; the two in one block may hide each other, and then each object counts as a score.
    """
    try:
        table = pj.read_json(
            pa.BufferReader(pa.py_buffer(block)),
            read_options=pj.ReadOptions(block_size=_PART),
            parse_options=pj.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore"),
        )
        return table if table.num_rows == lines and _is_good(table) else None
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None


def _is_good(table: Any) -> bool:
    for name in ("sample_id", "shuffled"):
        table[name].validate(full=True)  # UTF-8, that is
    if any(table[name].null_count for name in ("sample_id", "k", "status")):
        return False
    known = (("status", _STATUSES), ("finish_reason", _FINISHES | {None}))
    if any(not set(pc.unique(table[name]).to_pylist()) <= values for name, values in known):
        return False
    numbers = (table["reward"], pc.struct_field(table["components"], "accuracy"))
    return all(pc.all(pc.is_finite(column)).as_py() is not False for column in numbers)


def _checked(record: Any) -> dict[str, Any]:
    """Return the fields of a line that count, with the types of `_SCHEMA`.

    Raises:
        RecordError: naming the field that is missing or wrong.
    """
    if not isinstance(record, dict):
        raise RecordError("", f"a JSON object is expected, not {type(record).__name__}")
    found: dict[str, Any] = {}
    for name, kind, needed in (
        ("sample_id", str, True),
        ("k", int, True),
        ("status", str, True),
        ("reward", float, False),
        ("finish_reason", str, False),
        ("components", dict, False),
        ("group_id", int, False),
        ("shuffled", dict, False),
    ):
        if needed and record.get(name) is None:
            raise RecordError(name, "this field is missing; is this the output of `ovrl score`?")
        found[name] = _typed(record.get(name), kind, name)
    for name, values in (("status", _STATUSES), ("finish_reason", _FINISHES)):
        if found[name] is not None and found[name] not in values:
            raise RecordError(name, f"unknown value {found[name]!r}; known: {', '.join(sorted(values))}")
    parts, shuffled = found["components"] or {}, found["shuffled"] or {}
    found["components"] = {"accuracy": _typed(parts.get("accuracy"), float, "components")}
    found["shuffled"] = {"gold": _typed(shuffled.get("gold"), str, "shuffled")}
    for name, text in (("sample_id", found["sample_id"]), ("shuffled", found["shuffled"]["gold"] or "")):
        if any("\ud800" <= sign <= "\udfff" for sign in text):
            raise RecordError(name, "holds half of a surrogate pair, or bytes that are not UTF-8")
    return found


def _typed(value: Any, kind: type, name: str) -> Any:
    """Return the value if it has the type; a float may be written as an integer."""
    if value is None or (type(value) is kind and not (kind is int and abs(value) >= 1 << 63)):
        return value
    if kind is float and type(value) is int and abs(value) < 1 << 53:
        return float(value)
    raise RecordError(name, f"{kind.__name__} is expected (got {str(value)[:60]!r})")


def _numbers(column: Any, missing: Any) -> np.ndarray:
    filled = column.fill_null(missing) if column.null_count else column
    return filled.to_numpy(zero_copy_only=False)


def _equal(column: Any, value: str) -> np.ndarray:
    return _numbers(pc.equal(column, value), False)


def _codes(column: Any, table: dict[str, int]) -> np.ndarray:
    """Return the code of each text, -1 for null; new texts get the next code in `table`."""
    encoded = column.combine_chunks().dictionary_encode()
    local = np.array([table.setdefault(text, len(table)) for text in encoded.dictionary.to_pylist()], np.int64)
    places = _numbers(encoded.indices, -1).astype(np.int64)
    return np.where(places < 0, -1, local[places]) if len(local) else np.full(len(places), -1, np.int64)


def meaning(lines: Lines) -> str:
    """Return a digest of what curation reads, the same whatever the order of the lines."""
    columns = lines.columns
    code, letter = _ranks(list(lines.ids))[columns.code], _ranks(lines.letters)[columns.letter]
    ordered = in_order(replace(columns, code=code, letter=letter))
    digest = hashlib.sha256()
    for text in (*sorted(lines.ids), *sorted(lines.letters), *(str(error) for error, _, _ in lines.bad)):
        digest.update(text.encode(errors="replace") + b"\x1f")
    for column in Columns.__slots__:
        digest.update(getattr(ordered, column).tobytes())
    return digest.hexdigest()


def _ranks(names: list[str]) -> np.ndarray:
    """Return the alphabetical rank of each name, and -1 at the end, where the index -1 finds it."""
    ranks = np.full(len(names) + 1, -1, np.int64)
    ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return ranks


def in_order(columns: Columns) -> Columns:
    """Return the lines by sample, newest group first, then by k, then by accuracy, unscored ones last."""
    same = columns.code[1:] == columns.code[:-1]
    if not columns.group.size or (
        columns.group.max() < 0
        and np.all(columns.code[1:] >= columns.code[:-1])
        and np.all(~same | (columns.k[1:] > columns.k[:-1]))
    ):
        return columns  # as `ovrl rollout` writes them
    return columns.at(np.lexsort((columns.accuracy, columns.k, -columns.group, columns.code)))
