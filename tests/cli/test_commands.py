"""What each command does when all is well: files, streams, summaries, pipes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fixtures import Cli, Started, lines_of

from builders import line


def feed(monkeypatch: pytest.MonkeyPatch, *records: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(record) + "\n" for record in records)))


@pytest.mark.parametrize("completion", ["completion", "response", "output", "prediction"])
@pytest.mark.parametrize("answer", ["answer", "ground_truth", "gold", "solution"])
def test_score_takes_the_usual_names_and_passes_the_rest_through(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, completion: str, answer: str
):
    record = {completion: "<answer>B</answer>", answer: "B", "answer_type": "multiple-choice", "mine": {"x": [1.5]}}
    feed(monkeypatch, record)
    result = cli("score", "-s", "score.workers=1")
    assert result.code == 0
    (scored,) = result.records
    assert scored.items() >= record.items()
    assert (scored["reward"], scored["status"], scored["extracted"], scored["scorer"]) == (1.0, "ok", "B", "choice")
    assert {"components", "mode", "elapsed_ms"} <= set(scored)


def test_a_list_of_completions_becomes_a_line_for_each(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    texts = ["<answer>3</answer>", "<answer>4</answer>", "none"]
    feed(monkeypatch, {"id": 7, "completions": texts, "answer": 3, "answer_type": "number"})
    records = cli("score").records
    assert [(r["id"], r["sample_id"], r["k"], r["completion"]) for r in records] == [
        (f"7#{k}", "7", k, text) for k, text in enumerate(texts)
    ]
    assert [record["reward"] for record in records] == [1.0, 0.0, 0.0]


def test_a_rule_of_your_own_is_a_file_and_a_function(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rule.py").write_text(
        "def length(record):\n"
        "    completion = record['completion']\n"
        "    if completion == 'fall': raise ValueError('I fell')\n"
        "    if completion == 'print': print('no record')\n"
        "    return len(completion)\n"
    )
    feed(monkeypatch, *(line(text, completion=text) for text in ("abc", "fall", "print", "x")))
    result = cli("score", "--reward", f"{tmp_path}/rule.py:length")
    assert [record["reward"] for record in result.records] == [3.0, None, 5.0, 1.0]
    assert [record["status"] for record in result.records] == ["ok", "error", "ok", "ok"]
    assert result.records[1]["note"] == "ValueError: I fell"
    assert result.code == 3  # one could not be judged


def test_a_rule_that_hangs_or_dies_costs_itself_alone(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rule.py").write_text(
        "import os\nfrom ovrl.records import Score\n"
        "def rule(record):\n"
        "    completion = record['completion']\n"
        "    if completion == 'hang':\n        while True: pass\n"
        "    if completion == 'die': os._exit(1)\n"
        "    return Score(reward=1.0)\n"
    )
    feed(monkeypatch, *(line(f"{i}", completion=text) for i, text in enumerate(["a", "hang", "b", "die", "c"])))
    result = cli("score", "--reward", f"{tmp_path}/rule.py:rule", "--timeout", "1", "--workers", "1", "--fail-on", "2")
    assert [record["status"] for record in result.records] == ["ok", "timeout", "ok", "error", "ok"]
    assert result.code == 0


def test_json_prints_the_summary_alone_on_stdout(cli: Cli, jsonl: Path, tmp_path: Path):
    arguments = ["rollout", jsonl, "--engine", "fake", "--model", "3", "-n", 2, "-o", tmp_path / "c.jsonl", "--json"]
    summary = json.loads(cli(*arguments).out)
    assert (summary["command"], summary["completions"], summary["samples"]) == ("rollout", 24, 12)
    again = json.loads(cli(*arguments).out)
    assert again == summary | {"note": "already complete"}
    score = cli("score", tmp_path / "c.jsonl", "--json")  # records have stdout to themselves
    assert len(score.records) == 24
    assert json.loads(score.err.splitlines()[-1])["lines"] == 24


def test_dry_runs_count_and_write_nothing(cli: Cli, jsonl: Path, scored: Path, tiny: Path, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    for arguments, counts in (
        (["rollout", jsonl, "--engine", "fake", "--model", "3", "-n", 2], {"samples": 12, "completions": 24}),
        (["score", scored, "--shard", "0/2"], {"lines": 48}),
        (["curate", "-i", scored, "--samples", jsonl], {"samples": 12, "scores": 96}),
        (["train", "--stage", "1", "-i", jsonl, "--model", tiny, "--steps", 3], {"samples": 12, "steps": 3}),
        (["eval", "--model", tiny, "--samples", jsonl, "--limit", 5], {"samples": 5}),
        (["warmup", "-i", jsonl, "--model", "tiny"], {"samples": 12}),
    ):
        result = cli(*arguments, "-o", tmp_path / "out", "--dry-run", "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out).items() >= counts.items()
    assert sorted(tmp_path.rglob("*")) == before


def test_quiet_says_errors_only(cli: Cli, jsonl: Path, tmp_path: Path):
    arguments = ["rollout", jsonl, "--engine", "fake", "--model", "3", "-n", 1, "-q"]
    result = cli(*arguments, "-o", tmp_path / "c.jsonl")
    assert (result.code, result.out, result.err) == (0, "", "")
    assert cli(*arguments, "-o", tmp_path / "c.jsonl", "--seed", 1).error.startswith("ovrl: error:")


def test_no_color_is_honoured_on_a_terminal(jsonl: Path, tmp_path: Path):
    """The table of `eval`, drawn on a terminal that a pseudo-terminal plays."""
    import pty

    def drawn(output: str, **environment: str) -> bytes:
        ours, theirs = pty.openpty()
        model = ["--model", "3", "-s", "eval.engine.engine=fake", "-n", "1"]
        command = [sys.executable, "-m", "ovrl", "eval", *model, "--samples", str(jsonl), "-o", str(tmp_path / output)]
        plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        done = subprocess.run(
            command, stderr=theirs, env={**plain, "TERM": "xterm-256color", **environment}, timeout=240
        )
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 65536):
                written += part
        except OSError:  # Linux says so at the end
            pass
        os.close(ours)
        assert done.returncode == 0
        return written

    import re

    colors = re.compile(rb"\x1b\[(?:3[0-7]|9[0-7]|38|48)[;m]|\x1b\[[\d;]*;3\d")
    assert colors.search(drawn("a"))
    assert not colors.search(drawn("b", NO_COLOR="1"))


def test_shards_together_are_the_whole(cli: Cli, jsonl: Path, tmp_path: Path):
    base = ["rollout", jsonl, "--engine", "fake", "--model", "3", "-n", 2]
    for i in range(3):
        assert cli(*base, "-o", tmp_path / f"{i}.jsonl", "--shard", f"{i}/3").code == 0
    cli(*base, "-o", tmp_path / "all.jsonl")
    parts = [record for i in range(3) for record in lines_of(tmp_path / f"{i}.jsonl")]
    assert sorted(parts, key=str) == sorted(lines_of(tmp_path / "all.jsonl"), key=str)


def test_curate_reads_scores_from_stdin_and_again_is_the_same(
    cli: Cli, jsonl: Path, scored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = lines_of(scored)
    for run, elapsed in enumerate((1.0, 2.0)):  # a pipe that runs again takes other times
        feed(monkeypatch, *(record | {"elapsed_ms": elapsed} for record in records))
        result = cli("curate", "--samples", jsonl, "-o", tmp_path / "out", "--json")
        assert result.code == 0, result.err
        assert ("note" in json.loads(result.out)) == bool(run)
    assert len(lines_of(tmp_path / "out" / "curation.jsonl")) == 12
    feed(monkeypatch, *(record | {"reward": 0.0, "components": {}} for record in records))
    assert "the content of -" in cli("curate", "--samples", jsonl, "-o", tmp_path / "out").error


def test_scores_of_another_pipe_are_not_mixed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "s.jsonl"
    feed(monkeypatch, line("a"), line("b"))
    assert cli("score", "-o", path).code == 0
    path.rename(tmp_path / "s.jsonl.partial")  # as if it had been stopped before the last step
    feed(monkeypatch, line("a"), line("b", completion="<answer>9</answer>"), line("c"))
    assert "stdin is not what the output was begun with" in cli("score", "-o", path).error
    feed(monkeypatch, line("a"), line("b"), line("c"))
    assert cli("score", "-o", path).code == 0
    assert [record["id"] for record in lines_of(path)] == ["a#0", "b#0", "c#0"]


def test_the_seed_may_come_from_the_environment(cli: Cli, jsonl: Path, monkeypatch: pytest.MonkeyPatch):
    base = ["rollout", jsonl, "--engine", "fake", "--model", "3", "-n", 1, "--limit", 1]
    given = cli(*base, "--seed", 7).records
    monkeypatch.setenv("OVRL_SEED", "7")
    assert cli(*base).records == given
    assert cli(*base, "--seed", 8).records != given


def test_config_show_tells_each_origin(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.yaml").write_text("train:\n  steps: 7\n  optimizer:\n    lr: 1e-4\n")
    monkeypatch.setenv("OVRL_TRAIN__SAVE_EVERY", "3")
    result = cli("config", "show", "--preset", "tiny", "-c", tmp_path / "a.yaml", "-s", "train.recipe=grpo", "--json")
    shown = json.loads(result.out)
    assert shown["train.steps"] == {"value": 7, "origin": f"{tmp_path}/a.yaml:2"}
    assert shown["train.optimizer.lr"] == {"value": 1e-4, "origin": f"{tmp_path}/a.yaml:4"}
    assert shown["train.save_every"] == {"value": 3, "origin": "OVRL_TRAIN__SAVE_EVERY"}
    assert shown["train.recipe"]["origin"] == "-s"
    assert shown["train.batch.groups"]["origin"] == "preset tiny"
    assert shown["train.objective.clip_low"] == {"value": 0.2, "origin": "default"}


def test_the_pipe_of_the_issue(shell: Started, jsonl: Path, tmp_path: Path):
    """`rollout | score | curate`, twice: the second time everything is there already."""
    ovrl = f"{sys.executable} -m ovrl"
    line = (
        f"{ovrl} rollout {jsonl} --engine fake --model 3 -n 8 | {ovrl} score | {ovrl} curate --samples {jsonl} -o out/"
    )
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
    assert "already complete" in done.stderr
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_a_reader_that_has_enough_ends_it_quietly(jsonl: Path, tmp_path: Path):
    ovrl = f"{sys.executable} -m ovrl"
    many = tmp_path / "many.jsonl"
    many.write_text("".join(json.dumps(line(str(i), completion="x" * 500)) + "\n" for i in range(2000)))
    for command in (
        f"{ovrl} score -q < {many} | head -1",
        f"{ovrl} rollout {jsonl} --engine fake --model {'x' * 9000} -n 64 -q | head -1",
        f"{ovrl} data synth -n 64 | head -1",
        f"{ovrl} config show | (read -r line; exec <&-; sleep 1; echo $line)",
    ):
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=240)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert len(done.stdout.splitlines()) == 1


def test_process_substitution_is_read_once(tmp_path: Path):
    command = f"{sys.executable} -m ovrl score -q <(echo '{json.dumps(line('a'))}')"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240)
    assert json.loads(done.stdout)["id"] == "a#0"


def test_weights_gates_and_components_come_from_a_settings_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The page docs/rewards.md, as it is printed there."""
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    code, settings = (page.split(f"```{kind}\n")[1].split("```")[0] for kind in ("python", "yaml"))
    (tmp_path / "brevity.py").write_text(code)
    (tmp_path / "rewards.yaml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    said = "<think>it is B</think>" + " " * 90 + "<answer>B</answer>"
    feed(monkeypatch, line("a", completion=said, answer=["B"]), line("b", completion="B", answer=["B"]))
    records = cli("score", "-c", "rewards.yaml").records
    assert [record["reward"] for record in records] == [pytest.approx(1.1), 0.0]
    assert set(records[0]["components"]) == {"accuracy", "brevity", "format"}


@pytest.mark.parametrize("asked", [False, True])
def test_deepspeed_is_there_only_for_runs_that_use_it(asked: bool):
    """Saving a model would load it wherever it is installed: seconds, and a warning."""
    program = (
        "import importlib.util, sys; from ovrl.cli.main import main\n"
        "sys.argv = ['ovrl', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    print(importlib.util.find_spec('deepspeed') is not None)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_DEEPSPEED"}
    environment |= {"ACCELERATE_USE_DEEPSPEED": "true"} if asked else {}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(asked)
