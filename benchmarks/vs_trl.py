"""TRL's GRPOTrainer and `ovrl train` on the same model, data, rewards, group size and lengths, in turns.

Both train the demo's warmed-up tiny model on the demo's pool, from a directory to a directory; then `ovrl eval` asks
both results the same held-out prompts. A sample is one completion that was sampled, judged and taken to a step; the
time is that of the steps alone, without imports, loading and saving. Both get the same tokens: the prompts of a step
times the group size, replies of 64 tokens at most. Groups without any contrast are left out by ovrl, and carried
along by TRL with advantages of zero; so ovrl's figure is given once for the completions that were sampled, and once
for those that its gradient saw.

    python benchmarks/vs_trl.py --steps 60 --rounds 3           # on a quiet machine; about half an hour on two cores
    python benchmarks/vs_trl.py --steps 2 --rounds 1 --quick    # whether it runs
    python benchmarks/vs_trl.py --device cuda                   # one learner step at 1.5 B random weights, see `gpu`

What counts is the ratio (goal: 2) at accuracies whose difference is within their spread over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

GROUPS, SIZE, LONGEST = 16, 8, 64
RATE = 3e-4

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Operations per second in bfloat16 without sparsity, from the makers' data sheets."""


def ovrl(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "ovrl", *words, "-q"], check=True)


def prepare(folder: Path, quick: bool) -> None:
    """Make the demo's data and model; the model is taken from the cache if it was made before."""
    warmup, steps, doubt, more = (128, 4, 64, 1) if quick else (12000, 1500, 1600, 100)
    heldout = 16 if quick else 400
    for split, count in (("warmup", warmup), ("doubt", doubt), ("pool", 1024), ("heldout", heldout)):
        ovrl("data", "synth", "--split", split, "-n", str(count), "-o", f"{folder}/{split}.parquet", "--seed", "0")
    ovrl("warmup", "-i", f"{folder}/warmup.parquet", "--model", "tiny", "--steps", str(steps), "--cache", "-o",
         f"{folder}/taught", "--seed", "0")  # fmt: skip
    ovrl("warmup", "-i", f"{folder}/doubt.parquet", "--model", f"{folder}/taught", "--steps", str(more), "--lr",
         "5e-4", "--cache", "-o", f"{folder}/base", "--seed", "0")  # fmt: skip


def with_ovrl(folder: Path, out: Path, steps: int, seed: int) -> dict[str, float]:
    assigned = {"batch.groups": GROUPS, "batch.group_size": SIZE, "sampling.max_new_tokens": LONGEST,
                "optimizer.lr": RATE, "batch.refills": 0, "save_every": steps, "score.workers": 1}  # fmt: skip
    words = [word for name, value in assigned.items() for word in ("-s", f"train.{name}={value}")]
    ovrl("train", "--stage", "1", "-i", f"{folder}/pool.parquet", "--model", f"{folder}/base", "-o", str(out),
         "--preset", "tiny", "--steps", str(steps), "--seed", str(seed), *words)  # fmt: skip
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (out / "final").rename(out / "model")
    return {
        "seconds": sum(line["time_step_s"] for line in lines),
        "sampled": sum(line["groups_sampled"] for line in lines) * SIZE,
        "trained": sum(line["groups_used"] for line in lines) * SIZE,
    }


def with_trl(folder: Path, out: Path, steps: int, seed: int) -> dict[str, float]:
    """Run TRL in a process of its own, as ovrl runs."""
    subprocess.run(
        [sys.executable, __file__, "--trl", str(folder), str(out), "--steps", str(steps), "--seed", str(seed)],
        check=True,
        stdout=sys.stderr,
    )
    return json.loads((out / "figures.json").read_text())


def run_trl(folder: Path, out: Path, steps: int, seed: int) -> None:
    """Train with TRL, as near to ovrl's settings as its own go, and write the model and the figures."""
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from ovrl import images
    from ovrl.rejects import Rejects
    from ovrl.reward.pool import ScorePool
    from ovrl.reward.settings import ScoreSettings
    from ovrl.rollout import prompt
    from ovrl.samples import read_samples
    from ovrl.selection import Selection

    found = read_samples(f"{folder}/pool.parquet", Rejects(None), Selection.parse(None, None))
    samples = [one.with_prompt_type("normal") for one in found]
    data = Dataset.from_list(
        [
            {"prompt": prompt.messages(one), "images": [images.load(ref) for ref in one.images], "row": row}
            for row, one in enumerate(samples)
        ]
    )
    pool = ScorePool(ScoreSettings(workers=1))

    def judged(completions: list[Any], row: list[int], **rest: Any) -> list[float]:
        texts = [reply[0]["content"] for reply in completions]
        asked = ((samples[index].question, text) for index, text in zip(row, texts, strict=True))
        return [timed.verdict.score.reward or 0.0 for timed in pool.judge(asked)]

    class Clock(TrainerCallback):
        """The time inside of steps; TRL samples there, too."""

        begun = 0.0
        seconds = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds += time.perf_counter() - self.begun

    chosen = GRPOConfig(
        output_dir=str(out / "trl"),
        max_steps=steps,
        per_device_train_batch_size=GROUPS * SIZE,
        gradient_accumulation_steps=1,
        num_generations=SIZE,
        max_completion_length=LONGEST,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        beta=0.0,
        epsilon=0.2,
        epsilon_high=0.28,
        scale_rewards="group",
        loss_type="dapo",
        temperature=1.0,
        gradient_checkpointing=False,  # it is slower with it, and memory is no matter here
        bf16=False,
        use_cpu=True,
        seed=seed,
        report_to=[],
        save_strategy="no",
        logging_steps=max(1, steps // 4),
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = GRPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(folder / "base"),
        reward_funcs=judged,
        args=chosen,
        train_dataset=data,
        processing_class=AutoProcessor.from_pretrained(folder / "base"),
        callbacks=[clock],
    )
    trainer.train()
    pool.close()
    trainer.save_model(str(out / "model"))
    AutoProcessor.from_pretrained(folder / "base").save_pretrained(out / "model")
    count = steps * GROUPS * SIZE
    (out / "figures.json").write_text(json.dumps({"seconds": clock.seconds, "sampled": count, "trained": count}))


def accuracy(folder: Path, model: Path, out: Path) -> float:
    ovrl("eval", "--model", str(model), "--samples", f"{folder}/heldout.parquet", "--mode", "fast", "-n", "4",
         "--max-new-tokens", str(LONGEST), "-o", str(out))  # fmt: skip
    return float(json.loads((out / "results.json").read_text())["overall"]["accuracy"])


def compare(steps: int, rounds: int, quick: bool) -> None:
    sides: dict[str, Callable[[Path, Path, int, int], dict[str, float]]] = {"ovrl": with_ovrl, "trl": with_trl}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, quick)
        before = accuracy(folder, folder / "base", folder / "eval-base")
        print(f"base: held-out pass@1 {before:.3f}")
        for number in range(rounds):
            for side, train in sides.items():
                out = folder / f"{side}-{number}"
                out.mkdir()
                figures = train(folder, out, steps, number)
                figures["accuracy"] = accuracy(folder, out / "model", folder / f"eval-{side}-{number}")
                found[side].append(figures)
                print(
                    f"round {number} {side:5} {figures['sampled'] / figures['seconds']:8.2f} samples/s "
                    f"(with a gradient {figures['trained'] / figures['seconds']:8.2f})  "
                    f"pass@1 {figures['accuracy']:.3f}  {figures['seconds']:.1f} s",
                    flush=True,
                )
    for kind in ("sampled", "trained"):
        ratios = [
            (ours[kind] / ours["seconds"]) / (theirs["trained"] / theirs["seconds"])
            for ours, theirs in zip(found["ovrl"], found["trl"], strict=True)
        ]
        print(f"ovrl / trl, {kind}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    for side, runs in found.items():
        values = [run["accuracy"] for run in runs]
        print(
            f"{side}: pass@1 {statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f}), from {before:.3f}"
        )


def gpu(layers: int, peak: float | None, rounds: int) -> None:
    """Print the speed of a learner step on one GPU: tokens per second, MFU, and the time to publish.

    The model is a Qwen2.5-VL of 1.5 B random weights (28 layers), the completions are random tokens: nothing is
    learned, and nothing sampled. Model operations per token are 6 x weights (2 forward, 4 backward; arXiv:2001.08361);
    prompts count once for each completion, as they would be read without sharing.
    """
    import torch
    from engine import load

    from ovrl.curate import synthetic
    from ovrl.records import Score
    from ovrl.rollout import prompt
    from ovrl.train.batch import Item
    from ovrl.train.learner import Learner
    from ovrl.train.recipe import Recipe
    from ovrl.train.settings import TrainSettings
    from ovrl.train.trajectory import Trajectory

    policy = load(layers, "cuda")
    policy.model.float()
    settings = TrainSettings.model_validate({"batch": {"max_tokens": 32768}, "learner": {"device": "cuda"}})
    learner = Learner(policy, Recipe(settings.objective), settings)
    words = [word for word in range(len(policy.tokenizer)) if word not in set(policy.banned_ids())]
    length = 512
    items = [
        Item(asked, Trajectory(k=k, text="", token_ids=tuple((words * length)[k : k + length]),
                               logprobs=(-12.0,) * length, versions=(0,) * length, finish_reason="length",
                               score=Score(reward=float(k % 2))), [k % 2 - 0.5] * length, group)
        for group, asked in enumerate(prompt.build(one) for one in synthetic.generate("pool", GROUPS, seed=0))
        for k in range(SIZE)
    ]  # fmt: skip
    lengths = policy.encode([item.prompt for item in items[::SIZE]]).lengths
    tokens = sum(count * SIZE for count in lengths) + length * len(items)
    weights = sum(value.numel() for value in policy.model.parameters())
    name = torch.cuda.get_device_name()
    rate = peak or next((value for key, value in PEAKS.items() if key in name), None)
    times: list[float] = []
    for number in range(rounds + 1):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        learner.step(items, number)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    seconds = statistics.median(times[1:])
    begun = time.perf_counter()
    copied = [value.detach().to("cpu") for _, value in learner.weights()]
    published = time.perf_counter() - begun
    size = sum(value.numel() * value.element_size() for value in copied)
    print(f"{name}: {weights / 1e9:.2f} B weights, {tokens} tokens in {seconds:.2f} s: {tokens / seconds:.0f} tokens/s")
    print(f"MFU {6 * weights * tokens / seconds / rate:.3f}" if rate else "MFU: give --peak, operations per second")
    print(f"weights to the host: {published:.2f} s for {size / 1e9:.1f} GB, {size / published / 1e9:.1f} GB/s")


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--layers", type=int, default=28)
    arguments.add_argument("--peak", type=float)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--trl", nargs=2, type=Path, metavar=("FOLDER", "OUT"), help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.trl:
        run_trl(*given.trl, given.steps, given.seed)
    elif given.device == "cuda":
        gpu(given.layers, given.peak, given.rounds)
    else:
        compare(given.steps, given.rounds, given.quick)


if __name__ == "__main__":
    main()
