"""What every rank of `test_ranks` runs, under `accelerate launch`; in one process it says what is to be expected.

    python rank_program.py FOLDER NAME CASE...

Rank 0 trains a few steps in each case, stops halfway and goes on, and leaves weights and figures in FOLDER/NAME.pt.
Case `unreadable`: the images of rank 1 cannot be read. Case `dies`: rank 1 fails in the middle of a forward pass.
"""

import faulthandler
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))

from ovrl.errors import OvrlError
from ovrl.records import ImageRef
from ovrl.rollout.policy import Policy
from ovrl.train.batch import Item
from ovrl.train.learner import Learner
from ovrl.train.ranks import Ranks
from ovrl.train.recipe import make as recipe
from ovrl.train.settings import TrainSettings
from training import made_items, mixed_samples

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen": ("qwen2_5_vl", {}),
    "llava": ("llavaonevision1_5", {}),
    "checkpointing": ("llavaonevision1_5", {"gradient_checkpointing": True}),
    "frozen": ("qwen2_5_vl", {"freeze_vision": True, "freeze_projector": True}),
    "lora": ("llavaonevision1_5", {"lora_rank": 4}),
    "minibatches": ("qwen2_5_vl", {}),
    "method": ("qwen2_5_vl", {}),
    "unreadable": ("qwen2_5_vl", {}),
    "dies": ("qwen2_5_vl", {}),
}
"""Model family and learner settings."""

CHANGES: dict[str, dict[str, Any]] = {
    "minibatches": {"objective": {"minibatches": 2, "anchor": "recompute"}},
    "method": {
        "recipe": "papo+gspo",
        "objective": {"aggregation": "sequences", "options": {"gamma": 0.5}},
        "schedules": {
            "optimizer.lr": {"points": [[0, 1e-2], [4, 5e-3]]},
            "optimizer.clip_norm": {"points": [[0, 0.5], [3, 0.05]]},
            "objective.options.gamma": {"points": [[0, 0.5], [3, 5.0]]},
        },
    },
}
"""Of the other settings."""

STEPS = ((0, 1, 2, 3), (0, 1), (0,), (1, 2, 3))
"""Samples of each step: of two groups one has no images, one group has no rank to share with."""


def settings(case: str, budget: int) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "batch": {"max_tokens": budget},
            # Adam divides a gradient by its size: noise about 0 would become steps of full length with a small eps.
            "optimizer": {"lr": 1e-2, "eps": 1e-2, "warmup_steps": 1, "clip_norm": 0.5},
            "learner": {"device": "cpu", **CASES[case][1]},
            **CHANGES.get(case, {}),
        }
    )


def make(ranks: Ranks, model: str, case: str, budget: int) -> Learner:
    chosen = settings(case, budget)
    policy = Policy.load(model, device="cpu", dtype="float32")
    samples = mixed_samples()
    if case == "unreadable" and ranks.rank:
        samples = [replace(one, images=tuple(ImageRef(data=b"no image") for _ in one.images)) for one in samples]
    learner = Learner(policy, recipe(chosen, seed=7), chosen, samples=samples, ranks=ranks)
    if chosen.learner.lora_rank:
        learner.keep_near(policy)
    if case == "dies" and ranks.rank:
        policy.model.get_output_embeddings().register_forward_pre_hook(_fail)
    return learner


def _fail(module: torch.nn.Module, inputs: Any) -> None:
    raise RuntimeError("the moon is in the wrong quarter")


def items_of(learner: Learner, number: int) -> list[Item]:
    samples = mixed_samples()
    return made_items(learner.policy, [samples[i] for i in STEPS[number]], size=1 if number == 2 else 3, seed=number)


def lead(ranks: Ranks, folder: Path, case: str, name: str, budget: int) -> dict[str, Any]:
    """Train, with a stop after the second step, from which another learner goes on as well."""
    model = str(folder / CASES[case][0])

    def start(path: str) -> Learner:
        ranks.tell("start", (path, case, budget))
        return make(ranks, path, case, budget)

    learner = start(model)
    figures: list[dict[str, Any]] = []

    def steps(learner: Learner, numbers: range) -> dict[str, torch.Tensor]:
        figures.extend(learner.step(items_of(learner, number), number) for number in numbers)
        return {name: value.detach().clone() for name, value in learner.weights()}

    if case in ("unreadable", "dies"):
        try:
            steps(learner, range(1))
        except OvrlError as error:
            return {"error": str(error)}
    first = steps(learner, range(1))
    steps(learner, range(1, 2))
    point = folder / f"{name}-{case}"
    learner.save(point)
    learner.save_state(point / "trainer.pt")
    whole = steps(learner, range(2, 4))
    again = start(model if case == "lora" else str(point))
    again.load_state(point / "trainer.pt")
    return {"first": first, "whole": whole, "resumed": steps(again, range(2, 4)), "figures": figures,
            "saved": str(point)}  # fmt: skip


def obey(ranks: Ranks) -> None:
    learner: Learner | None = None
    while (order := ranks.hear()).verb != "stop":
        if order.verb == "start":
            path, case, budget = order.values
            learner = make(ranks, path, case, budget)
        else:
            assert learner is not None
            with suppress(OvrlError):  # as `launch.follow` does: rank 0 has heard it
                learner.obey(order)


def main(folder: Path, name: str, cases: list[str]) -> None:
    faulthandler.dump_traceback_later(200, exit=True)  # says where ranks wait for each other
    ranks = Ranks.join(settings("qwen", 100))
    try:
        if ranks.rank:
            obey(ranks)
            return
        found = {case: lead(ranks, folder, case, name, 150 if ranks.count > 1 else 100_000) for case in cases}
        torch.save(found, folder / f"{name}.pt")
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        ranks.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
