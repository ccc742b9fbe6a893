"""The math-expressions rule against Math-Verify called with the same three targets, on the conformance records.

Each side takes every record once, in file order, in a process of its own on one core, after two records of
another kind have loaded its libraries. The ratio of the rates is what counts; seconds depend on the machine.
The verdicts are compared pair by pair: those of the rule's expression step with the library's, in the same
roles. They differ where the original's version of the LaTeX grammar (antlr 4.11) reads a percent sign otherwise
than the installed one, and nowhere else.

    python benchmarks/math_rule.py [--rounds 3] [--records ../shared/conformance/rewards.jsonl]
"""

import argparse
import json
import logging
import os
import statistics
import string
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from ovrl.records import Question
from ovrl.reward.extract import final_answer

RECORDS = Path(__file__).parents[2] / "shared" / "conformance" / "rewards.jsonl"
PLAIN = ("7", "$y+1$")
"""Two answers that load all libraries; neither is in the records."""

Pair = tuple[str, str, str]
"""Id, completion and gold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one comparison of the rule with the library gave."""

    ratios: list[float]
    """Rate of the rule over rate of the library, by round."""
    rates: dict[str, float]
    """Records per second of CPU time, medians: "ours" and "math-verify"."""
    differing: list[str]
    """Ids on which the expression step and the library have different verdicts."""


def read_pairs(path: Path = RECORDS) -> list[Pair]:
    """Return the mathematical records with a gold text."""
    pairs: list[Pair] = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        gold = record.get("answer")
        gold = gold[0] if isinstance(gold, list) and len(gold) == 1 else gold
        if record.get("answer_type") == "math-expressions" and isinstance(gold, str):
            pairs.append((record["id"], record["response"], gold))
    return pairs


def measure(mode: str, pairs: list[Pair], rounds: int = 3) -> Outcome:
    """Compare the whole rule in a mode ("ov15" or "strict") with the library alone."""
    sides: dict[str, list[float]] = {"ours": [], "math-verify": []}
    for _ in range(rounds):
        for name in sides:
            sides[name].append(_fresh(_rate, name, mode, pairs))
    ours, theirs = _fresh(_verdicts, "ours", pairs), _fresh(_verdicts, "math-verify", pairs)
    return Outcome(
        ratios=[a / b for a, b in zip(sides["ours"], sides["math-verify"], strict=True)],
        rates={name: statistics.median(rates) for name, rates in sides.items()},
        differing=[pair[0] for pair, left, right in zip(pairs, ours, theirs, strict=True) if left != right],
    )


def _fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _rate(side: str, mode: str, pairs: list[Pair]) -> float:
    run = _rule(mode) if side == "ours" else _library()
    for answer in PLAIN:
        run(f"<answer>{answer}</answer>", "$y+2$")
    start = time.process_time()
    for _, completion, gold in pairs:
        run(completion, gold)
    return len(pairs) / (time.process_time() - start)


def _verdicts(side: str, pairs: list[Pair]) -> list[bool]:
    run = _expression_step() if side == "ours" else _library()
    return [run(completion, gold) for _, completion, gold in pairs]


def _rule(mode: Any) -> Callable[[str, str], bool]:
    from ovrl.reward.expression import score

    return lambda completion, gold: score(Question(answer=(gold,)), completion, mode).reward == 1.0


def _expression_step() -> Callable[[str, str], bool]:
    from ovrl.reward.algebra import same_text

    return lambda completion, gold: same_text(final_answer(completion, "ov15") or "", gold)


def _library() -> Callable[[str, str], bool]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, StringExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    letters = StringExtractionConfig(strings=tuple(string.ascii_letters))
    targets = (letters, LatexExtractionConfig(), ExprExtractionConfig())
    # The original hands the answer to the gold's place.
    return lambda completion, gold: verify(parse(final_answer(completion, "ov15") or "", targets), parse(gold, targets))


def main() -> None:
    """Print the ratios by mode, and the verdicts that differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=Path, default=RECORDS)
    given = parser.parse_args()
    pairs = read_pairs(given.records)
    for mode in ("ov15", "strict"):
        outcome = measure(mode, pairs, given.rounds)
        rates = ", ".join(f"{name} {rate:.0f}/s" for name, rate in outcome.rates.items())
        spread = f"{min(outcome.ratios):.2f} to {max(outcome.ratios):.2f}"
        print(f"{mode:7} {statistics.median(outcome.ratios):6.2f} times ({spread}) on {len(pairs)} records; {rates}")
        if mode == "ov15":
            print(f"        {len(outcome.differing)} differing verdicts: {' '.join(outcome.differing) or 'none'}")


if __name__ == "__main__":
    main()
