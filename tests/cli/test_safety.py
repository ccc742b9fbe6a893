"""What a command reads is never written over, and what it wrote is not mistaken for something else."""

import json
from pathlib import Path

LINE = {"id": "a", "completion": "<answer>3</answer>", "answer": "3", "answer_type": "number"}


def lines(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_an_input_is_refused_as_output_even_with_overwrite(cli, tmp_path):
    source = lines(tmp_path / "x.jsonl", LINE)
    result = cli("score", "-i", source, "-o", source, "--overwrite")
    assert result.code == 2
    assert "choose another output" in result.err
    assert json.loads(source.read_text()) == LINE


def test_a_model_below_the_output_is_refused(cli, tmp_path, tiny):
    samples = tmp_path / "s.jsonl"
    cli("data", "synth", "-n", "4", "-o", samples)
    result = cli("warmup", "-i", samples, "--model", tiny, "-o", tiny.parent, "--overwrite")
    assert result.code == 2
    assert (tiny / "config.json").exists()


def test_a_file_that_is_no_list_of_rejects_is_not_replaced(cli, tmp_path):
    source = lines(tmp_path / "x.jsonl", LINE)
    precious = lines(tmp_path / "precious.jsonl", {"keep": "me"})
    result = cli("score", "-i", source, "-o", tmp_path / "out.jsonl", "--rejects", precious)
    assert result.code == 2
    assert json.loads(precious.read_text()) == {"keep": "me"}


def test_a_report_does_not_replace_another_page(cli, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>mine</p>")
    result = cli("report", tmp_path, "-o", page)
    assert result.code == 2
    assert page.read_text() == "<p>mine</p>"


def test_another_engine_or_an_edited_rule_is_not_already_complete(cli, tmp_path):
    samples = tmp_path / "s.jsonl"
    cli("data", "synth", "-n", "2", "-o", samples)
    rule = tmp_path / "my_rule.py"
    rule.write_text("from ovrl.records import Score\n\ndef one(record):\n    return Score(reward=1.0)\n")
    out, scores = tmp_path / "r.jsonl", tmp_path / "sc.jsonl"
    assert cli("rollout", samples, "--engine", "fake", "--model", "B", "-n", "1", "-o", out).code == 0
    assert cli("rollout", samples, "--engine", "fake", "--model", "C", "-n", "1", "-o", out).code == 2
    assert cli("score", out, "-o", scores, "--reward", f"{rule}:one").code == 0
    rule.write_text(rule.read_text().replace("1.0", "0.5"))
    result = cli("score", out, "-o", scores, "--reward", f"{rule}:one")
    assert result.code == 2
    assert "my_rule.py" in result.err


def test_a_stop_between_the_last_name_and_the_manifest_is_resumed(cli, tmp_path):
    source, out = lines(tmp_path / "x.jsonl", LINE), tmp_path / "out.jsonl"
    assert cli("score", "-i", source, "-o", out).code == 0
    sidecar = tmp_path / "out.jsonl.manifest.json"
    manifest = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**manifest, "finished": None, "counts": {}}))
    before = out.read_text()
    assert cli("score", "-i", source, "-o", out).code == 0
    assert out.read_text() == before
    assert json.loads(sidecar.read_text())["counts"]["lines"] == 1


def test_the_manifest_of_a_step_holds_that_steps_own_command_line(cli, tmp_path):
    source, out = lines(tmp_path / "x.jsonl", LINE), tmp_path / "out.jsonl"
    cli("score", "-i", source, "-o", out)
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["argv"] == ["ovrl", "score", "-i", str(source), "-o", str(out)]
