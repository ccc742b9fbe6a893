"""Rollout as a job: samples in, completions out, each exactly once."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ovrl import codec
from ovrl.json_lines import JsonLines
from ovrl.records import Completion, Question, Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.rollout.engine import Engine, Generation
from ovrl.rollout.plan import Asked, Done, Jury, Plan
from ovrl.rollout.settings import RolloutSettings

log = logging.getLogger(__name__)


def roll_out(
    samples: Iterable[Sample],
    engine: Engine,
    output: JsonLines,
    rejects: Rejects,
    settings: RolloutSettings,
    *,
    model: str,
    seed: int,
    on_done: Callable[[int], None] = lambda count: None,
    watch: Callable[[Mapping[str, int]], None] = lambda counts: None,
    jury: Jury | None = None,
) -> dict[str, int]:
    """Write `settings.n` completions of every sample, or of every sample in both modes, and return the counts.

    What an earlier run left in `output` is not made again.

    Args:
        samples: the prompts.
        engine: makes the completions.
        output: where they go; finished here.
        rejects: takes samples whose prompt cannot be built, or not be answered by this engine.
        settings: how many, and how they are drawn.
        model: the name that goes into the records.
        seed: completion k of sample s, and the order of its options, come from `derive_seed(seed, s, k)`.
        on_done: told how many completions are new.
        watch: shown the counts of earlier runs, and all counts after each completion.
        jury: stops sampling a prompt early; what that leaves out is counted as `saved`.

    Raises:
        OvrlError: the engine failed; what it made is kept.
    """
    counts = Counter[str](recovered=0)
    done = _done(output, counts, jury)
    plan = Plan(samples, settings, done=done, seed=seed, rejects=rejects, counts=counts, jury=jury)
    watch(counts)
    for generation in engine.generate(plan.requests()):
        asked = plan.heard(generation)
        if asked is not None and isinstance(generation, Generation):
            made = _completion(asked, generation, settings, model, seed)
            output.write(codec.encode_completion(made, with_tokens=settings.with_tokens) | asked.encode())
            _count(counts, generation.completion_tokens, generation.finish_reason)
            on_done(1)
        watch({**counts, "rejected": rejects.count})
    _warn(counts)
    counts.update(rejects.counts())
    output.finish(counts)
    return dict(counts)


def _warn(counts: Counter[str]) -> None:
    if counts["unshuffled"]:
        log.warning(
            "%d of %d multiple-choice samples kept the order of their options: it cannot be changed safely",
            counts["unshuffled"],
            counts["unshuffled"] + counts["shuffled"],
        )


def _done(output: JsonLines, counts: Counter[str], jury: Jury | None) -> Done:
    """Return the completions of each sample that an earlier run made, by number, and count them."""
    done: dict[str, dict[int, Any]] = defaultdict(dict)
    for line in output.recovered_lines():
        record = json.loads(line)
        counts["recovered"] += 1
        heard = jury and jury.hear(_question(record), record["completion"], record["finish_reason"])
        done[record["sample_id"]][record["k"]] = heard
        _count(counts, record["completion_tokens"], record["finish_reason"])
    return done


def _question(record: Mapping[str, Any]) -> Question:
    fields: dict[str, Any] = {name: record[name] for name in codec.encode_question(Question())}
    fields["answer"] = tuple(fields["answer"])
    return Question(**fields)


def _count(counts: Counter[str], tokens: int, finish_reason: str) -> None:
    counts["completions"] += 1
    counts["completion_tokens"] += tokens
    counts["truncated"] += finish_reason == "length"
    if finish_reason in ("abort", "error"):
        counts[f"finish_{finish_reason}"] += 1


def _completion(asked: Asked, generation: Generation, settings: RolloutSettings, model: str, seed: int) -> Completion:
    return Completion(
        sample_id=asked.sample_id,
        k=generation.k,
        text=generation.text,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=generation.completion_tokens,
        model=model,
        policy_version=min(generation.versions, default=0),
        seed=derive_seed(seed, asked.sample_id, generation.k),
        sampling=asdict(settings.sampling.sampling()),
        question=asked.question,
        token_ids=generation.token_ids or None,
        logprobs=generation.logprobs or None,
    )
