"""Two real ranks over gloo: the update of one process, whatever shares it out. Each launch takes its seconds.

What one process makes of a step is checked in `test_forward` and `test_learner`, against other code.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

import ovrl.train
from ovrl.rollout.tiny import make_tiny
from training import mixed_samples

CONFIGS = Path(ovrl.train.__file__).parent / "accelerate"
PROGRAM = Path(__file__).parent / "rank_program.py"
SHARED = {"ddp": ("qwen", "minibatches", "frozen", "method"), "zero2": ("llava", "lora", "method", "unreadable"),
          "zero3": ("qwen", "checkpointing", "lora", "method")}  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(Path(ovrl.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=400)


def launch(config: str, *command: str) -> subprocess.CompletedProcess[str]:
    file = str(CONFIGS / f"{config}.yaml")
    return run("-m", "accelerate.commands.launch", "--config_file", file, "--num_processes", "2", *command)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ranks")
    for family in ("qwen2_5_vl", "llavaonevision1_5"):
        texts = [one.question.problem for one in mixed_samples()]
        make_tiny(root / family, seed=4, texts=texts, family=family)
    return root


@pytest.fixture(scope="module")
def alone(folder):
    """What one process makes of every case, in one micro-batch."""
    cases = sorted({case for cases in SHARED.values() for case in cases} - {"unreadable"})
    done = run(str(PROGRAM), str(folder), "alone", *cases)
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "alone.pt", weights_only=False)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    missing = {name for name in one.keys() ^ other.keys() if name != "lm_head.weight"}  # tied: it may come once
    assert missing == set()
    return max(float((one[name] - other[name]).abs().max()) for name in one.keys() & other.keys())


@pytest.mark.parametrize("config", SHARED)
def test_two_ranks_make_the_update_of_one_and_go_on_after_a_stop(config, folder, alone):
    done = launch(config, str(PROGRAM), str(folder), config, *SHARED[config])
    assert done.returncode == 0, done.stderr[-4000:]
    found = torch.load(folder / f"{config}.pt", weights_only=False)
    if "unreadable" in found:
        assert found.pop("unreadable")["error"].startswith("rank 1: ")
    for case, shared in found.items():
        for step, (here, there) in enumerate(zip(shared["figures"], alone[case]["figures"], strict=True)):
            where = f"{config} {case} step {step}"
            assert here["grad_norm"] == pytest.approx(there["grad_norm"], rel=1e-5), where
            assert here["loss"] == pytest.approx(there["loss"], abs=1e-6), where
            assert here["tokens_trained"] == there["tokens_trained"], where
        moved = distance(alone[case]["first"], alone[case]["whole"])
        assert moved > 1e-3
        for stage in ("first", "whole"):
            assert distance(shared[stage], alone[case][stage]) < 1e-6, f"{config} {case} {stage}"
        assert distance(shared["resumed"], shared["whole"]) == 0, f"{config} {case}"
        saved = load_file(Path(shared["saved"]) / "model.safetensors")
        AutoModelForImageTextToText.from_pretrained(shared["saved"])
        AutoProcessor.from_pretrained(shared["saved"])
        assert not any("lora" in name or "base_layer" in name for name in saved)
        assert (Path(shared["saved"]) / "adapter" / "adapter_model.safetensors").exists() is (case == "lora")


def test_a_rank_that_dies_in_the_middle_of_a_step_ends_the_others(folder):
    done = launch("ddp", str(PROGRAM), str(folder), "dies", "dies")
    assert done.returncode != 0
    assert "the moon is in the wrong quarter" in done.stderr


def test_the_command_trains_with_zero3(folder, tmp_path):
    rule = tmp_path / "parity_rule.py"
    rule.write_text(
        "from ovrl.records import Score\n\n\ndef parity(record):\n"
        "    return Score(reward=float(len(record['completion']) % 2 == 0))\n"
    )
    samples = tmp_path / "pool.jsonl"
    samples.write_text("".join(
        json.dumps({"id": str(i), "images": [], "problem": f"How many is {i} and two?", "answer": [str(i + 2)],
                    "answer_type": "number", "problem_type": "stem", "prompt_type": "normal"}) + "\n"
        for i in range(4)
    ))  # fmt: skip
    out = tmp_path / "run"
    assigned = ["batch.groups=2", "batch.group_size=4", "sampling.max_new_tokens=6", f"score.reward={rule}:parity",
                "score.workers=1", "learner.device=cpu", "objective.kl.coefficient=0.1",
                "optimizer.lr=1e-2"]  # fmt: skip
    done = launch(
        "zero3", "-m", "ovrl", "train", "--stage", "1", "-i", str(samples), "--model",
        str(folder / "llavaonevision1_5"), "-o", str(out), "--preset", "tiny", "--steps", "2",
        *(word for value in assigned for word in ("-s", f"train.{value}")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert (out / "_SUCCESS").exists()
    line, second = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert line["grad_norm"] > 0
    assert line["behaviour_gap_max"] < 1e-4  # the engine's copy of the weights is the learner's
    assert line["kl_loss"] < 1e-6 < second["kl_loss"]  # the reference stays where the run began
    before, after = (load_file(path / "model.safetensors") for path in (folder / "llavaonevision1_5", out / "final"))
    assert distance(before, after) > 0
