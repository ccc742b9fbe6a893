import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import picture, ref, sample
from ovrl import codec, parquet, store
from ovrl.errors import RecordError
from ovrl.records import ANSWER_TYPES, ImageRef, Sample
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


def damaged(path: Path, *, group: int, rows: int = 600) -> Path:
    """Write rows in groups of 256 and damage the problems of one group."""
    parquet.write_samples(path, [sample(f"s{i}", images=(), problem=f"{i} " * 40) for i in range(rows)])
    found = pq.read_metadata(path).row_group(group)
    column = next(c for i in range(found.num_columns) if (c := found.column(i)).path_in_schema == "problem")
    data = bytearray(path.read_bytes())
    middle = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size // 2
    data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)
    return path


def test_damage_costs_its_group_of_rows_and_no_other(tmp_path: Path):
    path = damaged(tmp_path / "x.parquet", group=1)
    found = list(parquet.read_rows(path))
    errors = [(number, str(row)) for number, row in found if isinstance(row, RecordError)]
    ((number, reason),) = errors
    assert number == 257
    assert sum(row.records or 0 for _, row in found if isinstance(row, RecordError)) == 256
    assert f"rows 257 to 512 of {path} are damaged and lost" in reason
    assert "\n" not in reason
    assert [row["id"] for _, row in found if not isinstance(row, RecordError)] == [
        f"s{i}" for i in (*range(256), *range(512, 600))
    ]
    assert found[-1][0] == 600


def test_a_flipped_bit_is_noticed_and_not_read_as_another_picture(tmp_path: Path):
    path = tmp_path / "x.parquet"
    parquet.write_samples(path, [sample("a")])
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 1  # inside the PNG, where decompression notices nothing
    path.write_bytes(data)
    ((_, row),) = parquet.read_rows(path)
    assert isinstance(row, RecordError)


def test_columns_of_unknown_fields_do_not_hide_the_images_from_datasets(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    parquet.write_samples(tmp_path / "x.parquet", [sample("a", extra={"level": 3}), sample("b", images=(ref(), ref()))])
    found = datasets.load_dataset("parquet", data_files=str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache"))
    assert [[image.size for image in row["images"]] for row in found["train"]] == [[(24, 24)], [(24, 24)] * 2]
    assert found["train"][0]["level"] == 3


def test_groups_of_large_images_are_small(tmp_path: Path):
    """What a reader holds in memory is a group at most."""
    large = [sample(f"s{i}", images=(ImageRef(data=bytes([i]) * (24 << 20)),)) for i in range(6)]
    parquet.write_samples(tmp_path / "x.parquet", large)
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 3]


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    return sample(
        draw(st.uuids()).hex,
        problem=draw(TEXT),
        answer=tuple(draw(st.lists(TEXT, min_size=1, max_size=3))),
        answer_type=draw(st.sampled_from(ANSWER_TYPES)),
        problem_type=draw(st.sampled_from(["stem", "ocr"])),
        prompt_type=draw(st.sampled_from(["normal", "thinking"])),
        images=tuple(ref(color) for color in draw(st.lists(st.sampled_from(["red", "blue"]), max_size=3))),
        source=draw(st.none() | TEXT),
        format_guidance=draw(st.none() | TEXT),
        meta=draw(st.dictionaries(TEXT, JSON, max_size=3)),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(samples(), max_size=4, unique_by=lambda one: one.id))
def test_any_samples_come_back_from_parquet_and_from_json_lines(tmp_path: Path, made: list[Sample]):
    assert round_trip(tmp_path / "x.parquet", *made) == made
    lines = "".join(store.dumps(codec.encode_sample(one)) + "\n" for one in made)
    (tmp_path / "x.jsonl").write_text(lines)
    assert list(read_samples(str(tmp_path / "x.jsonl"), Rejects(None))) == made
