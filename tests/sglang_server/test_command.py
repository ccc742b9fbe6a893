"""`ovrl rollout --engine sglang --launch N`: the whole way from samples to completions, servers included."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engines import SAMPLES
from served import LIMIT_S, Weights


def test_ovrl_starts_its_servers_and_ends_them(made: Callable[..., Weights], tmp_path: Path):
    weights = made("llavaonevision1_5", 3)
    samples, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    with samples.open("w") as file:
        for name, one in SAMPLES.items():
            images = [f"data:image/png;base64,{base64.b64encode(image.data or b'').decode()}" for image in one.images]
            asked = one.question
            kinds = {"prompt_type": asked.prompt_type, "problem_type": asked.problem_type, "answer_type": "number"}
            record = {"id": name, "images": images, "problem": asked.problem, "answer": ["1"], **kinds}
            file.write(json.dumps(record) + "\n")
    command = [sys.executable, "-m", "ovrl", "rollout", samples, "--model", weights.policy.name, "-o", out, "-n", "3"]
    command += ["--engine", "sglang", "--launch", "1", "--max-new-tokens", "12", "--with-tokens"]
    done = subprocess.run(
        [*command, "-s", "rollout.engine.launch.start_s=400"],
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(line["id"] for line in lines) == sorted(f"{name}#{k}" for name in SAMPLES for k in range(3))
    for line in lines:
        reply = line["token_ids"]
        assert line["prompt_tokens"] == len(weights.ids(line["sample_id"]))
        assert len(line["logprobs"]) == len(reply) > 0
        wanted = weights.logprobs(line["sample_id"], reply, banned=weights.policy.banned_ids())
        assert line["logprobs"] == pytest.approx(wanted, abs=1e-3)
    (log,) = tmp_path.glob("ovrl-sglang-*/server-0.log")
    assert "POST /generate" in log.read_text()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not any("serve_our_models.py" in each and str(tmp_path) in each for each in running.splitlines())
