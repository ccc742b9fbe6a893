"""The hub, played by a local directory: `datasets` loads both in the same way."""

import sys
from pathlib import Path
from typing import Any

import pytest

from builders import picture, sample
from ovrl import hub, parquet, rows
from ovrl.errors import DependencyError, OvrlError, UsageError
from ovrl.rejects import Rejects
from ovrl.samples import read_samples

datasets = pytest.importorskip("datasets")


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    (tmp_path / "set" / "data").mkdir(parents=True)
    parquet.write_samples(tmp_path / "set" / "data" / "train-0.parquet", [sample("a"), sample("b", images=())])
    parquet.write_samples(tmp_path / "set" / "data" / "test-0.parquet", [sample("c", images=())])
    return tmp_path / "set"


def test_a_data_set_is_read_like_a_file_images_encoded(snapshot: Path):
    found = list(read_samples(f"hf://{snapshot}", Rejects(None)))
    assert found == list(read_samples(str(snapshot / "data" / "train-0.parquet"), Rejects(None)))
    assert found[0].images[0].data == picture()


def test_a_split_is_chosen_by_name_and_a_wrong_one_is_refused(snapshot: Path):
    assert [one.id for one in read_samples(f"hf://{snapshot}:test", Rejects(None))] == ["c"]
    with pytest.raises(UsageError, match="train"):
        list(hub.read_rows(f"{snapshot}:dev"))


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("o/n", ("o/n", None, None, "train")),
        ("o/n:test", ("o/n", None, None, "test")),
        ("o/n/config@v1:test", ("o/n", "config", "v1", "test")),
    ],
)
def test_a_name_says_config_revision_and_split(monkeypatch: pytest.MonkeyPatch, name: str, want: tuple[Any, ...]):
    asked: list[tuple[Any, ...]] = []

    def load_dataset(path: str, config: str | None, *, split: str, revision: str | None, streaming: bool) -> Any:
        assert streaming
        asked.append((path, config, revision, split))
        return datasets.Dataset.from_list([{"x": 1, "y": None}]).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert list(hub.read_rows(name)) == [{"x": 1}]
    assert asked == [want]


def test_a_hub_that_cannot_be_reached_is_a_failure_of_the_run(monkeypatch: pytest.MonkeyPatch):
    def load_dataset(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(OvrlError, match="cannot be reached for hf://o/n: no route") as caught:
        list(hub.read_rows("o/n"))
    assert caught.value.exit_code == 1


def test_without_datasets_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DependencyError, match=r"ovrl\[hub\]"):
        [part.rows for part in rows.read_parts("hf://o/n") for _ in part.rows]
