"""Completions per second of the in-process engine against transformers' `generate` and its continuous batching.

Groups of 16 completions for prompts of mixed lengths, with images of mixed sizes; the lengths of the completions have
a long tail, because each token ends one with the same probability. All sample at temperature 1 from the same model, in
turns, in this run, on this machine. The ratios are what counts; seconds depend on the machine. transformers'
continuous batching takes no images, so it is measured on the same prompts without them, beside our engine.

Also counted: how often a prompt and its images are read for a group of 16. The bars: 3 times the completions of
`generate` per second on a CPU, and each prompt and image read once; below them the exit code is 1.

    python benchmarks/rollout.py [--rounds 3]
    python benchmarks/gpu/rollout.py                         # a GPU, a Qwen2.5-VL of 1.5 B random weights
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, Qwen2_5_VLForConditionalGeneration

from ovrl.curate import synthetic
from ovrl.records import derive_seed
from ovrl.rollout import reading
from ovrl.rollout.engine import Generation, Request, Sampling
from ovrl.rollout.policy import Encoded, Policy
from ovrl.rollout.prompt import Prompt, build
from ovrl.rollout.tiny import make_tiny
from ovrl.rollout.transformers_engine import TransformersEngine

GROUPS, SIZE, ROWS = 32, 16, 128
BAR = 3.0
"""Times the completions per second of `generate`, on a CPU."""
LONGEST, MEAN = 256, 40
"""Tokens of a completion."""

Result = tuple[int, int]
"""Completions, tokens."""


def load(layers: int, device: str) -> Policy:
    """Return the tiny model, or with `layers` one of random weights and the width of a Qwen2 of 1.5 B (at 28)."""
    samples = list(synthetic.generate("pool", 64, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder), seed=0, texts=[sample.question.problem for sample in samples])
        policy = Policy.load(folder, device="cpu")
    if layers:
        config: Any = policy.model.config
        text = {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2}
        for name, value in {**text, "num_hidden_layers": layers, "vocab_size": 151936}.items():
            setattr(config.text_config, name, value)
        config.text_config.layer_types = ["full_attention"] * layers
        config.text_config.rope_parameters["mrope_section"] = [16, 24, 24]
        config.vision_config.out_hidden_size = 1536
        with torch.device(device):
            model = Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16).eval()
        model.generation_config = policy.model.generation_config
        policy = Policy(model, policy.processor, "random")
    words = len(policy.tokenizer)
    policy.eos_ids = frozenset(range(0, words, MEAN)) | policy.eos_ids
    return policy


def prompts() -> Iterator[Prompt]:
    """Yield the prompts: up to 120 words more than the sample has, images of 48 to 192 pixels."""
    chance = random.Random(0)
    for sample in synthetic.generate("pool", GROUPS, seed=0):
        words = " and" * chance.randint(0, 120)
        longer = build(replace(sample, question=replace(sample.question, problem=sample.question.problem + words)))
        sizes = [(chance.randint(48, 192), chance.randint(48, 192)) for _ in longer.images]
        images = (image.resize(size) for image, size in zip(longer.images, sizes, strict=True))
        yield Prompt(longer.messages, tuple(images))


def without_images(asked: Prompt) -> Prompt:
    messages = [
        message | {"content": [part for part in message["content"] if part["type"] == "text"]}
        for message in asked.messages
    ]
    return Prompt(messages, ())


def ours(policy: Policy, asked: list[Prompt]) -> Result:
    engine = TransformersEngine(policy, batch_size=ROWS)
    requests = [
        Request(
            id=str(number),
            prompt=one,
            seeds={k: derive_seed(0, number, k) for k in range(SIZE)},
            sampling=Sampling(max_new_tokens=LONGEST),
        )
        for number, one in enumerate(asked)
    ]
    lengths = [len(one.token_ids) for one in engine.generate(requests) if isinstance(one, Generation)]
    return len(lengths), sum(lengths)


def generate(policy: Policy, asked: list[Prompt]) -> Result:
    """Batches of whole groups, shortest prompts first, so that little is padded."""
    asked = sorted(asked, key=lambda one: policy.encode([one]).lengths[0])
    lengths: list[int] = []
    for start in range(0, len(asked), ROWS // SIZE):
        encoded = policy.encode(asked[start : start + ROWS // SIZE])
        with torch.inference_mode():
            out = policy.model.generate(
                input_ids=encoded.input_ids,
                attention_mask=encoded.attention_mask,
                **encoded.extras,
                generation_config=_config(policy),
            )
        ends = torch.isin(out[:, encoded.input_ids.shape[1] :], torch.tensor(sorted(policy.eos_ids)).to(out.device))
        lengths += [int(row.int().argmax()) + 1 if row.any() else len(row) for row in ends]
    return len(lengths), sum(lengths)


def continuous(policy: Policy, asked: list[Prompt]) -> Result:
    ids = [policy.encode([one]).input_ids[0].tolist() for one in asked]
    blocks = ContinuousBatchingConfig(
        page_size=32, num_blocks=ROWS * (max(map(len, ids)) + LONGEST) // 32, max_batch_tokens=512,
        max_requests_per_batch=ROWS, use_cuda_graph=False, use_async_batching=False,
    ) if policy.device.type == "cpu" else None  # fmt: skip
    model: Any = policy.model
    out = model.generate_batch(ids, generation_config=_config(policy), continuous_batching_config=blocks)
    lengths = [len(one.generated_tokens) for one in out.values()]
    return len(lengths), sum(lengths)


def _config(policy: Policy) -> GenerationConfig:
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        num_return_sequences=SIZE,
        max_new_tokens=LONGEST,
        eos_token_id=sorted(policy.eos_ids),
        pad_token_id=policy.pad_id,
    )


def count_readings(policy: Policy, asked: list[Prompt]) -> tuple[float, float]:
    """Return how often a prompt, and an image, is read by our engine for a group, on average."""
    prompts = patches = 0
    read = reading.read

    def counted(policy: Policy, prompt: Encoded) -> reading.Prefix:
        nonlocal prompts
        prompts += len(prompt.input_ids)
        return read(policy, prompt)

    def see_images(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal patches
        patches += len(next(v for v in (*args, *kwargs.values()) if torch.is_tensor(v) and v.is_floating_point()))

    tower = next(module for name, module in policy.model.named_modules() if name.endswith("visual"))
    hook = tower.register_forward_pre_hook(see_images, with_kwargs=True)
    reading.read = counted
    ours(policy, asked)
    reading.read = read
    hook.remove()
    extras = [policy.encode([one]).extras for one in asked]
    return prompts / len(asked), patches / sum(len(one["pixel_values"]) for one in extras if "pixel_values" in one)


def compare(policy: Policy, asked: list[Prompt], runs: dict[str, Callable[..., Result]], rounds: int) -> float:
    """Print what each makes in a second, and the ratio of ours to the others; return the last ratio."""
    clock = time.process_time if policy.device.type == "cpu" else time.perf_counter  # others use this machine, too
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            made, tokens = run(policy, asked)
            assert made == GROUPS * SIZE, f"{name} made {made} completions"
            spent = clock() - start
            if number:  # the first round warms up
                speeds[name].append((made / spent, tokens / spent))
    for name, values in speeds.items():
        done, tokens = (statistics.median(part) for part in zip(*values, strict=True))
        print(f"  {name:22} {done:8.1f} completions/s {tokens:9.0f} tokens/s (median of {rounds})")
    (first, ours_), (name, theirs) = speeds.items()
    ratios = [a[0] / b[0] for a, b in zip(ours_, theirs, strict=True)]
    print(f"  {first} / {name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return statistics.median(ratios)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments.add_argument("--layers", type=int, default=0, help="a model of 1.5 B at 28 instead of the tiny one")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    policy = load(options.layers, options.device)
    asked = list(prompts())
    lengths = sorted(policy.encode([one]).lengths[0] for one in asked)
    print(f"{GROUPS} groups of {SIZE}, prompts of {lengths[0]} to {lengths[-1]} tokens, {ROWS} rows at a time")
    prompts_read, images_read = count_readings(policy, asked)
    print(f"read for each group: the prompt {prompts_read:g} times, its images {images_read:g} times")
    ratio = compare(policy, asked, {"ours": ours, "generate": generate}, options.rounds)
    print("without images")
    plain = [without_images(one) for one in asked]
    compare(policy, plain, {"ours": ours, "continuous batching": continuous}, options.rounds)
    short = ratio < BAR and options.device == "cpu"
    sys.exit(1 if short or images_read != 1.0 or prompts_read != 1.0 else 0)


if __name__ == "__main__":
    main()
