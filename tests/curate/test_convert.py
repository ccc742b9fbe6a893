import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builders import picture, ref, sample
from ovrl.curate.convert import check_target, write_parts
from ovrl.errors import UsageError
from ovrl.layouts import LAYOUTS
from ovrl.records import ImageRef, Sample
from ovrl.rejects import Rejects
from ovrl.samples import read_samples


def made(count: int) -> list[Sample]:
    colors = ("red", "blue", "green")
    return [sample(f"s{i}", problem=f"<image>{i}?", images=(ref(colors[i % 3]),), extra={"n": i}) for i in range(count)]


def read(folder: Path) -> list[Sample]:
    bad = Rejects(None)
    found = list(read_samples(str(folder), bad))
    assert bad.count == 0
    return found


@pytest.mark.parametrize("name", LAYOUTS)
def test_parts_hold_everything_in_order(tmp_path: Path, name: str):
    samples = made(7)
    count, names = write_parts(tmp_path, samples, LAYOUTS[name], Rejects(None), rows_per_part=3)
    suffix = "jsonl" if name in ("ms-swift", "vlm-r1") else "parquet"
    assert (count, names) == (7, [f"part-{i:05d}.{suffix}" for i in range(3)])
    found = read(tmp_path)
    assert [(one.id, one.question, one.extra) for one in found] == [
        (one.id, one.question, one.extra) for one in samples
    ]
    pictures = [[image.data or Path(image.path or "").read_bytes() for image in one.images] for one in found]
    assert pictures == [[image.data for image in one.images] for one in samples]


def test_a_picture_is_one_file_however_many_samples_show_it(tmp_path: Path):
    write_parts(tmp_path, made(9), LAYOUTS["vlm-r1"], Rejects(None), rows_per_part=4)
    assert len(list((tmp_path / "images").iterdir())) == 3
    row = json.loads((tmp_path / "part-00000.jsonl").read_text().splitlines()[0])
    assert (tmp_path / row["image"][0]).read_bytes() == picture()


def test_no_samples_are_one_empty_part(tmp_path: Path):
    assert write_parts(tmp_path, [], LAYOUTS["trl"], Rejects(None), rows_per_part=3) == (0, ["part-00000.parquet"])
    assert pq.read_table(tmp_path / "part-00000.parquet").num_rows == 0


def test_all_parts_have_the_columns_of_the_first(tmp_path: Path):
    samples = [sample("a", extra={"n": 1}), sample("b"), sample("c", extra={"n": "one", "new": [1]})]
    write_parts(tmp_path, samples, LAYOUTS["canonical"], Rejects(None), rows_per_part=1)
    schemas = [pq.read_schema(path) for path in sorted(tmp_path.glob("*.parquet"))]
    assert schemas[0].equals(schemas[1])
    assert schemas[0].equals(schemas[2])
    assert dict(read(tmp_path)[2].question.meta) == {"n": "one", "new": [1]}  # not lost, where there is no column


def test_an_image_that_cannot_be_read_is_a_reject_and_parts_do_not_shift(tmp_path: Path):
    samples = made(4)
    samples[1] = sample("bad", images=(ImageRef(path="/nowhere/x.png"),))
    bad = Rejects(tmp_path / "bad")
    count, _ = write_parts(tmp_path, samples, LAYOUTS["canonical"], bad, rows_per_part=2)
    assert (count, bad.count) == (3, 1)
    assert "cannot read /nowhere/x.png" in (tmp_path / "bad").read_text()
    rows = [pq.read_metadata(path).num_rows for path in sorted(tmp_path.glob("*.parquet"))]
    assert rows == [1, 2]


def test_a_stopped_conversion_goes_on_with_the_part_that_is_missing(tmp_path: Path):
    def stopping() -> Iterator[Sample]:
        yield from made(5)
        raise KeyboardInterrupt

    layout = LAYOUTS["canonical"]
    with pytest.raises(KeyboardInterrupt):
        write_parts(tmp_path, stopping(), layout, Rejects(None), rows_per_part=2)
    assert sorted(path.name for path in tmp_path.glob("part*")) == ["part-00000.parquet", "part-00001.parquet"]
    before = (tmp_path / "part-00000.parquet").stat()
    done: list[int] = []
    count, names = write_parts(tmp_path, made(7), layout, Rejects(None), rows_per_part=2, on_done=done.append)
    assert (count, len(names), sum(done)) == (7, 4, 7)
    assert (tmp_path / "part-00000.parquet").stat().st_mtime_ns == before.st_mtime_ns
    assert [one.id for one in read(tmp_path)] == [f"s{i}" for i in range(7)]


@pytest.mark.parametrize(
    ("target", "name", "good"),
    [
        *((target, "canonical", True) for target in ("-", "x.jsonl", "x.parquet", "folder")),
        *((target, "verl", target in ("x.parquet", "folder")) for target in ("-", "x.jsonl", "x.parquet", "folder")),
        *((target, "vlm-r1", target == "folder") for target in ("-", "x.jsonl", "x.parquet", "folder")),
        ("x.json", "canonical", False),
    ],
)
def test_an_output_that_a_layout_cannot_have_is_refused(target: str, name: str, good: bool):
    if good:
        check_target(target, LAYOUTS[name])
    else:
        with pytest.raises(UsageError, match=f"{name} is written to|written as canonical only"):
            check_target(target, LAYOUTS[name])
