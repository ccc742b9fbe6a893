"""Forward and backward of our LLaVA-OneVision-1.5 against transformers' Qwen2.5-VL of the same size.

Both read the same prompts with images of several sizes, on one thread, in this run, on this machine. The ratio of
processor times is what counts; seconds depend on the machine.

    python benchmarks/model.py [--rounds 20]
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import get_args

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from ovrl.curate import synthetic
from ovrl.rollout import prompt
from ovrl.rollout.policy import Encoded, Policy
from ovrl.rollout.tiny import Family, make_tiny

ROWS = 32


def seconds(policy: Policy, batch: Encoded) -> float:
    start = time.process_time()
    out = policy.model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=policy.positions(batch.input_ids, batch.attention_mask, batch.extras)[0],
        labels=batch.input_ids,
        use_cache=False,
        **batch.extras,
    )
    out.loss.backward()
    policy.model.zero_grad()
    return time.process_time() - start


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rounds", type=int, default=20)
    rounds = arguments.parse_args().rounds
    torch.set_num_threads(1)
    samples = list(synthetic.generate("pool", ROWS, seed=0))
    texts = [sample.question.problem for sample in samples]
    runs: dict[Family, tuple[Policy, Encoded]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for family in get_args(Family):
            path = Path(folder) / family
            make_tiny(path, seed=0, texts=texts, family=family)
            policy = Policy.load(str(path), device="cpu", dtype="float32")
            policy.model.train()
            runs[family] = policy, policy.encode([prompt.build(sample) for sample in samples])
    times: dict[Family, list[float]] = {family: [] for family in runs}
    for number in range(rounds + 2):
        for family, (policy, batch) in runs.items():
            spent = seconds(policy, batch)
            if number >= 2:  # the first rounds warm up
                times[family].append(spent)
    for family, values in times.items():
        weights = sum(parameter.numel() for parameter in runs[family][0].model.parameters())
        print(f"{family:18} {weights:8} weights {statistics.median(values):8.4f} s (median of {rounds})")
    ratios = [a / b for a, b in zip(times["llavaonevision1_5"], times["qwen2_5_vl"], strict=True)]
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
