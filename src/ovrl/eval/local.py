"""Evaluate a model on a samples file, through our own rollout and rewards.

    completions.jsonl -> scores.jsonl -> items.jsonl (one line for each sample) -> results.json

The first two are the outputs of `ovrl rollout` and `ovrl score`; an interrupted evaluation goes on in them.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.curate.estimators import pass_at_k
from ovrl.errors import OvrlError, RecordError
from ovrl.eval.intervals import bootstrap_mean
from ovrl.eval.settings import EvalSettings
from ovrl.json_lines import JsonLines
from ovrl.manifest import Identity
from ovrl.records import PromptType, Sample
from ovrl.rejects import Rejects
from ovrl.reward.line_source import LineSource
from ovrl.reward.run import score_lines
from ovrl.rollout.engine import Engine
from ovrl.rollout.run import roll_out
from ovrl.rollout.settings import RolloutSettings
from ovrl.selection import Selection

RESULTS, ITEMS = "results.json", "items.jsonl"


def evaluate(
    samples: Sequence[Sample],
    make_engine: Callable[[], Engine],
    out: Path,
    settings: EvalSettings,
    *,
    identity: Identity,
    mode: PromptType,
    model: str,
    rejects: Rejects,
    on_done: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Sample, judge, and write `items.jsonl` and `results.json` into `out`; return the results.

    Args:
        samples: the held-out set.
        make_engine: called only if completions are missing.
        out: the directory; the caller owns its manifest.
        settings: how many completions, how they are drawn and judged.
        identity: of the evaluation; its parts continue only under the same.
        mode: answer-only or thinking; every sample is asked so.
        model: its name in the records.
        rejects: takes samples that cannot be asked.
        on_done: told how many completions are new.
    """
    completions, scores = out / "completions.jsonl", out / "scores.jsonl"
    asked = RolloutSettings(
        n=settings.n,
        prompt_type=mode,
        max_pixels=settings.max_pixels,
        sampling=settings.sampling,
        engine=settings.engine,
    )
    with JsonLines(str(completions), "", identity) as lines:
        resumed = lines.finished
        if not lines.finished:
            engine = make_engine()
            roll_out(samples, engine, lines, rejects, asked, model=model, seed=identity.seed, on_done=on_done)
            engine.close()
    with JsonLines(str(scores), "", identity) as lines, LineSource([str(completions)], Selection()) as source:
        if not lines.finished:
            score_lines(source, lines, rejects, settings.score.duty())
    items = _items(samples, scores, settings)
    if resumed:  # the samples that could not be asked then are bad records of this run, too
        met = {item["sample_id"] for item in items}
        for sample in samples:
            if sample.id not in met:
                rejects.add(
                    RecordError("", "it could not be asked when the completions were made"), record_id=sample.id
                )
    if not items:
        raise OvrlError(f"nothing could be evaluated: all {rejects.count} samples were rejected")
    store.write_atomic(out / ITEMS, "".join(store.dumps(item) + "\n" for item in items))
    results = _summary(items, settings, mode=mode, model=model, seed=identity.seed)
    store.write_json(out / RESULTS, results)
    return results


def _items(samples: Sequence[Sample], scores: Path, settings: EvalSettings) -> list[dict[str, Any]]:
    """Return one record for each sample, in the order of the samples."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with scores.open(encoding="utf-8") as stream:
        for line in stream:
            record = json.loads(line)
            lines[record["sample_id"]].append(record)
    return [_item(sample, lines[sample.id], settings) for sample in samples if lines[sample.id]]


def _item(sample: Sample, lines: list[dict[str, Any]], settings: EvalSettings) -> dict[str, Any]:
    judged = [line for line in lines if line["reward"] is not None]
    accuracies = [float(line["components"].get("accuracy", line["reward"])) for line in judged]
    correct = sum(accuracy >= settings.pass_threshold for accuracy in accuracies)
    k = min(settings.k or settings.n, len(judged))
    return {
        "sample_id": sample.id,
        "accuracy": statistics.fmean(accuracies) if judged else None,
        "correct": correct,
        "pass_at_k": pass_at_k(len(judged), correct, k) if k else None,
        "n": len(judged),
        "unscored": len(lines) - len(judged),
        "truncated_rate": sum(line["finish_reason"] == "length" for line in lines) / len(lines),
        "no_answer_rate": sum(line["status"] == "no_answer" for line in lines) / len(lines),
        "problem": sample.question.problem,
        "answer": list(sample.question.answer),
        "answer_type": sample.question.answer_type,
        "problem_type": sample.question.problem_type,
        "source": sample.question.source,
        "difficulty": sample.question.meta.get("difficulty"),
        "prompt_type": lines[0]["prompt_type"],
        "completions": [
            {name: line[name] for name in ("k", "completion", "reward", "status", "finish_reason")}
            for line in sorted(lines, key=lambda line: line["k"])
        ],
    }


def _summary(
    items: Sequence[dict[str, Any]], settings: EvalSettings, *, mode: PromptType, model: str, seed: int
) -> dict[str, Any]:
    """Return what goes into `results.json`."""
    return {
        "schema": "ovrl.eval/1",
        "model": model,
        "samples": len(items),
        "mode": "fast" if mode == "normal" else "thinking",
        "n": settings.n,
        "k": settings.k or settings.n,
        "pass_threshold": settings.pass_threshold,
        "overall": summarize(items, seed),
        **{f"by_{name}": _by(items, name, seed) for name in ("source", "answer_type", "problem_type", "difficulty")},
    }


def summarize(items: Iterable[dict[str, Any]], seed: int) -> dict[str, Any]:
    """Return accuracy with its 95 % bootstrap interval over samples, pass@k and shares of failures.

    Samples whose completions could all not be judged are counted and left out of the means.
    """
    rows = list(items)
    judged = [row for row in rows if row["accuracy"] is not None]
    interval = bootstrap_mean([row["accuracy"] for row in judged], seed) if judged else None
    return {
        "accuracy": interval.mean if interval else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "pass_at_k": statistics.fmean(row["pass_at_k"] for row in judged) if judged else None,
        "items": len(judged),
        "unscored": sum(row["unscored"] for row in rows),
        "truncated_rate": statistics.fmean(row["truncated_rate"] for row in rows),
        "no_answer_rate": statistics.fmean(row["no_answer_rate"] for row in rows),
    }


def _by(items: Sequence[dict[str, Any]], name: str, seed: int) -> dict[str, dict[str, Any]]:
    """Return the summary of each value of a field, in alphabetical order; samples without it are left out."""
    values = sorted({str(item[name]) for item in items if item[name] is not None})
    return {value: summarize((i for i in items if str(i[name]) == value), seed) for value in values}
