"""`ovrl rollout` from outside: modes, early stops, parquet, processes, shards."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_fixtures import Cli, lines_of

from chat_server import Chat, serving


def samples(path: Path, count: int = 6) -> Path:
    records = [
        {"id": f"s{i}", "problem": f"What is {i}?", "answer": str(i), "answer_type": "number", "meta": {"level": i}}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def fake(source: object, output: object, *more: object) -> list[object]:
    return ["rollout", source, "--engine", "fake", "--model", "<answer>3</answer>", "-o", output, *more]


def by_id(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in lines}


def test_parquet_holds_what_the_lines_hold(cli: Cli, tmp_path: Path):
    data = samples(tmp_path / "d.jsonl")
    for name in ("c.jsonl", "c.parquet"):
        assert cli(*fake(data, tmp_path / name, "-n", 2, "--with-tokens")).code == 0
    lines = by_id(lines_of(tmp_path / "c.jsonl"))
    rows = by_id(pq.read_table(tmp_path / "c.parquet").to_pylist())
    for row in rows.values():
        row["meta"] = json.loads(row["meta"])
        assert row.pop("shuffled") is None
    assert rows == lines
    manifest = json.loads((tmp_path / "c.parquet.manifest.json").read_text())
    assert manifest["outputs"]["c.parquet"]["rows"] == 12
    assert sorted(path.name for path in tmp_path.glob("c.parquet*")) == ["c.parquet", "c.parquet.manifest.json"]
    again = cli(*fake(data, tmp_path / "c.parquet", "-n", 2, "--with-tokens"))
    assert (again.code, "already complete" in again.err) == (0, True)


def test_parquet_is_resumed(cli: Cli, tmp_path: Path):
    data = samples(tmp_path / "d.jsonl")
    plain = tmp_path / "plugin.py"
    plain.write_text(
        "from ovrl.rollout.fake import ScriptedEngine\n"
        "import os\n"
        "def engine(model, settings):\n"
        f"    stop = 7 if not os.path.exists({str(tmp_path / 'go')!r}) else 5\n"
        "    return ScriptedEngine(lambda request, k, seed: f'{seed}', fail_after=stop)\n"
    )
    command = ["rollout", data, "--engine", f"{plain}:engine", "--model", ".", "-n", 2, "-o", tmp_path / "c.parquet"]
    assert cli(*command).code == 1
    assert not (tmp_path / "c.parquet").exists()
    (tmp_path / "go").touch()
    assert cli(*command).code == 0  # no more than five were missing
    rows = pq.read_table(tmp_path / "c.parquet").to_pylist()
    assert {row["id"] for row in rows} == {f"s{i}#{k}" for i in range(6) for k in range(2)}
    assert len(rows) == 12


def test_a_prompt_is_no_longer_sampled_when_its_verdict_is_settled(cli: Cli, tmp_path: Path):
    """The scripted answer is right for one sample, always, and wrong for the others: a single hit would change that."""
    data = samples(tmp_path / "d.jsonl")
    flags = ["-n", 16, "--stop-early", "--json"]
    result = cli(*fake(data, tmp_path / "c.jsonl", *flags))
    assert result.code == 0, result.err
    made: dict[str, int] = {}
    for line in lines_of(tmp_path / "c.jsonl"):
        made[line["sample_id"]] = made.get(line["sample_id"], 0) + 1
    assert made["s3"] < 16
    assert {name: count for name, count in made.items() if name != "s3"} == {f"s{i}": 16 for i in (0, 1, 2, 4, 5)}
    assert json.loads(result.out)["saved"] == 16 - made["s3"]
    changed = cli(*fake(data, tmp_path / "c.jsonl", *flags, "-s", "curate.rule=band"))
    assert (changed.code, "curate" in changed.err) == (2, True)  # another rule would have stopped elsewhere
    both = cli(*fake(data, tmp_path / "d2.jsonl", *flags, "--mode", "both"))
    assert (both.code, "give one mode" in both.err) == (2, True)


def test_both_modes_and_shards_make_each_completion_once(cli: Cli, tmp_path: Path):
    data = samples(tmp_path / "d.jsonl")
    found: dict[str, Any] = {}
    for shard in range(3):
        output = tmp_path / f"{shard}.jsonl"
        done = cli(
            *fake(data, output, "-n", 2, "--mode", "both", "--shard", f"{shard}/3", "--concurrency", 3, "--json")
        )
        assert json.loads(done.out)["completions"] == 8
        part = by_id(lines_of(output))
        assert not part.keys() & found.keys()
        found |= part
    assert {name: line["prompt_type"] for name, line in found.items()} == {
        f"s{i}#{k}": "normal" if k < 2 else "thinking" for i in range(6) for k in range(4)
    }
    counted = cli(*fake(data, tmp_path / "no.jsonl", "-n", 2, "--mode", "both", "--dry-run", "--json"))
    assert json.loads(counted.out)["completions"] == 24


def test_a_line_tells_how_it_goes(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ovrl.cli.render._EVERY", 0.0)
    result = cli(*fake(samples(tmp_path / "d.jsonl"), tmp_path / "c.jsonl", "-n", 2))
    (last,) = [line for line in result.err.splitlines() if "rollout: 12 of 12; " in line]
    assert "completions/s; " in last
    assert "tokens/s; 0 s left; stop 12" in last


def test_a_model_behind_an_api_is_asked_with_the_key_of_the_environment(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    with serving(Chat()) as chat:
        flags = [
            "--engine",
            "openai",
            "--server",
            chat.url,
            "--model",
            "some/model",
            "-n",
            2,
            "-o",
            tmp_path / "c.jsonl",
        ]
        result = cli("rollout", samples(tmp_path / "d.jsonl"), *flags)
    assert result.code == 0, result.err
    assert len(lines_of(tmp_path / "c.jsonl")) == 12
    assert set(chat.keys) == {"Bearer sesame"}
    assert "sesame" not in (tmp_path / "c.jsonl.manifest.json").read_text()
    without = cli("rollout", tmp_path / "d.jsonl", "--engine", "openai", "--model", "m", "-o", tmp_path / "e.jsonl")
    assert (without.code, "give --server URL" in without.err) == (2, True)
