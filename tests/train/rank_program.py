"""What every rank of `test_ranks` runs, under `accelerate launch`; in one process it says what is to be expected.

    python rank_program.py FOLDER NAME

Rank 0 trains a few steps in each case, stops halfway and goes on, and leaves weights and figures in FOLDER/NAME.pt.
"""

import faulthandler
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))

from ovrl.rollout.policy import Policy
from ovrl.train.learner import Learner
from ovrl.train.ranks import Ranks
from ovrl.train.recipe import Recipe
from ovrl.train.settings import TrainSettings
from training import made_items, mixed_samples

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen": ("qwen2_5_vl", {}),
    "llava": ("llavaonevision1_5", {}),
    "checkpointing": ("llavaonevision1_5", {"gradient_checkpointing": True}),
    "frozen": ("qwen2_5_vl", {"freeze_vision": True, "freeze_projector": True}),
    "lora": ("llavaonevision1_5", {"lora_rank": 4}),
    "minibatches": ("qwen2_5_vl", {}),
}
"""Model family and learner settings."""

STEPS = ((0, 1, 2, 3), (0, 1), (0,), (1, 2, 3))
"""Samples of each step: of two groups one has no images, one group has no rank to share with."""


def settings(case: str, budget: int) -> TrainSettings:
    objective = {"minibatches": 2, "anchor": "recompute"} if case == "minibatches" else {}
    return TrainSettings.model_validate(
        {
            "batch": {"max_tokens": budget},
            # Adam divides a gradient by its size: noise about 0 would become steps of full length with a small eps.
            "optimizer": {"lr": 1e-2, "eps": 1e-2, "warmup_steps": 1, "clip_norm": 0.5},
            "objective": objective,
            "learner": {"device": "cpu", **CASES[case][1]},
        }
    )


def make(ranks: Ranks, model: str, chosen: TrainSettings) -> Learner:
    policy = Policy.load(model, device="cpu", dtype="float32")
    reference = None
    if chosen.learner.lora_rank:
        reference = policy
    return Learner(policy, Recipe(chosen.objective), chosen, samples=mixed_samples(), ranks=ranks, reference=reference)


def lead(ranks: Ranks, folder: Path, case: str, name: str, budget: int) -> dict[str, Any]:
    """Train, with a stop after the second step, from which another learner goes on as well."""
    chosen = settings(case, budget)
    model = str(folder / CASES[case][0])

    def start(path: str) -> Learner:
        ranks.tell("start", (path, case, budget))
        return make(ranks, path, chosen)

    learner = start(model)
    samples = mixed_samples()
    figures: list[dict[str, Any]] = []

    def steps(learner: Learner, numbers: range) -> dict[str, torch.Tensor]:
        for number in numbers:
            items = made_items(learner.policy, [samples[i] for i in STEPS[number]], size=1 if number == 2 else 3, seed=number)
            figures.append(learner.step(items, number))
        return {name: value.clone() for name, value in learner.weights()}

    first = steps(learner, range(1))
    steps(learner, range(1, 2))
    point = folder / f"{name}-{case}"
    learner.save(point)
    learner.save_state(point / "trainer.pt")
    whole = steps(learner, range(2, 4))
    again = start(model if chosen.learner.lora_rank else str(point))
    again.load_state(point / "trainer.pt")
    return {"first": first, "whole": whole, "resumed": steps(again, range(2, 4)), "figures": figures,
            "saved": str(point)}  # fmt: skip


def obey(ranks: Ranks) -> None:
    learner: Learner | None = None
    while (order := ranks.hear()).verb != "stop":
        if order.verb == "start":
            path, case, budget = order.values
            learner = make(ranks, path, settings(case, budget))
        else:
            assert learner is not None
            learner.obey(order)


def main(folder: Path, name: str, cases: list[str]) -> None:
    faulthandler.dump_traceback_later(45, exit=True)  # says where ranks wait for each other
    ranks = Ranks.join(settings("qwen", 100))
    try:
        if ranks.rank:
            obey(ranks)
            return
        found = {case: lead(ranks, folder, case, name, 80 if ranks.count > 1 else 100_000) for case in cases}
        if ranks.count > 1:
            found["failure"] = failure(ranks, folder)
        torch.save(found, folder / f"{name}.pt")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        ranks.close()


def failure(ranks: Ranks, folder: Path) -> str:
    """Ask for a prompt that no rank can build, and return what rank 0 hears of it."""
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:] or list(CASES))
