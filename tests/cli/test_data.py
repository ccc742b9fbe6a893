"""`ovrl data convert|check|stats`, through the command line: files, streams, exit codes, bad input."""

import io
import json
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_fixtures import Cli, Started, lines_of

from builders import picture, ref, sample
from ovrl import parquet
from ovrl.records import ImageRef
from ovrl.rejects import Rejects
from ovrl.samples import read_samples


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "problem": f"What is {name}?", "answer": ["3"], "answer_type": "number", **fields}


def ids(source: Path) -> list[str]:
    return [one.id for one in read_samples(str(source), Rejects(None))]


VIRL = [
    {
        "qid": f"q{i}",
        "question": "<image>Find x.",
        "answer": "\\boxed{3}",
        "image": [f"images/{i}.png"],
        "category": "c",
    }
    for i in range(3)
]


@pytest.fixture
def virl39k(tmp_path: Path) -> Path:
    """The published file with its images, of which one is missing."""
    folder = tmp_path / "virl"
    (folder / "images").mkdir(parents=True)
    for number in (0, 2):
        (folder / "images" / f"{number}.png").write_bytes(picture(color=(number, 0, 0)))
    pq.write_table(pa.Table.from_pylist(VIRL), folder / "39Krelease.parquet")
    return folder / "39Krelease.parquet"


def test_a_public_data_set_becomes_parts_with_images_a_manifest_and_rejects(cli: Cli, virl39k: Path, tmp_path: Path):
    arguments = ["data", "convert", "--from", "virl39k", virl39k, "-o", tmp_path / "out"]
    result = cli(*arguments)
    assert result.code == 3
    assert "1 of 3 records were bad" in result.error
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        *("_SUCCESS", "manifest.json", "part-00000.parquet", "rejects.jsonl"),
    ]
    (reject,) = lines_of(out / "rejects.jsonl")
    assert (reject["id"], reject["line"], reject["field"]) == ("virl39k-q1", 2, "images")
    assert reject["where"].endswith("39Krelease.parquet:2")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["counts"] == {"samples": 2, "rejected": 1}
    assert manifest["settings"]["from"] == "virl39k"
    assert manifest["inputs"][str(virl39k)]["rows"] == 3
    found = list(read_samples(str(out), Rejects(None)))
    assert [one.id for one in found] == ["virl39k-q0", "virl39k-q2"]
    assert found[0].images[0].data == picture(color=(0, 0, 0))
    assert (again := cli(*arguments, "--fail-on", 1)).code == 0
    assert "already complete" in again.err


def test_a_stopped_conversion_goes_on_and_forgets_no_reject(cli: Cli, virl39k: Path, tmp_path: Path):
    arguments = ["data", "convert", "--from", "virl39k", virl39k, "-o", tmp_path / "out", "--rows-per-part", 1]
    assert cli(*arguments, "--fail-on", 1).code == 0
    whole = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "manifest.json"}
    for name in ("_SUCCESS", "part-00002.parquet"):
        (tmp_path / "out" / name).unlink()
    result = cli(*arguments, "--json")
    assert result.code == 3  # the image of the finished part 1 is still missing
    counts = json.loads(result.out)
    assert (counts["samples"], counts["rejected"]) == (2, 1)
    again = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "manifest.json"}
    assert again == whole


def test_images_may_lie_elsewhere(cli: Cli, virl39k: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (virl39k.parent / "images").rename(tmp_path / "elsewhere" / "images")
    moved = ["data", "convert", "--from", "virl39k", virl39k, "--images", tmp_path / "elsewhere"]
    assert cli(*moved, "-o", tmp_path / "out", "--fail-on", 1).code == 0
    assert len(ids(tmp_path / "out")) == 2
    assert "is not a directory" in cli(*moved, "--images", tmp_path / "no", "-o", tmp_path / "x").error


@pytest.mark.parametrize("layout", ["verl", "easyr1", "trl", "ms-swift", "vlm-r1"])
def test_any_layout_and_back_says_the_same(cli: Cli, pool: Path, tmp_path: Path, layout: str):
    assert cli("data", "convert", pool, "--to", layout, "-o", tmp_path / layout).code == 0
    assert cli("data", "convert", tmp_path / layout, "-o", tmp_path / "back.parquet").code == 0
    assert cli("data", "convert", pool, "-o", tmp_path / "straight.parquet").code == 0
    back, straight = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("back", "straight"))
    for one in (*back, *straight):
        one["images"] = [image["bytes"] for image in one["images"]]  # names of files differ
    assert back == straight


def test_json_lines_go_to_stdout_and_come_from_stdin(cli: Cli, pool: Path, monkeypatch: pytest.MonkeyPatch):
    out = cli("data", "convert", pool, "-o", "-", "-q")
    assert [record["id"] for record in out.records] == ids(pool)
    monkeypatch.setattr("sys.stdin", io.StringIO(out.out))
    result = cli("data", "stats", "-", "--json")
    assert json.loads(result.out)["samples"] == 12


def test_limit_shard_and_dry_run(cli: Cli, pool: Path, tmp_path: Path):
    part = cli("data", "convert", pool, "-o", "-", "--shard", "1/4", "--limit", 2)
    assert [record["id"] for record in part.records] == ids(pool)[1:8:4]
    dry = cli("data", "convert", pool, "-o", tmp_path / "out", "--dry-run", "--json")
    assert json.loads(dry.out) == {"command": "data convert (dry run)", "samples": 12, "rejected": 0}
    assert not (tmp_path / "out").exists()


def test_changed_settings_are_refused_and_overwritten_when_told(cli: Cli, pool: Path, tmp_path: Path):
    for target in ("out", "x.parquet", "x.jsonl"):
        arguments = ["data", "convert", pool, "-o", tmp_path / target]
        assert cli(*arguments).code == 0
        assert "was begun with something else (limit: None -> 3)" in cli(*arguments, "--limit", 3).error
        assert cli(*arguments, "--limit", 3, "--overwrite").code == 0
        assert len(ids(tmp_path / target)) == 3


def test_the_output_is_never_one_of_the_inputs(cli: Cli, tmp_path: Path):
    write(tmp_path / "a.jsonl", row("a"))
    result = cli("data", "convert", f"{tmp_path}/*.jsonl", "-o", tmp_path / "a.jsonl", "--overwrite")
    assert "is, or holds, the input" in result.error
    assert ids(tmp_path / "a.jsonl") == ["a"]


def test_the_answer_type_of_rows_that_state_none(cli: Cli, tmp_path: Path):
    path = write(tmp_path / "d.jsonl", row("a", answer_type=None), row("b", answer_type="boolean"))
    result = cli("data", "convert", path, "--answer-type", "number", "-o", "-")
    assert [record["answer_type"] for record in result.records] == ["number", "boolean"]
    wrong = cli("data", "convert", path, "--answer-type", "numbers", "-o", "-")
    assert wrong.code == 2
    assert "Did you mean 'number'?" in wrong.error


def test_rows_of_another_task_are_counted_as_skipped(cli: Cli, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture())
    rows = [{"type": kind, "image_path": "a.png", "q_text": kind, "a_text": "<svg/>"} for kind in ("ISVGEN", "SVGUN")]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    result = cli("data", "convert", "--from", "unisvg", tmp_path / "d.json", "-o", tmp_path / "out", "--json")
    counts = json.loads(result.out)
    assert (counts["samples"], counts["rejected"], counts["skipped"]) == (1, 0, 1)


def test_a_row_of_another_shape_than_the_source_expects_is_a_reject(cli: Cli, tmp_path: Path):
    (tmp_path / "mine.py").write_text("def convert(row, *, seed):\n    return {'problem': row['q'], 'answer': '1'}\n")
    path = write(tmp_path / "d.jsonl", {"q": "?"}, {"p": "?"}, {"q": "!"})
    result = cli("data", "convert", "--from", f"{tmp_path}/mine.py:convert", path, "-o", tmp_path / "o.jsonl")
    assert result.code == 3
    (reject,) = lines_of(tmp_path / "o.jsonl.rejects.jsonl")
    assert reject["line"] == 2
    assert "KeyError: 'q'" in reject["reason"]
    assert len(ids(tmp_path / "o.jsonl")) == 2


def test_what_is_ambiguous_or_unknown_is_refused_by_name(cli: Cli, tmp_path: Path):
    path = write(tmp_path / "d.jsonl", row("a", messages=[]))
    for command in (["data", "stats"], ["data", "check"], ["rollout", "--engine", "fake", "--model", "3", "-o", "-"]):
        result = cli(*command, path)
        assert result.code == 2
        assert "fit several layouts: canonical (answer, problem), ms-swift (messages)" in result.error
    assert [one["id"] for one in cli("data", "convert", "--from", "canonical", path, "-o", "-").records] == ["a"]
    unknown = cli("data", "stats", write(tmp_path / "u.jsonl", {"question": "?"}))
    assert unknown.code == 2
    assert "no known layout has the columns question" in unknown.error
    assert "Did you mean 'virl39k'?" in cli("data", "stats", "--from", "virl39", path).error


def test_every_command_reads_every_layout(cli: Cli, tmp_path: Path):
    path = write(tmp_path / "d.jsonl", {"messages": [{"role": "user", "content": "2 + 1?"}], "solution": "3"})
    result = cli("rollout", path, "--engine", "fake", "--model", "<answer>3</answer>", "-n", 1, "-o", "-")
    assert [(one["problem"], one["answer"]) for one in result.records] == [("2 + 1?", ["3"])]


def test_a_set_with_every_fault_is_read_to_its_end(cli: Cli, tmp_path: Path):
    """Each fault has its line in the rejects, and the rest goes through."""
    folder = tmp_path / "set"
    folder.mkdir()
    parquet.write_samples(folder / "a.parquet", [sample("a1"), sample("a2", images=())])
    parquet.write_samples(folder / "b.parquet", [sample("b1")])
    (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-9])
    lines = [row("c1"), row("c2", answer=[]), row("a1"), row("c3", images=["no.png"])]
    write(folder / "c.jsonl", *lines).open("a").write('{"id": "c4", "prob')
    result = cli("data", "convert", folder, "-o", tmp_path / "out")
    assert result.code == 3
    assert ids(tmp_path / "out") == ["a1", "a2", "c1"]
    rejects = [(one["where"].rpartition("/")[2], one["reason"]) for one in lines_of(tmp_path / "out" / "rejects.jsonl")]
    assert [where for where, _ in rejects] == ["b.parquet", "c.jsonl:2", "c.jsonl:3", "c.jsonl:4", "c.jsonl:5"]
    for (_, reason), words in zip(
        rejects,
        ("is not a parquet file", "the list is empty", "'a1' is used twice", "cannot read", "the line is torn"),
        strict=True,
    ):
        assert words in reason


def bomb() -> bytes:
    """Return a whole PNG of a megabyte or less that holds 40,000 x 40,000 black pixels."""
    header = (40_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(40_000 * 5_001), 9)), (b"IEND", b""))
    signed = [(len(data), name + data) for name, data in chunks]
    parts = [size.to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") for size, body in signed]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A set in which every sample but `good` has one fault."""
    path = tmp_path / "faulty.parquet"
    parquet.write_samples(
        path,
        [
            sample("good", images=(ref("green"),)),
            sample("bomb", problem="<image>1", images=(ImageRef(data=bomb()),)),
            sample("torn", problem="<image>2", images=(ImageRef(data=picture((90, 90))[:80]),)),
            sample("marks", problem="No mark."),
            sample("gold", problem="<image>3", answer=(" ",)),
            sample("type", problem="<image>4", answer_type="numbr", answer=("x",)),
            sample("twice", problem="<image> how  many", images=(ref("green"),)),
            sample("box", problem="<image>5", answer=("[3, 3, 1, 1]",), answer_type="bbox"),
            sample("code", problem="<image>6", answer=("{}",), answer_type="general-code"),
        ],
    )
    return path


def test_check_finds_each_fault_once_and_says_so_in_its_exit_code(cli: Cli, faulty: Path, tmp_path: Path):
    result = cli("data", "check", faulty)
    assert result.code == 3
    assert "7 of 9 records were bad (--fail-on 0); see the lines above" in result.error
    found = [(one["id"], one["kind"]) for one in result.records]
    assert found == [
        *(("bomb", "image"), ("torn", "image"), ("marks", "marks"), ("gold", "gold")),
        *(("type", "answer-type"), ("twice", "duplicate"), ("box", "gold")),
    ]
    assert all(one["where"].startswith(str(faulty)) and one["reason"] for one in result.records)
    assert "1600000000 pixels" in result.records[0]["reason"]
    assert "golds_unchecked=1" in result.err
    for kind in ("image", "marks", "gold", "duplicate"):
        assert kind in result.err  # the table
    assert cli("data", "check", faulty, "--fail-on", 7).code == 0
    quick = cli("data", "check", faulty, "--no-golds", "--fail-on", "60%")
    assert [one["kind"] for one in quick.records].count("gold") == 0


def test_findings_go_to_a_file_that_is_complete_or_absent(cli: Cli, faulty: Path, tmp_path: Path):
    out = tmp_path / "findings.jsonl"
    arguments = ["data", "check", faulty, "-o", out]
    assert cli(*arguments).code == 3
    assert len(lines_of(out)) == 7
    again = cli(*arguments, "--json")
    assert again.code == 3  # what was found is no less true the second time
    summary = json.loads(again.out)
    assert summary["note"] == "already complete"
    assert (summary["records"], summary["bad"], summary["gold"]) == (9, 7, 2)
    assert cli("data", "check", faulty, "-o", tmp_path / "x.csv").code == 2


def test_check_against_an_evaluation_set(cli: Cli, tmp_path: Path):
    parquet.write_samples(tmp_path / "train.parquet", [sample("a"), sample("b", images=(ref("blue"),), answer=("4",))])
    evaluation = write(
        tmp_path / "eval.jsonl",
        {
            "id": "e1",
            "messages": [{"role": "user", "content": "<image>how many"}],
            "solution": "3",
            "images": ["e.png"],
        },
    )
    (tmp_path / "e.png").write_bytes(picture(form="PNG"))
    result = cli("data", "check", tmp_path / "train.parquet", "--against", evaluation)
    assert result.code == 3
    assert [(one["id"], one["kind"], one["other"]) for one in result.records] == [("a", "leak", "e1")]
    assert cli("data", "check", tmp_path / "train.parquet", "--against", tmp_path / "no.jsonl").code == 2


def test_a_check_that_compared_nothing_is_no_success(cli: Cli, tmp_path: Path):
    train = write(tmp_path / "train.jsonl", row("a", images=[]))
    evaluation = write(tmp_path / "eval.jsonl", row("e", problem="<image>?", images=["no.png"]))
    evaluation.open("a").write("{\n")
    for arguments, code in (((), 3), (("--fail-on", 2), 0), (("--fail-on", "66%"), 3), (("--fail-on", "67%"), 0)):
        result = cli("data", "check", train, "--against", evaluation, "--json", *arguments)
        assert result.code == code
        assert [(one["id"], one["kind"]) for one in result.records[:2]] == [("e", "uncompared"), (None, "uncompared")]
    assert "uncompared" in cli("data", "check", train, "--against", evaluation).err
    empty = write(tmp_path / "empty.jsonl", {"id": "x", "problem": "?"})
    assert cli("data", "check", train, "--against", empty).code == 2
    twice = cli("data", "check", "-", "--against", "-")
    assert (twice.code, "cannot both be stdin" in twice.error) == (2, True)


def test_a_lost_shard_or_row_group_is_not_one_record(cli: Cli, tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in "ab":
        parquet.write_samples(folder / f"{name}.parquet", [sample(f"{name}{i}", images=()) for i in range(20)])
    lost = folder / "b.parquet"
    lost.write_bytes(lost.read_bytes()[:-9])
    for command in (("convert", "-o", "-"), ("convert", "-o", tmp_path / "out"), ("stats",), ("check", "--no-golds")):
        result = cli("data", *command[:1], folder, *command[1:], "--fail-on", "100%")
        assert result.code == 3
        assert "1 files are lost with an unknown number of records" in result.error
    assert len(ids(tmp_path / "out")) == 20
    again = cli("data", "convert", folder, "-o", tmp_path / "out", "--fail-on", "100%")
    assert again.code == 3  # of the finished output, too
    assert cli("data", "convert", folder, "-o", tmp_path / "out", "--fail-on", 1).code == 0


@pytest.mark.parametrize("target", ["out", "out.parquet", "out.jsonl", "-"])
def test_a_missing_image_file_is_a_reject_in_every_output(cli: Cli, tmp_path: Path, target: str):
    (tmp_path / "a.png").write_bytes(picture())
    one, two = (row(name, problem="<image>?", images=[f"{name}.png"]) for name in "ab")
    path = write(tmp_path / "d.jsonl", one, two)
    output = target if target == "-" else tmp_path / target
    result = cli("data", "convert", path, "-o", output, "--rejects", tmp_path / "bad.jsonl")
    assert result.code == 3
    (reject,) = lines_of(tmp_path / "bad.jsonl")
    assert (reject["id"], reject["line"], reject["field"]) == ("b", 2, "images")
    assert [record["id"] for record in result.records] == ["a"] if target == "-" else ids(Path(output)) == ["a"]


def test_stats_are_a_table_for_people_and_one_object_for_programs(cli: Cli, pool: Path):
    shown = cli("data", "stats", pool)
    assert (shown.code, shown.out) == (0, "")
    for words in ("answer_type", "multiple-choice", "image_width", "median", "samples=12"):
        assert words in shown.err
    counts = json.loads(cli("data", "stats", pool, "--json").out)
    assert counts["samples"] == sum(counts["source"].values()) == 12
    assert counts["image_width"] == {"min": 96, "median": 96, "p95": 96, "max": 96}


def test_stats_count_what_cannot_be_read(cli: Cli, tmp_path: Path):
    path = write(tmp_path / "d.jsonl", row("a"), row("b", answer=[]))
    result = cli("data", "stats", path)
    assert result.code == 3
    assert "samples=1  rejected=1" in result.err


def test_a_reader_that_has_enough_ends_convert_quietly(shell: Started, pool: Path):
    import subprocess

    process = shell.start("data", "convert", pool, "-o", "-", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=240) == 0
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
