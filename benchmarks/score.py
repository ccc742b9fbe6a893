"""`ovrl score` as a whole against what it stands beside, by answer type; every figure is a ratio measured in this run.

    python benchmarks/score.py [--corpus FILE] [--lines 200000] [--rounds 3] [--only simple,cores,...] [--cpu]

The lines are the conformance corpus', repeated. "distinct" makes every completion different by a number in
its thinking, as samples of one model are; "unseen" gives every line a gold answer more that no other line has,
so that nothing is known from one line to the next and every rule is applied. `--cpu` takes processor time of all
processes instead of the clock, for machines that others use too; it says nothing about two cores.
`benchmarks/math_rule.py` and `benchmarks/rules.py` measure single rules against their peers.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from ovrl.reward.batch import Batch
from ovrl.reward.clock import PROGRESS, Clock
from ovrl.reward.judge import Judge
from ovrl.reward.line_scorer import LineScorer
from ovrl.reward.line_source import LineSource
from ovrl.selection import Selection

CORPUS = Path(__file__).parents[1].parent / "shared" / "conformance" / "rewards.jsonl"
SIMPLE = ("number", "multiple-choice", "boolean", "critic", "any", "bbox")
NAMES = ("id", "answer_type", "problem_type", "response", "answer", "prompt")
VARIANTS = ("repeated", "distinct", "unseen")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def corpus_lines(path: Path, answer_types: tuple[str, ...], count: int, variant: str = "repeated") -> bytes:
    """Return so many lines of the corpus' records of these types, as other frameworks dump them."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    chosen = [r for r in records if r.get("answer_type") in answer_types and r["entry"] == "RewardSystem.reward"]
    chosen = [{name: r[name] for name in NAMES if r.get(name) is not None} for r in chosen if r["answer"] is not None]
    lines: list[bytes] = []
    for number in range(count):
        record = chosen[number % len(chosen)]
        if variant != "repeated":
            record = record | {"response": f"<think>{number}</think>{record['response']}"}
        if variant == "unseen":
            golds = record["answer"] if isinstance(record["answer"], list) else [record["answer"]]
            record = record | {"answer": [*golds, f"unseen {number}"]}
        lines.append(orjson.dumps(record) + b"\n")
    return b"".join(lines)


def seconds(work: Callable[[], Any]) -> float:
    start = clock()
    work()
    return clock() - start


def processor_time() -> float:
    """Return the seconds that all processes took which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


clock: Callable[[], float] = time.perf_counter


def command(source: Path, *arguments: str) -> None:
    program = [sys.executable, "-m", "ovrl", "score", str(source), "-q", "--fail-on", "100%", *arguments]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)


def loop(source: Path) -> None:
    """Decode and encode each line with orjson, in a process of its own."""
    code = (
        "import orjson, sys\n"
        "with open(sys.argv[1], 'rb') as lines, open(os.devnull, 'wb') as out:\n"
        "    for line in lines: out.write(orjson.dumps(orjson.loads(line)) + b'\\n')\n"
    )
    subprocess.run([sys.executable, "-c", f"import os\n{code}", str(source)], check=True)


def ratios(rounds: int, peer: Callable[[], Any], *others: Callable[[], Any]) -> list[float]:
    """Return the median over interleaved rounds of the time of each of the others over the peer's."""
    found: list[list[float]] = []
    for _ in range(rounds):
        base = seconds(peer)
        found.append([seconds(other) / base for other in others])
    return [statistics.median(column) for column in zip(*found, strict=True)]


def simple(corpus: Path, folder: Path, lines: int, rounds: int) -> None:
    print(
        f"\nend to end over an orjson loop on the same {lines:,} lines, with 1 and 2 workers (times, smaller is better)"
    )
    print(f"{'answer type':<18}" + "".join(f"{variant:>13}, 1{'2':>7}" for variant in VARIANTS))
    for answer_type in SIMPLE:
        row = f"{answer_type:<18}"
        for variant in VARIANTS:
            source = folder / "simple.jsonl"
            source.write_bytes(corpus_lines(corpus, (answer_type,), lines, variant))
            one, two = ratios(
                rounds,
                lambda source=source: loop(source),
                lambda source=source: command(source, "--workers", "1"),
                lambda source=source: command(source, "--workers", "2"),
            )
            row += f"{one:>16.2f}{two:>7.2f}"
        print(row, flush=True)


def cores(corpus: Path, folder: Path, rounds: int) -> None:
    print("\ntwo workers over one (times as fast)")
    for name, types, count in (
        ("ocrtext, html-code", ("ocrtext", "html-code"), 20_000),
        ("math-expressions", ("math-expressions",), 6_000),
        ("svg-code", ("svg-code",), 2_000),
    ):
        source = folder / "cores.jsonl"
        source.write_bytes(corpus_lines(corpus, types, count, "distinct"))
        (ratio,) = ratios(
            rounds, lambda source=source: command(source, "--workers", "2"),
            lambda source=source: command(source, "--workers", "1"),
        )  # fmt: skip
        print(f"{name:<20}{ratio:.2f}", flush=True)


def isolation(corpus: Path, folder: Path, rounds: int) -> None:
    print("\none isolated worker over the same rules in one process (times, 1 is free)")
    for name, types, count in (
        ("simple types", SIMPLE, 200_000),
        ("ocrtext, html-code", ("ocrtext", "html-code"), 20_000),
        ("math-expressions", ("math-expressions",), 4_000),
        ("svg-code", ("svg-code",), 1_000),
    ):
        source = folder / "isolation.jsonl"
        source.write_bytes(corpus_lines(corpus, types, count, "distinct"))
        (ratio,) = ratios(
            rounds,
            lambda source=source: subprocess.run(
                [sys.executable, __file__, "--in-process", str(source)], check=True, env=ENVIRONMENT
            ),
            lambda source=source: command(source, "--workers", "1"),
        )
        print(f"{name:<20}{ratio:.3f}", flush=True)


def in_process(source: Path) -> None:
    """Score a file without workers, limits or confinement; start-up is that of the command."""
    import ovrl.cli.main
    import ovrl.reward.run  # noqa: F401 - what the command imports

    scorer = LineScorer(Judge(), Clock(bytearray(PROGRESS.size)))
    with LineSource([str(source)], Selection()) as lines, Path(os.devnull).open("wb") as out:
        while not lines.is_done:
            lines.read()
            for part in scorer.score(Batch(lines=lines.take(1000))):
                out.write(b"".join(part.lines))


def memory(corpus: Path, folder: Path) -> None:
    print("\npeak memory of the largest process (MiB)")
    for megabytes in (10, 100):
        source = folder / "memory.jsonl"
        text = corpus_lines(corpus, SIMPLE, 20_000, "distinct")
        source.write_bytes(b"".join(text for _ in range(megabytes * 1_000_000 // len(text) + 1)))
        code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
        program = [sys.executable, "-m", "ovrl", "score", str(source), "-q", "--fail-on", "100%"]
        found = subprocess.run([sys.executable, "-c", code, *program], check=True, capture_output=True, text=True)
        print(f"{source.stat().st_size / 1e6:>6.0f} MB of lines {found.stdout.strip():>6}", flush=True)


def start(folder: Path, rounds: int) -> None:
    source = folder / "one.jsonl"
    source.write_text('{"completion": "<answer>B</answer>", "answer": "B", "answer_type": "multiple-choice"}\n')
    base = [sys.executable, "-c", "import typer, rich"]
    (ratio,) = ratios(5 * rounds, lambda: subprocess.run(base, check=True), lambda: command(source))
    print(f"\none record from a cold start over `python -c 'import typer, rich'`: {ratio:.2f} times", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="simple,cores,isolation,memory,start")
    parser.add_argument("--cpu", action="store_true", help="measure processor time")
    parser.add_argument("--in-process", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_process:
        in_process(asked.in_process)
        return
    if asked.cpu:
        global clock
        clock = processor_time
    wanted = asked.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "start" in wanted:
            start(folder, asked.rounds)
        if "simple" in wanted:
            simple(asked.corpus, folder, asked.lines, asked.rounds)
        if "isolation" in wanted:
            isolation(asked.corpus, folder, asked.rounds)
        if "cores" in wanted:
            cores(asked.corpus, folder, asked.rounds)
        if "memory" in wanted:
            memory(asked.corpus, folder)


if __name__ == "__main__":
    main()
