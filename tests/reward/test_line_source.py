"""Lines of files and pipes: numbered, selected, none lost at the edge of a chunk."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ovrl.errors import UsageError
from ovrl.reward import line_source
from ovrl.reward.line_source import LineSource
from ovrl.selection import Selection


def source(tmp_path: Path, *texts: bytes, selection: Selection | None = None) -> LineSource:
    paths = [tmp_path / f"{number}.jsonl" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    return LineSource([str(path) for path in paths], selection or Selection())


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))),
    is_torn=st.booleans(),
    chunk=st.integers(1, 12),
    count=st.integers(1, 5),
)
def test_every_line_comes_once_with_its_number(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], is_torn: bool, chunk: int, count: int
):
    assume(not b"".join(lines[:1]).startswith((b"PAR1", b"\x1f\x8b", b"\xef\xbb\xbf")))
    text = b"".join(line + b"\n" for line in lines)
    text = text[:-1] if is_torn else text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_source, "_CHUNK", chunk)
        with source(tmp_path_factory.mktemp("lines"), text) as read:
            got: list[tuple[int, bytes]] = []
            while not read.is_done:
                read.read()
                taken = read.take(count)
                assert taken.text.count(b"\n") <= count
                got += taken.numbered()
    assert [(number, line.rstrip(b"\n")) for number, line in got] == [
        (number, line) for number, line in enumerate(lines, 1) if line or number < len(lines) or not is_torn
    ]


@pytest.mark.parametrize(
    ("limit", "shard", "numbers"),
    [
        (2, "0/1", [1, 3]),
        (None, "0/2", [1, 4]),
        (None, "1/2", [3, 5]),
        (1, "1/2", [3]),
        (0, "0/1", []),
        (9, "2/3", [4]),
    ],
)
def test_blank_lines_are_numbered_and_not_selected(tmp_path: Path, limit: int | None, shard: str, numbers: list[int]):
    with source(tmp_path, b"a\n \nb\nc\nd\n", selection=Selection.parse(limit, shard)) as read:
        assert [number for number, _ in read] == numbers


def test_files_follow_each_other_under_their_own_names(tmp_path: Path):
    with source(tmp_path, b"a\nb\n", b"", b"c", selection=Selection.parse(3, None)) as read:
        got: list[tuple[str, int]] = []
        while not read.is_done:
            read.read()
            got += [(Path(read.name).name, number) for number, _ in read.take(9).numbered()]
    assert got == [("0.jsonl", 1), ("0.jsonl", 2), ("2.jsonl", 1)]


def test_what_is_put_back_comes_first(tmp_path: Path):
    with source(tmp_path, b"a\nb\nc\n") as read:
        read.read()
        first = read.take(1)
        read.put_back(first)
        assert [number for number, _ in read] == [1, 2, 3]


def test_a_pipe_gives_what_is_there(tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)
    with LineSource([str(path)], Selection()) as read:
        assert read.is_slow
        os.write(keep, b"a\nb\nhal")
        read.read()
        assert [line for _, line in read.take(9).numbered()] == [b"a\n", b"b\n"]
        assert read.is_slow
        os.write(keep, b"f\n")
        os.close(keep)
        assert list(read) == [(3, b"half\n")]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"cannot read .*absent\.jsonl: No such file"):
        LineSource([str(tmp_path / "absent.jsonl")], Selection())


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path):
    with source(tmp_path, b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfc\n") as read:
        assert [line for _, line in read] == [b"a\n", b"b\n", b"c\n"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", b"PAR1....", "is parquet; give it as a file whose name ends in .parquet"),
        ("a.jsonl", gzip.compress(b"a\n"), r"is compressed; unpack it \(zcat\)"),
        ("a.gz", b"a\n", "cannot be unpacked: Not a gzipped file"),
        ("a.gz", gzip.compress(b"a\n" * 9)[:-9], "cannot be unpacked"),
        ("a.json", b' [{"a": 1}]', "is one JSON array, .* jq -c"),
        ("a.parquet", b"a\n", "is not a parquet file"),
    ],
)
def test_what_are_no_lines_is_refused_with_the_remedy(tmp_path: Path, name: str, text: bytes, message: str):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UsageError, match=message), LineSource([str(tmp_path / name)], Selection()) as read:
        list(read)


def test_rows_that_are_lost_leave_the_numbers_right(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [f"{n}" * 50 for n in range(9)]}), path, row_group_size=3, compression="none",
                   use_dictionary=False, write_statistics=False, write_page_checksum=True)  # fmt: skip
    data = bytearray(path.read_bytes())
    data[data.index(b"4" * 50)] ^= 1
    path.write_bytes(data)
    with LineSource([str(path)], Selection()) as read:
        assert [(number, line[6:7]) for number, line in read] == [(n + 1, b"%d" % n) for n in (0, 1, 2, 6, 7, 8)]
        ((number, lost),) = read.bad
    assert (number, lost.records, lost.where) == (4, 3, f"{path}:4")
