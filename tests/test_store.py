import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from builders import identity
from ovrl import store
from ovrl.errors import UsageError
from ovrl.json_lines import JsonLines
from ovrl.store import Directory, OutputFile


def write(target: Path, count: int, *, stop_at: int | None = None, name: str = "rows.jsonl", **settings: Any) -> int:
    """Write lines 0..count-1 and finish, or die before line `stop_at`; return how many were found done."""
    with JsonLines(str(target), name, identity(**settings)) as lines:
        if lines.finished:
            return count
        recovered = len(lines.recovered)
        for number in range(recovered, count):
            if number == stop_at:
                raise KeyboardInterrupt
            lines.write({"n": number})
        lines.finish({"lines": count})
        return recovered


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_text().splitlines()]


@pytest.fixture(params=["out.jsonl", "out"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "deep" / str(request.param)


def final(target: Path) -> Path:
    return target if target.suffix else target / "rows.jsonl"


def test_the_final_name_is_there_when_the_output_is_complete_and_not_before(target: Path):
    with pytest.raises(KeyboardInterrupt):
        write(target, 5, stop_at=3)
    partial = final(target).with_name(f"{final(target).name}.partial")
    assert not final(target).exists()
    assert numbers(partial) == [0, 1, 2]
    assert write(target, 5) == 3  # goes on
    assert numbers(final(target)) == [0, 1, 2, 3, 4]
    assert not partial.exists()
    assert write(target, 5) == 5  # all is done
    if not target.suffix:
        assert (target / "_SUCCESS").exists()


@pytest.mark.parametrize("tail", [b'{"n": 2', b'{"n"', b"\xff\xfe\n", b'{"n": 2}'])
def test_a_torn_tail_is_cut_and_written_again(target: Path, tail: bytes):
    with pytest.raises(KeyboardInterrupt):
        write(target, 4, stop_at=2)
    with final(target).with_name(f"{final(target).name}.partial").open("ab") as file:
        file.write(tail)
    assert write(target, 4) == 2
    assert numbers(final(target)) == [0, 1, 2, 3]


def test_a_kill_between_the_last_line_and_success_repeats_nothing(tmp_path: Path):
    write(tmp_path / "out", 3)
    (tmp_path / "out" / "_SUCCESS").unlink()
    assert write(tmp_path / "out", 3) == 3
    assert numbers(tmp_path / "out" / "rows.jsonl") == [0, 1, 2]
    assert (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.parametrize("done", [True, False])
def test_changed_settings_are_refused_by_name_and_nothing_is_touched(target: Path, done: bool):
    if done:
        write(target, 3, rate=1, nested={"a": 1, "b": 2})
    else:
        with pytest.raises(KeyboardInterrupt):
            write(target, 3, stop_at=2, rate=1, nested={"a": 1, "b": 2})
    before = {path.name: path.read_bytes() for path in target.parent.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"nested\.b: 2 -> 3.*--overwrite") as caught:
        write(target, 3, rate=1, nested={"a": 1, "b": 3})
    assert "rate" not in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in target.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 2}, "seed: 1 -> 2"),
        ({"command": "other"}, "command: 'test' -> 'other'"),
        ({"inputs": {"a.jsonl": {"sha256": "y", "rows": 1}}}, "the content of a.jsonl"),
        ({"inputs": {"a.jsonl": {"sha256": "x"}, "b.jsonl": {"sha256": "z"}}}, "the content of b.jsonl"),
    ],
)
def test_another_command_seed_or_input_is_refused(target: Path, change: dict[str, Any], named: str):
    first: dict[str, Any] = {"inputs": {"a.jsonl": {"sha256": "x", "rows": 1}}}
    JsonLines(str(target), "rows.jsonl", identity(**first)).__exit__(None, None, None)
    with pytest.raises(UsageError, match=named):
        JsonLines(str(target), "rows.jsonl", identity(**first | change))


def test_an_input_that_only_moved_is_the_same_input(target: Path):
    for name in ("a.jsonl", "elsewhere/a.jsonl"):
        with JsonLines(str(target), "rows.jsonl", identity(inputs={name: {"sha256": "x", "rows": 1}})):
            pass


def test_an_output_in_use_is_refused_also_with_overwrite(target: Path):
    with JsonLines(str(target), "rows.jsonl", identity()) as lines:
        lines.write({"n": 0})
        for overwrite in (False, True):
            with pytest.raises(UsageError, match="in use by another"):
                JsonLines(str(target), "rows.jsonl", identity(), overwrite=overwrite)
        lines.write({"n": 1})
        lines.finish({})
    assert numbers(final(target)) == [0, 1]


def test_overwrite_starts_again(target: Path):
    write(target, 3)
    with JsonLines(str(target), "rows.jsonl", identity(other=1), overwrite=True) as lines:
        assert (lines.finished, lines.recovered) == (False, [])
        assert not final(target).exists()
        lines.write({"n": 7})
        lines.finish({})
    assert numbers(final(target)) == [7]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_of_someone_else_is_never_emptied(tmp_path: Path, overwrite: bool):
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(UsageError, match=r"is not empty \(thesis.tex"):
        Directory(tmp_path, identity(), overwrite=overwrite)
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(UsageError, match="not written by ovrl"):
        Directory(tmp_path, identity(), overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "ten years"


def test_a_file_of_someone_else_is_kept_unless_overwrite_is_given(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists; give --overwrite"):
        OutputFile(path, identity())
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.jsonl").mkdir()
    for target in (
        tmp_path / "file",
        tmp_path / "file" / "x.jsonl",
        tmp_path / "file" / "x",
        tmp_path / "folder.jsonl",
    ):
        with pytest.raises(UsageError, match=r"file|directory"):
            JsonLines(str(target), "rows.jsonl", identity())


def test_the_manifest_says_what_was_made_from_what(target: Path):
    write(target, 3, rate=1)
    beside = target.with_name(f"{target.name}.manifest.json") if target.suffix else target / "manifest.json"
    found = json.loads(beside.read_text())
    assert found["argv"][0] == "ovrl"
    assert (found["settings"], found["seed"], found["counts"]) == ({"rate": 1}, 1, {"lines": 3})
    assert found["outputs"] == {final(target).name: store.describe(final(target))}
    assert found["started"] <= found["finished"]
    assert {"ovrl_version", "python", "packages", "inputs", "limited", "resumed"} <= set(found)


def test_a_resumed_run_keeps_its_start_and_tells_its_resumes(target: Path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write(target, 3, stop_at=2)
    write(target, 3)
    beside = target.with_name(f"{target.name}.manifest.json") if target.suffix else target / "manifest.json"
    assert len(json.loads(beside.read_text())["resumed"]) == 2


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.json"
    store.write_json(path, {"old": True})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write_json(path, {"new": True})
    assert json.loads(path.read_text()) == {"old": True}


def test_a_digest_is_of_content_and_names_and_not_of_the_manifest(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
        (tmp_path / name / "manifest.json").write_text(name)
        (tmp_path / name / "_SUCCESS").write_text(name)
    assert store.describe(tmp_path / "a") == store.describe(tmp_path / "b")
    assert store.describe(tmp_path / "a")["rows"] == 2
    (tmp_path / "b" / "x.jsonl").rename(tmp_path / "b" / "y.jsonl")
    assert store.describe(tmp_path / "a") != store.describe(tmp_path / "b")


def test_a_pipe_is_not_used_up_by_its_digest(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert store.describe(tmp_path / "pipe") == {"sha256": None, "rows": None}


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path):
    (tmp_path / "x.parquet").write_text("PAR1 not")
    with pytest.raises(UsageError, match=r"x\.parquet is not a parquet file"):
        store.describe(tmp_path / "x.parquet")


def test_half_a_surrogate_pair_passes_through():
    for text in ("é \ud83d", "é \U0001f600"):
        line = store.dumps({"x": text})
        assert json.loads(line.encode()) == {"x": text}


def test_numbers_that_json_has_not_are_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.dumps({"x": float("nan")})
