"""Requests for engines, and a tiny policy whose completions end in both ways."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from builders import ref, sample
from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine, Generation, Request, Sampling
from ovrl.rollout.fake import ScriptedEngine
from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import Family, make_tiny

NEW = 12
"""Longest completion."""

SAMPLES = {
    "one": sample("one", problem="<image>How many red circles are there, 1 or 2?"),
    "text": sample("text", images=(), problem="What is 35 + 7?"),
    "two": sample("two", images=(ref("red"), ref("blue", (72, 48))), problem="Is <image> like <image>?"),
    "long": sample("long", problem="<image>" + "circles " * 30, prompt_type="thinking"),
}
PROMPTS = {name: prompt.build(one) for name, one in SAMPLES.items()}

Answers = dict[tuple[str, int], Generation]


def make_model(path: Path, family: Family) -> Path:
    make_tiny(path, seed=3, texts=["How many red circles are there?"] * 2, family=family)
    return path


def load_policy(path: Path, device: str = "cpu") -> Policy:
    """Return a random model for which every tenth word ends a reply, and that likes to say a control token."""
    policy = Policy.load(str(path), device=device, dtype="float32")
    words = policy.tokenizer.convert_tokens_to_ids
    head: Any = policy.model.get_output_embeddings().weight
    with torch.no_grad():
        head[words("<|image_pad|>")] = head[words("1")] * 1.5
    policy.eos_ids |= set(range(0, words("<|endoftext|>"), 10))
    return policy


def save_policy(policy: Policy, path: Path) -> Path:
    """Write a policy so that another process loads the same, the words that end a reply included."""
    config: Any = policy.model.generation_config
    config.eos_token_id = sorted(policy.eos_ids)
    policy.save(path)
    return path


def ask(name: str, seeds: dict[int, int], **sampling: Any) -> Request:
    options = {"max_new_tokens": NEW, **sampling}
    return Request(id=name, prompt=PROMPTS[name], seeds=seeds, sampling=Sampling(**options))


def group(name: str, count: int = 4, **sampling: Any) -> Request:
    return ask(name, {k: 1000 * list(SAMPLES).index(name) + k for k in range(count)}, **sampling)


def answers(engine: Engine, *requests: Request) -> Answers:
    return collect(engine.generate(requests))


def collect(made: Iterable[Any]) -> Answers:
    found: Answers = {}
    for one in made:
        assert isinstance(one, Generation), one
        assert (one.request_id, one.k) not in found, "a seed was answered twice"
        found[one.request_id, one.k] = one
    return found


def tokens(found: Answers) -> dict[tuple[str, int], tuple[int, ...]]:
    return {key: one.token_ids for key, one in found.items()}


# Engines for child processes, which find them by name.


def short(model: str, settings: Any) -> Engine:
    return ScriptedEngine(lambda asked, k, seed: f"{asked.id} {k} {seed}", batch_size=settings.batch_size)


def broken(model: str, settings: Any) -> Engine:
    raise RuntimeError("out of memory")


def crashing(model: str, settings: Any) -> Engine:
    def script(asked: Request, k: int, seed: int) -> str:
        raise RuntimeError("the driver is gone")

    return ScriptedEngine(script)


def failing(model: str, settings: Any) -> Engine:
    return ScriptedEngine(lambda asked, k, seed: "x", fail_after=1)


class _Deaf(ScriptedEngine):
    def load(self, weights: Any, version: int) -> None:
        time.sleep(600)


def deaf(model: str, settings: Any) -> Engine:
    return _Deaf(lambda asked, k, seed: "x")
