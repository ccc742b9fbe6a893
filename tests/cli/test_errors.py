"""Bad input: one clear line, the documented exit code, and rejects where records are concerned."""

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Cli, Started, lines_of

from builders import line, picture


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def fake(source: object, output: object, *more: object) -> list[object]:
    return ["rollout", source, "--engine", "fake", "--model", "3", "-n", 2, "-o", output, *more]


QUESTION = {"problem": "What is 1 + 2?", "answer": "3", "answer_type": "number"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rollot"], 2, "No such command 'rollot'"),
        (["rollout"], 2, "Missing option '--model'"),
        (["rollout", "--model", "x"], 2, "no input; give a path, or - for stdin"),
        (["rollout", "no.parquet", "--model", "."], 2, "no.parquet does not exist"),
        (["rollout", "{pool}", "-i", "{pool}", "--model", "x"], 2, "the input is given twice"),
        (["rollout", "{pool}", "--model", "nowhere"], 2, "model 'nowhere': no such directory"),
        (["rollout", "{pool}", "--model", "./no/where"], 2, "no such directory"),
        (["rollout", "{pool}", "--model", "{pool}"], 2, "no such directory"),
        (["rollout", "{pool}", "--model", "{here}"], 2, "config.json is missing"),
        (
            ["rollout", "{pool}", "--model", "{here}", "--engine", "fakes"],
            2,
            "unknown engine 'fakes'. Did you mean 'fake'?",
        ),
        (["rollout", "{pool}", "--model", "x", "--engine", "fake", "-n", "0"], 2, "-n: rollout.n: Input should be"),
        (["rollout", "{pool}", "--model", "x", "--shard", "4/4"], 2, "--shard '4/4'"),
        (["rollout", "{pool}", "--model", "x", "-q", "-v"], 2, "-q and -v cannot both be given"),
        (["score", "no.jsonl"], 2, "no.jsonl does not exist"),
        (["score", "{here}"], 2, "holds no .jsonl or .parquet file"),
        (["score", "{pool}x"], 2, "does not exist"),
        (["score", "--reward", "nothing"], 2, "unknown reward 'nothing'"),
        (["score", "--reward", "no.py:f"], 2, "no such file: no.py"),
        (["score", "--mode", "lax"], 2, "'lax' is not one of"),
        (["score", "--timeout", "0"], 2, "--timeout: score.timeout: Input should be greater than 0"),
        (["score", "--null-as", "nan"], 2, "--null-as nan: JSON has no such number"),
        (["score", "-s", "score.weights.accuracy=.inf"], 2, "score.weights.accuracy: Input should be a finite number"),
        (["score", "--fail-on", "few"], 2, "--fail-on 'few'"),
        (["score", "-s", "scor.mode=x"], 2, "no such setting 'scor.mode'. Did you mean 'score.mode'?"),
        (["score", "-c", "no.yaml"], 2, "cannot read the settings file no.yaml"),
        (["curate", "--samples", "{pool}", "-i", "no.jsonl", "-o", "out"], 2, "no.jsonl does not exist"),
        (["curate", "--samples", "-", "-i", "-", "-o", "out"], 2, "cannot both be stdin"),
        (["train", "--stage", "3", "-i", "{pool}", "--model", "x", "-o", "out"], 2, "--stage 3"),
        (
            ["train", "--stage", "1", "-i", "{pool}", "--model", "x", "-o", "out", "--preset", "tin"],
            2,
            "Did you mean 'tiny'",
        ),
        (["train", "--stage", "1", "-i", "{pool}", "--model", "x", "-o", "out"], 2, "model 'x': no such directory"),
        (["eval", "--model", "x", "--samples", "{pool}", "-o", "out", "--min", "accuracy"], 2, "--min 'accuracy'"),
        (["report", "no"], 2, "no"),
        (["config", "show", "--section", "trian"], 2, "Did you mean 'train'?"),
        (["data", "synth", "-o", "x.csv"], 2, "write .parquet or .jsonl"),
        (["doctor", "--need", "sglang"], 5, 'pip install "ovrl[sglang]"'),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(
    cli: Cli, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    result = cli(*(argument.format(pool=pool, here=tmp_path) for argument in arguments))
    assert result.code == code
    assert message in result.error
    assert result.out == ""
    assert not (tmp_path / "out" / "_SUCCESS").exists()


@pytest.mark.parametrize("group", [[], ["data"], ["config"]])
def test_without_a_command_the_help_is_shown(cli: Cli, group: list[str]):
    result = cli(*group)
    assert result.code == 2
    assert result.err.startswith("Usage: ovrl")
    assert result.err.count("\n") > 5


def test_bad_samples_go_to_rejects_with_line_id_and_reason(cli: Cli, tmp_path: Path):
    (tmp_path / "torn.png").write_bytes(picture((64, 64))[:60])
    path = write(
        tmp_path / "d.jsonl",
        {"id": "good", **QUESTION},
        {"id": "no-image", **QUESTION, "problem": "<image>?", "images": ["no.png"]},
        {"id": "torn-image", **QUESTION, "problem": "<image>?", "images": ["torn.png"]},
        {"id": "marks", **QUESTION, "problem": "<image><image>?", "images": ["no.png"]},
        {"id": "no-answer", "problem": "?", "answer": []},
        {"id": "good", **QUESTION},
    )
    with path.open("a") as file:
        file.write('{"id": "half", "prob')
    result = cli(*fake(path, tmp_path / "out"))
    assert result.code == 3
    assert "finished, but 6 of 7 records were bad (--fail-on 0)" in result.error
    rejects = lines_of(tmp_path / "out" / "rejects.jsonl")
    assert sorted((entry["line"], entry["id"], entry["field"]) for entry in rejects if entry["line"] < 7) == [
        (2, "no-image", "images"),
        (3, "torn-image", "images"),
        (4, "marks", "problem"),
        (5, "no-answer", "answer"),
        (6, "good", "id"),
    ]
    assert [r["id"] for r in lines_of(tmp_path / "out" / "completions.jsonl")] == ["good#0", "good#1"]
    assert (tmp_path / "out" / "_SUCCESS").exists()  # the output is complete
    again = cli(*fake(path, tmp_path / "out"))
    assert again.code == 3, "the same command again may not turn a failure into a success"
    assert "6 of 7" in again.error
    assert cli(*fake(path, tmp_path / "fine", "--fail-on", "90%")).code == 0
    assert cli(*fake(path, tmp_path / "few", "--fail-on", 5)).code == 3


def test_bad_lines_to_score_go_to_rejects(cli: Cli, tmp_path: Path):
    path = write(
        tmp_path / "c.jsonl", line("a"), {"id": "x", "answer": "3"}, {"id": "y", "completion": "3"}, [1], line("b")
    )
    with path.open("a") as file:
        file.write('{"id": "half", "com')
    result = cli("score", path, "-o", tmp_path / "s.jsonl")
    assert result.code == 3
    assert "4 of 6" in result.error
    assert [record["sample_id"] for record in lines_of(tmp_path / "s.jsonl")] == ["a", "b"]
    rejects = lines_of(tmp_path / "s.jsonl.rejects.jsonl")
    assert [(entry["line"], entry["id"], entry["field"]) for entry in rejects] == [
        (2, "x", "completion"),
        (3, "y", "answer"),
        (4, None, None),
        (6, None, None),
    ]
    assert cli("score", path, "-o", tmp_path / "s.jsonl").code == 3


def test_an_unscored_line_counts_as_bad(cli: Cli, tmp_path: Path):
    path = write(tmp_path / "c.jsonl", line("a"), line("b", answer=""))
    result = cli("score", path, "-o", tmp_path / "s.jsonl")
    assert result.code == 3
    assert [(r["status"], r["reward"]) for r in lines_of(tmp_path / "s.jsonl")] == [("ok", 1.0), ("invalid_gold", None)]


def test_an_unknown_answer_type_is_scored_as_any_with_one_warning_that_counts(cli: Cli, tmp_path: Path):
    lines = [line(str(i), answer_type=kind) for i, kind in enumerate(["riddle", "number", None, "riddle"])]
    result = cli("score", write(tmp_path / "c.jsonl", *lines), "-o", "-")
    assert result.code == 0
    assert [record["scorer"] for record in result.records] == ["exact", "number", "exact", "exact"]
    assert [record["answer_type"] for record in result.records] == ["riddle", "number", None, "riddle"]
    (warning,) = (text for text in result.err.splitlines() if "WARNING" in text)
    assert "3 lines have no answer_type, or an unknown one" in warning


def test_a_directory_in_use_is_refused_and_the_one_who_has_it_goes_on(cli: Cli, pool: Path, tmp_path: Path):
    from builders import identity
    from ovrl.store import Directory

    with Directory(tmp_path / "out", identity()):
        for arguments in (fake(pool, tmp_path / "out"), fake(pool, tmp_path / "out", "--overwrite")):
            result = cli(*arguments)
            assert result.code == 2
            assert "is in use by another ovrl command" in result.error
    assert (tmp_path / "out" / "manifest.json").exists()


def test_changed_settings_are_refused_and_overwrite_starts_again(cli: Cli, pool: Path, tmp_path: Path):
    for output in (tmp_path / "out", tmp_path / "c.jsonl"):
        assert cli(*fake(pool, output)).code == 0
        for more, named in (
            (["--seed", "7"], "seed: 42 -> 7"),
            (["--temperature", "0.5"], "sampling.temperature: 1.0 -> 0.5"),
            (["--limit", "3"], "limit: None -> 3"),
        ):
            result = cli(*fake(pool, output, *more))
            assert result.code == 2
            assert named in result.error
        assert cli(*fake(pool, output, "-s", "rollout.engine.batch_size=1")).code == 0  # speed may change
        result = cli(*fake(pool, output, "--seed", "7", "--overwrite", "--json"))
        assert result.code == 0
        assert json.loads(result.out)["completions"] == 24


def test_a_foreign_directory_is_refused(cli: Cli, pool: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("x")
    result = cli(*fake(pool, tmp_path, "--overwrite"))
    assert result.code == 2
    assert "is not empty" in result.error
    assert (tmp_path / "mine.txt").read_text() == "x"


def test_a_metric_below_its_floor_or_missing_is_exit_code_4(cli: Cli, jsonl: Path, tmp_path: Path):
    arguments = [
        "eval",
        "--model",
        "3",
        "-s",
        "eval.engine.engine=fake",
        "--samples",
        jsonl,
        "-n",
        1,
        "-o",
        tmp_path / "e",
    ]
    assert cli(*arguments).code == 0
    assert "below --min 1.1" in cli(*arguments, "--min", "accuracy=1.1").error
    result = cli(*arguments, "--min", "beauty=0.1")
    assert result.code == 4
    assert "no such metric was measured" in result.error
    assert cli(*arguments, "--min", "accuracy=0").code == 0


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(shell: Started, jsonl: Path, tmp_path: Path):
    """RLIMIT_FSIZE ends writes in the middle of a line, as a full disk does; the signal that it sends is ignored."""
    arguments = fake(jsonl, "small/c.jsonl")

    def limited() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    stopped = shell.finish(*arguments, preexec_fn=limited)
    assert stopped.code == 1
    assert "the same command goes on from here" in stopped.error
    assert not (tmp_path / "small" / "c.jsonl").exists()
    kept = (tmp_path / "small" / "c.jsonl.partial").read_bytes()
    assert len(kept) == 3000  # the last line is torn
    assert shell.finish(*arguments).code == 0
    records = lines_of(tmp_path / "small" / "c.jsonl")
    assert len({record["id"] for record in records}) == len(records) == 24
    assert (tmp_path / "small" / "c.jsonl").read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_tmpfs_is_one_line_and_the_same_command_goes_on(cli: Cli, jsonl: Path, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        result = cli(*fake(jsonl, small / "out"))
        assert result.code == 1
        assert "No space left on device" in result.error
        subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
        assert cli(*fake(jsonl, small / "out")).code == 0
        assert len({record["id"] for record in lines_of(small / "out" / "completions.jsonl")}) == 24
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_full_stdout_is_one_line(shell: Started, tmp_path: Path):
    path = write(tmp_path / "c.jsonl", line("a"))
    with Path("/dev/full").open("w") as full:
        result = shell.finish("score", path, stdout=full)
    assert result.code == 1
    assert "No space left on device" in result.error
    assert "Exception ignored" not in result.err


def test_text_is_utf_8_whatever_the_locale_says(shell: Started):
    record = json.dumps(line("ä", completion="<answer>é 😀</answer>"), ensure_ascii=False).encode()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    process = shell.start("score", stdin=subprocess.PIPE, env=environment)
    out, err = process.communicate(record.replace("😀".encode(), b"\xff") + b"\n" + record, timeout=240)
    assert process.returncode == 0, err
    assert [json.loads(text)["completion"] for text in out.decode().splitlines()] == [
        "<answer>é \ufffd</answer>",
        "<answer>é 😀</answer>",
    ]
    assert sys.getdefaultencoding() == "utf-8"
