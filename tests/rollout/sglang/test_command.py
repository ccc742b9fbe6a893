"""`ovrl rollout --engine sglang --server URL,URL`."""

import json
from pathlib import Path

import pytest

from builders import picture
from ovrl.cli.main import run
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.scripted_traits import Traits
from servers import serving


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(picture())
    path = tmp_path / "samples.jsonl"
    record = {"images": ["a.png"], "problem": "<image>How many?", "answer": ["3"], "answer_type": "number"}
    path.write_text("".join(json.dumps(record | {"id": f"s{i}"}) + "\n" for i in range(6)))
    return path


def test_a_pool_is_sampled_with_two_servers_of_which_one_fails_now_and_then(
    samples: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVRL_ROLLOUT__ENGINE__API_KEY", "sesame")
    output = tmp_path / "completions.jsonl"
    traits = Traits(api_key="sesame")
    processor = PromptProcessor.load(str(model))
    with serving(model, processor, traits, traits, script=lambda n: "500" if n % 5 == 1 else None) as servers:
        urls = ",".join(server.url for server in servers)
        command = ["rollout", str(samples), "--model", str(model), "--engine", "sglang", "--server", urls, "-n", "4"]
        assert run([*command, "--max-new-tokens", "20", "--with-tokens", "-o", str(output)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert {(line["sample_id"], line["k"]) for line in lines} == {(f"s{i}", k) for i in range(6) for k in range(4)}
    assert len(lines) == 24
    assert all(line["completion_tokens"] == len(line["token_ids"]) == len(line["logprobs"]) for line in lines)
    assert "http_500" in capsys.readouterr().err  # the summary counts what happened
    assert "sesame" not in "".join(path.read_text() for path in tmp_path.glob("completions.jsonl*"))


def test_without_a_server_the_command_says_how_to_name_one(
    samples: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["rollout", str(samples), "--model", str(model), "--engine", "sglang"]) == 2
    assert "--server http://HOST:PORT" in capsys.readouterr().err


def test_a_key_is_not_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OVRL_ROLLOUT__ENGINE__API_KEY", "sesame")
    assert run(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "sesame" not in shown
    assert "OVRL_ROLLOUT__ENGINE__API_KEY" in shown  # but that there is one
