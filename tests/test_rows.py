import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import sample
from ovrl import parquet, rows, store
from ovrl.errors import RecordError, UsageError


def write(path: Path, *values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def read(source: Path | str) -> list[tuple[str, Any]]:
    """Return (place, value), errors as their text."""
    return [
        (part.where(line).rpartition("/")[2], str(value) if isinstance(value, RecordError) else value)
        for part in rows.read_parts(str(source))
        for line, value in part.rows
    ]


def test_a_json_file_is_an_array_or_lines(tmp_path: Path):
    (tmp_path / "a.json").write_text(' \n [{"x": 1},\n {"x": "é,]"} , 3]')
    assert read(tmp_path / "a.json") == [("a.json:1", {"x": 1}), ("a.json:2", {"x": "é,]"}), ("a.json:3", 3)]
    assert read(write(tmp_path / "b.json", {"x": 1}, {"x": 2})) == [("b.json:1", {"x": 1}), ("b.json:2", {"x": 2})]


@pytest.mark.parametrize("text", ['[{"x": 1}, {"x": ', '[{"x": 1}', '[{"x": 1}, NaN]'])
def test_a_torn_array_gives_what_stands_before_the_tear(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    (first, (place, reason)) = read(tmp_path / "a.json")
    assert first == ("a.json:1", {"x": 1})
    assert place == "a.json:2"
    assert "torn at item 2, and what follows is lost" in reason


def test_a_glob_is_read_in_the_order_of_its_files(tmp_path: Path):
    for name in ("b/x.jsonl", "a/x.jsonl", "a/y.json", "a/.hidden.jsonl", "a/rejects.jsonl", "a/notes.txt"):
        write(tmp_path / name, {"from": name})
    assert [value["from"] for _, value in read(f"{tmp_path}/*/*")] == ["a/x.jsonl", "a/y.json", "b/x.jsonl"]
    assert [value["from"] for _, value in read(f"{tmp_path}/**/x.*")] == ["a/x.jsonl", "b/x.jsonl"]
    with pytest.raises(UsageError, match="matches no data file"):
        read(f"{tmp_path}/*.parquet")


def test_a_name_with_brackets_is_a_file_when_it_is_there(tmp_path: Path):
    assert read(write(tmp_path / "a[1].jsonl", {"x": 1})) == [("a[1].jsonl:1", {"x": 1})]


def test_a_snapshot_of_the_hub_is_read_below_its_folder_and_without_its_cache(tmp_path: Path):
    for name in ("data/train-1.jsonl", "data/train-0.jsonl", ".cache/data/x.jsonl", "data/more/z.jsonl"):
        write(tmp_path / name, {"from": name})
    found = [value["from"] for _, value in read(tmp_path)]
    assert found == ["data/more/z.jsonl", "data/train-0.jsonl", "data/train-1.jsonl"]


def test_the_parts_of_an_output_are_not_one_data_set(tmp_path: Path):
    write(tmp_path / "stage1" / "a.jsonl", {})
    write(tmp_path / "stage2" / "a.jsonl", {})
    (tmp_path / store.MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match="name one of its folders: stage1, stage2"):
        read(tmp_path)


def test_a_shard_without_an_end_is_one_bad_row_and_the_other_shards_are_read(tmp_path: Path):
    for name in ("a", "b", "c"):
        parquet.write_samples(tmp_path / f"{name}.parquet", [sample(name, images=())])
    torn = tmp_path / "b.parquet"
    torn.write_bytes(torn.read_bytes()[:-20])
    found = read(tmp_path)
    assert [value["id"] for _, value in found if isinstance(value, dict)] == ["a", "c"]
    assert found[1][0] == "b.parquet"
    assert found[1][1].endswith("/b.parquet: is not a parquet file that can be read: " + why(torn))
    with pytest.raises(UsageError, match=r"b\.parquet is not a parquet file"):  # there is nothing else to read
        read(torn)


def why(path: Path) -> str:
    with pytest.raises(pa.ArrowInvalid) as caught:
        pq.ParquetFile(path)
    return str(caught.value)


@pytest.mark.parametrize("pattern", ["no*.jsonl", "no?.jsonl", "no[0-9].jsonl"])
def test_a_glob_without_a_match_is_called_so(tmp_path: Path, pattern: str):
    with pytest.raises(UsageError, match="matches no data file"):
        read(tmp_path / pattern)


def test_only_a_source_that_says_so_is_remote():
    assert rows.is_remote("hf://owner/name")
    assert not rows.is_remote("owner/name")
    with pytest.raises(UsageError, match="owner/name does not exist"):
        read("owner/name")
