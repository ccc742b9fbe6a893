import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders import picture, ref, sample
from ovrl import codec, parquet
from ovrl.errors import UsageError
from ovrl.records import ImageRef, Sample
from ovrl.rejects import Rejects
from ovrl.samples import read_samples


def round_trip(path: Path, *samples: Sample) -> list[Sample]:
    assert parquet.write_samples(path, samples) == len(samples)
    bad = Rejects(None)
    found = list(read_samples(str(path), bad))
    assert bad.count == 0
    return found


def test_samples_come_back_as_they_went(tmp_path: Path):
    samples = [
        sample("a", meta={"bbox": {"scale": "norm1000"}}, extra={"level": 3, "tags": ["x", "y"]}),
        sample("b", images=(ref("blue"), ref("red")), problem="<image><image>?", answer=("3", "three")),
        sample("c", images=(), problem="What?", prompt_type="thinking", source=None, format_guidance="A number."),
    ]
    found = round_trip(tmp_path / "x.parquet", *samples)
    assert [replace(one, extra={}) for one in found] == [replace(one, extra={}) for one in samples]
    assert found[0].extra == {"level": 3, "tags": ["x", "y"]}


def test_images_are_embedded_so_that_the_file_stands_alone(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture())
    (found,) = round_trip(tmp_path / "x.parquet", sample(images=(ImageRef(path=str(tmp_path / "a.png")),)))
    assert found.images == (ImageRef(data=picture(), path="a.png"),)


def test_jsonl_and_parquet_say_the_same(tmp_path: Path):
    samples = [sample("a", meta={"x": 1}), sample("b", images=(), problem="What?")]
    lines = "".join(json.dumps(codec.encode_sample(one)) + "\n" for one in samples)
    (tmp_path / "x.jsonl").write_text(lines)
    assert list(read_samples(str(tmp_path / "x.jsonl"), Rejects(None))) == round_trip(tmp_path / "x.parquet", *samples)


@pytest.mark.parametrize(
    "values",
    [
        [1, "one"],  # no common type
        [1, 1.5],
        [{"a": 1}, {"b": 2}],  # one column of both would hold keys that neither had
        [{}, {}],  # parquet has no empty struct
        [2**70, 1],
        [None, "late"],
        [[1], [{"x": 1}]],
    ],
)
def test_unknown_fields_of_any_type_survive(tmp_path: Path, values: list[Any]):
    samples = [sample(str(i), extra={} if value is None else {"field": value}) for i, value in enumerate(values)]
    found = round_trip(tmp_path / "x.parquet", *samples)
    kept = [one.extra.get("field", one.question.meta.get("field")) for one in found]
    assert kept == values


@pytest.mark.parametrize("late", [{"new": "x"}, {"level": "hard"}])
def test_a_field_that_first_comes_after_many_rows_is_not_lost(tmp_path: Path, late: dict[str, Any]):
    samples = [sample(str(i), images=(), problem="?", extra={"level": 1}) for i in range(300)]
    found = round_trip(tmp_path / "x.parquet", *samples, sample("last", images=(), problem="?", extra=late))
    assert found[-1].question.meta == late
    assert found[299].extra == {"level": 1}


def test_text_columns_are_text_also_when_no_row_has_one(tmp_path: Path):
    parquet.write_samples(tmp_path / "x.parquet", [sample(source=None, images=())])
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert {schema.field(name).type for name in ("source", "format_guidance", "meta", "answer_type")} == {pa.string()}
    parquet.write_samples(tmp_path / "none.parquet", [])
    assert pq.read_schema(tmp_path / "none.parquet").names == schema.names


def test_datasets_loads_it_with_the_released_columns(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    parquet.write_samples(tmp_path / "x.parquet", [sample("a", meta={"d": 1}), sample("b", images=())])
    found = datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache"))
    assert found.column_names == [
        *("id", "images", "problem", "answer"),
        *("problem_type", "answer_type", "source", "prompt_type", "format_guidance", "meta"),
    ]
    assert found[0]["images"][0].size == (24, 24)
    assert found[0]["answer"] == ["3"]
    assert found[1]["images"] == []


def test_rows_as_the_released_set_has_them_are_read(tmp_path: Path):
    row = {
        "images": [{"bytes": picture(), "path": None}],
        "problem": "<image>How many?",
        "answer": ["3"],
        "problem_type": "counting",
        "answer_type": "number",
        "source": "pixmo",
        "prompt_type": "default",
        "extra_info": {"split": "train", "index": 4},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    (found,) = read_samples(str(tmp_path / "x.parquet"), Rejects(None))
    assert found.question.prompt_type == "thinking"
    assert found.extra == {"extra_info": {"split": "train", "index": 4}}
    (again,) = round_trip(tmp_path / "y.parquet", found)
    assert again == found


def test_a_bad_row_is_rejected_with_its_number(tmp_path: Path):
    rows = [{"id": "a", "problem": "?", "answer": ["3"]}, {"id": "b", "problem": None, "answer": ["3"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    bad = Rejects(tmp_path / "bad")
    assert [one.id for one in read_samples(str(tmp_path / "x.parquet"), bad)] == ["a"]
    entry = json.loads((tmp_path / "bad").read_text())
    assert (entry["line"], entry["id"], entry["field"]) == (2, "b", "problem")


def test_damage_behind_a_good_footer_is_one_line(tmp_path: Path):
    path = tmp_path / "x.parquet"
    noise = [sample(str(i), images=(), problem=str(i) * 50) for i in range(200)]
    parquet.write_samples(path, noise)
    data = bytearray(path.read_bytes())
    data[20:2000] = bytes(1980)
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"x\.parquet is damaged") as caught:
        list(parquet.read_rows(path))
    assert "\n" not in str(caught.value)
