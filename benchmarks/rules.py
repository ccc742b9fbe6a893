"""The rules that compute something, each against the plain way to compute it, in one process and one run.

svg: the conformance corpus' drawings, each gold with a group of completions, as training asks for them. Plain way:
render both with cairosvg to PNG files, load them, scikit-image's SSIM in float64, a process each.
ocr: edit distance of texts of 200 characters. Plain way: the textbook's two rows in Python.

Ratios are what counts; seconds depend on the machine.

    python benchmarks/rules.py [--drawings 20] [--group 16]
"""

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cairosvg
import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from ovrl.records import Question
from ovrl.reward import svg_code, text
from ovrl.reward.svg_picture import picture

CORPUS = Path(__file__).parents[2] / "shared" / "conformance" / "rewards.jsonl"


def corpus_drawings(count: int) -> list[tuple[str, str]]:
    """Return (gold, answer) of corpus records that render and are not equal but for layout."""
    records = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    chosen: list[tuple[str, str]] = []
    for record in records:
        if record.get("answer_type") == "svg-code" and isinstance(record["answer"], str) and record["reward"]:
            answer = record["response"].rpartition("<answer>")[2].partition("</answer>")[0].strip()
            gold = record["answer"].strip()
            if record["reward"] < 1.0 and picture(gold) and picture(answer):
                chosen.append((gold, answer))
    return chosen[:: max(1, len(chosen) // count)][:count]


def plain_image_score(gold: str, answer: str) -> float:
    """Return the SSIM by way of two PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        pixels: list[Any] = []
        for name, source in (("gold.png", gold), ("answer.png", answer)):
            path = Path(folder) / name
            cairosvg.svg2png(
                bytestring=source.encode(),
                write_to=str(path),
                output_width=336,
                output_height=336,
                background_color="white",
            )
            with Image.open(path) as image:
                pixels.append(np.asarray(image.convert("RGB"), dtype=np.float64))
        return float(structural_similarity(*pixels, data_range=255, channel_axis=-1))


def plain_image_score_in_a_process(gold: str, answer: str) -> float:
    context = multiprocessing.get_context("fork")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=lambda: writer.send(plain_image_score(gold, answer)))
    process.start()
    writer.close()
    value = reader.recv()
    process.join()
    return value


def measure_svg(drawings: int = 20, group: int = 16) -> dict[str, float]:
    """Return how many times as fast the rule is, for golds that repeat in groups and for golds that do not.

    The completions of a group differ by a comment, so that nothing but the gold can be remembered.
    """
    pairs = corpus_drawings(drawings)
    questions = [Question(answer=(gold,), answer_type="svg-code") for gold, _ in pairs]

    def ours(repeats: int) -> None:
        for question, (_, answer) in zip(questions, pairs, strict=True):
            for k in range(repeats):
                svg_code.score(
                    question, f"<answer>{answer.replace('</svg>', f'<!-- {k} --></svg>')}</answer>", "strict"
                )

    def plain() -> None:
        for gold, answer in pairs:
            plain_image_score_in_a_process(gold, answer)

    def once() -> None:
        svg_code.forget_references()
        ours(1)

    def grouped() -> None:
        svg_code.forget_references()
        ours(group)

    once()
    naive = _best(plain, 2) / len(pairs)
    return {
        "plain_ms": 1000 * naive,
        f"ours_ms_golds_{group}_times": 1000 * (in_groups := _best(grouped, 2) / len(pairs) / group),
        "ours_ms_golds_once": 1000 * (single := _best(once, 3) / len(pairs)),
        f"ratio_golds_{group}_times": naive / in_groups,
        "ratio_golds_once": naive / single,
    }


def plain_edit_distance(one: str, other: str) -> int:
    """Return the Levenshtein distance by the textbook's two rows."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


def measure_ocr(length: int = 200, count: int = 40) -> dict[str, float]:
    """Return how many times as fast the whole OCR rule is as a plain edit distance alone."""
    generator = random.Random(0)
    pairs: list[tuple[str, str]] = []
    for _ in range(count):
        gold = "".join(generator.choices("abcdefghij klmnop", k=length)).strip().ljust(length, "z")
        pairs.append((gold, "".join(generator.choice("xyz") if generator.random() < 0.2 else c for c in gold)))

    def ours() -> None:
        for gold, answer in pairs:
            text.score(Question(answer=(gold,)), f"<answer>{answer}</answer>", "strict")

    def plain() -> None:
        for gold, answer in pairs:
            plain_edit_distance(gold, answer)

    mine, theirs = _best(ours, 5) / count, _best(plain, 1) / count
    return {"plain_us": 1e6 * theirs, "ours_us": 1e6 * mine, "ratio": theirs / mine}


def _best(work: Callable[[], None], rounds: int) -> float:
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def show(title: str, figures: dict[str, float]) -> None:
    print(title, *(f"{name}={value:.3g}" for name, value in figures.items()))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawings", type=int, default=20)
    parser.add_argument("--group", type=int, default=16)
    options = parser.parse_args(arguments)
    if CORPUS.exists():
        show("svg", measure_svg(options.drawings, options.group))
    else:
        print(f"svg: no conformance corpus at {CORPUS}")
    show("ocr", measure_ocr())


if __name__ == "__main__":
    main()
