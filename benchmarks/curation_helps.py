"""Does curation help? Held-out accuracy after training on the curated set and on a uniform sample of equal size.

    python benchmarks/curation_helps.py [--seeds 5] [--quick] [--rule default] [--folder DIR]

On the demo's tiny model, by public commands alone, which are printed. For each seed: a pool of prompts, tries of the
base model, the curated set and a uniform sample of the same pool and size, one training on each with the same settings
and the same seed, and held-out accuracy. What is finished is skipped, so the same command goes on after a stop.
"""

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ovrl.cli import demo


@dataclass(frozen=True)
class Size:
    base: demo.Size
    pool: int
    n: int
    heldout: int
    eval_n: int
    steps: int


FULL = Size(demo.FULL, pool=1024, n=16, heldout=400, eval_n=4, steps=80)
QUICK = Size(demo.QUICK, pool=192, n=16, heldout=96, eval_n=2, steps=8)

# Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1.
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)


def ovrl(line: str) -> None:
    print(f"$ ovrl {line}", flush=True)
    subprocess.run([sys.executable, "-m", "ovrl", *shlex.split(line), "-q"], check=True)


def accuracy(folder: Path, model: str, size: Size) -> float:
    ovrl(
        f"eval --model {model} --samples {folder.parent}/heldout.parquet -n {size.eval_n} --max-new-tokens 64 "
        f"-o {folder} --fail-on 100%"
    )
    return json.loads((folder / "results.json").read_text())["overall"]["accuracy"]


def prepare(root: Path, size: Size) -> str:
    """Make the held-out set and the demo's base model, and return the model."""
    for _, line in demo.plan(root / "demo", size.base, seed=42):
        if line.startswith(("data synth --split warmup", "data synth --split doubt", "warmup")):
            ovrl(line)
    ovrl(f"data synth --split heldout -n {size.heldout} -o {root}/heldout.parquet --seed 42")
    return f"{root}/demo/base"


def compare(root: Path, base: str, size: Size, seed: int, rule: str) -> tuple[int, float, float]:
    """Return the size of both sets, and the accuracy after each for one seed."""
    own = root / f"seed{seed}"
    ovrl(f"data synth --split pool -n {size.pool} -o {own}-pool.parquet --seed {seed}")
    ovrl(
        f"rollout -i {own}-pool.parquet --model {base} -n {size.n} --prompt-type normal --max-new-tokens 64 "
        f"--shuffle-options -o {own}-rollouts --seed {seed}"
    )
    ovrl(f"score -i {own}-rollouts -o {own}-scores --fail-on 100%")
    common = (
        f"curate -i {own}-scores --samples {own}-pool.parquet --seed {seed} -s curate.stage2_replay=0 --fail-on 100%"
    )
    ovrl(f"{common} --rule {rule} -o {own}-curated")
    count = json.loads(Path(f"{own}-curated/summary.json").read_text())["overall"]["kept"]
    ovrl(f"{common} --rule band --band=-1:2 --size {count} -o {own}-uniform")
    found: list[float] = []
    for arm in ("curated", "uniform"):
        ovrl(
            f"train --stage 1 -i '{own}-{arm}/stage[12]/*.parquet' --model {base} --preset tiny --steps {size.steps} "
            f"-o {own}-{arm}-run --seed {seed}"
        )
        found.append(accuracy(Path(f"{own}-{arm}-eval"), f"{own}-{arm}-run/final", size))
    return count, found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="smaller in everything: only to see that it runs")
    parser.add_argument("--rule", default="default")
    parser.add_argument("--folder", type=Path, default=Path("curation-helps"))
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    size = QUICK if given.quick else FULL
    root = given.folder / ("quick" if given.quick else "full") / given.rule.replace("+", "-")
    root.mkdir(parents=True, exist_ok=True)
    base = prepare(root, size)
    before = accuracy(root / "base-eval", base, size)
    rows = [(seed, *compare(root, base, size, seed, given.rule)) for seed in range(1, given.seeds + 1)]
    print(f"\nheld-out accuracy; before training {before:.4f}; rule {given.rule}\n")
    print("| seed | samples | curated | uniform | difference |\n|---|---|---|---|---|")
    for seed, count, curated, uniform in rows:
        print(f"| {seed} | {count} | {curated:.4f} | {uniform:.4f} | {curated - uniform:+.4f} |")
    differences = [curated - uniform for _, _, curated, uniform in rows]
    mean = statistics.fmean(differences)
    if len(differences) > 1:
        half = T[min(len(differences) - 1, len(T)) - 1] * statistics.stdev(differences) / math.sqrt(len(differences))
        print(f"\npaired difference {mean:+.4f}, 95 % interval {mean - half:+.4f} to {mean + half:+.4f} (Student's t)")
    else:
        print(f"\npaired difference {mean:+.4f}; an interval needs two seeds")


if __name__ == "__main__":
    main()
