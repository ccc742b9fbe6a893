"""Tokens per second of the in-process engine against transformers' own `generate`, on the tiny model.

Both sample the same prompts with 16 completions each at temperature 1, in this run, on this machine. The
ratio is what counts; seconds depend on the machine.

    python benchmarks/engine.py [--rounds 3]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from ovrl.curate import synthetic
from ovrl.records import derive_seed
from ovrl.rollout import prompt
from ovrl.rollout.engine import Request, Sampling
from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import make_tiny
from ovrl.rollout.transformers_engine import TransformersEngine

GROUPS, SIZE, TOKENS = 16, 16, 48


def ours(policy: Policy, prompts: list[prompt.Prompt]) -> int:
    engine = TransformersEngine(policy, batch_size=GROUPS * SIZE)
    requests = [
        Request(
            id=str(number),
            prompt=asked,
            seeds={k: derive_seed(0, number, k) for k in range(SIZE)},
            sampling=Sampling(max_new_tokens=TOKENS),
        )
        for number, asked in enumerate(prompts)
    ]
    return sum(len(generation.token_ids) for generation in engine.generate(requests))


def theirs(policy: Policy, prompts: list[prompt.Prompt]) -> int:
    encoded = policy.encode(prompts)
    with torch.inference_mode():
        out = policy.model.generate(
            input_ids=encoded.input_ids,
            attention_mask=encoded.attention_mask,
            **encoded.extras,
            do_sample=True,
            top_k=0,
            num_return_sequences=SIZE,
            max_new_tokens=TOKENS,
        )
    replies = out[:, encoded.input_ids.shape[1] :]
    return int((replies != policy.pad_id).sum())


def main() -> None:
    rounds = argparse.ArgumentParser()
    rounds.add_argument("--rounds", type=int, default=3)
    count = rounds.parse_args().rounds
    samples = list(synthetic.generate("pool", GROUPS, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder), seed=0, texts=[sample.question.problem for sample in samples])
        policy = Policy.load(folder)
        prompts = [prompt.build(sample) for sample in samples]
        speeds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for number in range(count + 1):
            for name, run in (("ours", ours), ("theirs", theirs)):
                start = time.perf_counter()
                tokens = run(policy, prompts)
                if number:  # the first round warms up
                    speeds[name].append(tokens / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["theirs"], strict=True)]
    for name, values in speeds.items():
        print(f"{name:7} {statistics.median(values):9.0f} tokens/s (median of {count})")
    print(f"ratio   {statistics.median(ratios):9.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
