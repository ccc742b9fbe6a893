import io
import json
from pathlib import Path
from typing import Any

import pytest

from builders import sample
from ovrl import parquet
from ovrl.errors import UsageError
from ovrl.rejects import Rejects
from ovrl.samples import read_samples
from ovrl.selection import Selection


def text(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def record(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "problem": "What?", "answer": "3", **fields}


def read(path: Path | str, selection: Selection | None = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the ids, and (line, id, field) of each reject."""
    folder = Path(path).parent
    bad = Rejects(folder / "bad")
    ids = [sample.id for sample in read_samples(str(path), bad, selection)]
    lines = (folder / "bad").read_text().splitlines() if (folder / "bad").exists() else []
    entries = [json.loads(line) for line in lines]
    assert all(entry["where"].endswith(f":{entry['line']}") for entry in entries)
    return ids, [(entry["line"], entry["id"], entry["field"]) for entry in entries]


def test_bad_records_are_rejected_with_line_id_and_field_and_the_rest_is_read(tmp_path: Path):
    path = tmp_path / "d.jsonl"
    good = text(record("a"), "no object", record("b", answer=[]), {}, record("a"), record("c", images=[{}]))
    path.write_text(good + "\n{\n" + text(record("d")) + '{"id": "torn", "prob')
    ids, bad = read(path)
    assert ids == ["a", "d"]
    assert bad == [
        (2, None, None),
        (3, "b", "answer"),
        (4, None, "problem"),
        (5, "a", "id"),  # used twice
        (6, "c", "images"),
        (8, None, None),  # line 7 is blank, which is no record
        (10, None, None),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "a", "prob', "torn: Unterminated string"),
        ("{}}\n", "not JSON: Extra data"),
        ('{"id": NaN}\n', "not JSON: NaN is no JSON number"),
        ('{"id": -Infinity}\n', "-Infinity is no JSON number"),
        ('{"id": 1e999}\n', "1e999 is no JSON number"),
        ("[" * 100_000 + "\n", "nested too deeply"),
        ("9" * 5000 + "\n", "not JSON"),
        ('{"id": "a", "problem": "half \\ud83d", "answer": "3"}\n', "half of a surrogate pair"),
    ],
)
def test_a_line_that_is_no_json_is_one_reject(tmp_path: Path, line: str, reason: str):
    path = tmp_path / "d.jsonl"
    path.write_text(line)
    bad = Rejects(tmp_path / "bad")
    assert list(read_samples(str(path), bad)) == []
    (entry,) = (tmp_path / "bad").read_text().splitlines()
    assert reason in json.loads(entry)["reason"]


@pytest.mark.parametrize("error", [AssertionError("no"), RuntimeError("no"), StopIteration()])
def test_whatever_a_reader_raises_costs_one_row(tmp_path: Path, error: Exception):
    def reader(row: Any) -> list[Any]:
        if row["id"] == "b":
            raise error
        return [row]

    path = tmp_path / "d.jsonl"
    path.write_text(text(*map(record, "abc")))
    bad = Rejects(tmp_path / "bad")
    assert [one.id for one in read_samples(str(path), bad, reader=reader)] == ["a", "c"]
    entry = json.loads((tmp_path / "bad").read_text())
    assert (entry["line"], entry["id"]) == (2, "b")
    assert type(error).__name__ in entry["reason"]


@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path, form: str):
    records = [record("a", x="\U0001f600"), record("b")]
    path = tmp_path / ("d.jsonl" if form == "lines" else "d.json")
    path.write_bytes(b"\xef\xbb\xbf" + (text(*records) if form == "lines" else "\n" + json.dumps(records)).encode())
    assert read(path) == (["a", "b"], [])


def test_an_item_of_an_array_with_bytes_that_are_not_utf_8_is_one_reject(tmp_path: Path):
    path = tmp_path / "d.json"
    path.write_bytes(json.dumps([record("a"), record("b", x="E"), record("c")]).encode().replace(b"E", b"\xe9"))
    assert read(path) == (["a", "c"], [(2, None, None)])


def test_bytes_that_are_not_utf_8_do_not_end_the_batch(tmp_path: Path):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"id": "a", "problem": "caf\xe9", "answer": "3"}\n' + text(record("b", x="\U0001f600")).encode())
    assert read(path) == (["b"], [(1, None, None)])
    assert "the byte 0xe9 at sign 28 is not UTF-8" in (tmp_path / "bad").read_text()


def test_a_directory_is_read_in_the_order_of_its_files_without_what_commands_left_there(tmp_path: Path):
    parquet.write_samples(tmp_path / "b.parquet", [sample("b")])
    for name, identifier in (("a", "a"), ("rejects", "r"), ("curation", "c"), (".hidden", "h"), ("_x", "x")):
        (tmp_path / f"{name}.jsonl").write_text(text(record(identifier)))
    (tmp_path / "c.jsonl.partial").write_text(text(record("p")))
    assert read(tmp_path / ".")[0] == ["a", "b"]


def test_relative_images_start_at_the_file_and_not_at_the_process(tmp_path: Path):
    (tmp_path / "d.jsonl").write_text(text(record("a", images=["x.png"])))
    (found,) = read_samples(str(tmp_path / "d.jsonl"), Rejects(None))
    assert found.images[0].path == str(tmp_path / "x.png")


def test_stdin_is_read_like_a_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(text(record("a")) + "{\n"))
    bad = Rejects(None)
    assert [sample.id for sample in read_samples("-", bad)] == ["a"]
    assert bad.reasons == {"line": 1}


@pytest.mark.parametrize("name", ["nothing.jsonl", "data.csv", "empty"])
def test_a_source_that_cannot_be_meant_is_refused(tmp_path: Path, name: str):
    (tmp_path / "data.csv").write_text("a,b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=name):
        list(read_samples(str(tmp_path / name), Rejects(None)))


@pytest.mark.parametrize(
    ("limit", "shard", "want"),
    [
        (None, None, [0, 1, 2, 3, 4, 5, 6]),
        (3, None, [0, 1, 2]),
        (0, None, []),
        (None, "0/3", [0, 3, 6]),
        (None, "2/3", [2, 5]),
        (1, "1/3", [1]),
        (99, "6/7", [6]),
    ],
)
def test_limit_and_shard_choose_a_part(limit: int | None, shard: str | None, want: list[int]):
    selection = Selection.parse(limit, shard)
    assert list(selection(range(7))) == want
    assert selection.count(7) == len(want)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_share_the_input_out(count: int):
    parts = [list(Selection.parse(None, f"{i}/{count}")(range(11))) for i in range(count)]
    assert sorted(number for part in parts for number in part) == list(range(11))


@pytest.mark.parametrize(("limit", "shard"), [(-1, None), (None, "3/3"), (None, "x"), (None, "1"), (None, "-1/2")])
def test_a_part_that_cannot_be_is_refused(limit: int | None, shard: str | None):
    with pytest.raises(UsageError, match=r"--limit|--shard"):
        Selection.parse(limit, shard)
