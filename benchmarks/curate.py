"""Time and memory of `ovrl curate` against pyarrow merely reading the file of scores.

    python benchmarks/curate.py            67,000 samples x 16 scores: 1.07 M lines, 400 MB
    python benchmarks/curate.py --quick    a tenth of it

Both run as processes of their own, in turn, on data made here from a seed; the whole command is measured, start-up,
digests, samples, stages and report included. The ratios are what counts: seconds depend on the machine, and CPU seconds
less so than seconds on a clock. The last figure is the growth from a tenth of the rows to all of them.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovrl import parquet
from ovrl.records import Question, Sample

SAMPLES, SCORES = 67_000, 16
READ = "import sys, pyarrow.json as reader; print(reader.read_json(sys.argv[1]).num_rows)"


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    megabytes: float = 0.0


def samples(count: int) -> Iterator[Sample]:
    """Yield text-only samples: images cost the same however the scores are read."""
    rng = random.Random(1)
    kinds = [
        ("virl39k", "stem", "math-expressions"),
        ("pixmo_count", "counting", "number"),
        ("ai2d", "stem", "multiple-choice"),
    ]
    for number in range(count):
        source, problem_type, answer_type = kinds[number % 3]
        problem = f"Question {number}: which of these?\nA. red\nB. blue\nC. green\nD. gray"
        answer = {"math-expressions": str(number), "number": str(rng.randrange(2, 11)), "multiple-choice": "B"}
        yield Sample(
            id=sample_id(number),
            question=Question(
                problem=problem,
                answer=(answer[answer_type],),
                answer_type=answer_type,
                problem_type=problem_type,
                prompt_type="normal" if number % 3 == 1 else "thinking",
                source=source,
            ),
        )


def sample_id(number: int) -> str:
    return f"{number * 2654435761 % 2**64:016x}"


def write_scores(path: Path, count: int) -> None:
    """Write score lines of about 373 bytes; what the completions say is of no matter."""
    rng = random.Random(2)
    with path.open("w") as file:
        for number in range(count):
            p = rng.random()
            for k in range(SCORES):
                right = float(rng.random() < p)
                record = {
                    "id": f"{sample_id(number)}#{k}",
                    "sample_id": sample_id(number),
                    "k": k,
                    "completion": "x" * rng.randrange(20, 90) + "<answer>3</answer>",
                    "finish_reason": "stop",
                    "completion_tokens": rng.randrange(9, 200),
                    "seed": rng.getrandbits(62),
                    "answer_type": "number",
                    "reward": right,
                    "components": {"accuracy": right},
                    "status": "ok",
                    "elapsed_ms": round(rng.random(), 3),
                }
                file.write(json.dumps(record) + "\n")


def measure(command: list[str]) -> Cost:
    """Run the command and return what it took; `peak` tells the memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu)


def peak(command: list[str]) -> float:
    """Run the command in a shell of its own and return its peak memory in MB."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def compare(folder: Path, count: int, rounds: int) -> tuple[Cost, Cost]:
    """Return the median cost of reading and of curating `count` samples, measured in turn."""
    scores, data, output = folder / "scores.jsonl", folder / "samples.parquet", folder / "out"
    write_scores(scores, count)
    parquet.write_samples(data, samples(count))
    read = [sys.executable, "-c", READ, str(scores)]
    curate = [
        sys.executable,
        "-m",
        "ovrl",
        "curate",
        "-i",
        scores,
        "--samples",
        data,
        "-o",
        output,
        "-q",
        "--overwrite",
    ]
    curate = [str(word) for word in curate]
    costs: dict[str, list[Cost]] = {"read": [], "curate": []}
    for number in range(rounds + 1):
        for name, command in (("read", read), ("curate", curate)):
            cost = measure(command)
            if number:  # the first round warms the file cache
                costs[name].append(cost)
    middle = {
        name: Cost(
            statistics.median(c.wall for c in found),
            statistics.median(c.cpu for c in found),
            peak(read if name == "read" else curate),
        )
        for name, found in costs.items()
    }
    lines, size = count * SCORES, scores.stat().st_size / 1e6
    kept = json.loads((output / "summary.json").read_text())["overall"]["kept"]
    print(f"{count:,} samples, {lines:,} lines, {size:.0f} MB; {kept:,} kept")
    for name, cost in middle.items():
        print(f"  {name:8} {cost.wall:7.2f} s {cost.cpu:7.2f} CPU s {cost.megabytes:7.0f} MB")
    ratio = middle["curate"].wall / middle["read"].wall
    print(f"  ratio    {ratio:7.2f}   {middle['curate'].cpu / middle['read'].cpu:7.2f}")
    shutil.rmtree(output)
    return middle["read"], middle["curate"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, and a hundredth to compare")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    count = SAMPLES // 10 if given.quick else SAMPLES
    with tempfile.TemporaryDirectory() as folder:
        _, small = compare(Path(folder), count // 10, given.rounds)
        _, large = compare(Path(folder), count, given.rounds)
    growth = (large.wall / small.wall, large.cpu / small.cpu)
    print(f"10 times the rows take {growth[0]:.1f} times as long ({growth[1]:.1f} times the CPU time)")


if __name__ == "__main__":
    main()
