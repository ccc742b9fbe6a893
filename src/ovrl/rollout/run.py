"""Rollout as a job: samples in, completions out, each exactly once."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict

from ovrl import codec
from ovrl.errors import RecordError
from ovrl.records import Completion, Question, Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine, Generation, Refusal, Request
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.settings import RolloutSettings
from ovrl.store import JsonLines


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
) -> dict[str, int]:
    """Write `settings.n` completions of every sample and return the counts.

    What an earlier run left in `output` is not made again.

    Args:
        samples: the prompts.
        engine: makes the completions.
        output: where they go; finished here.
        rejects: takes samples whose prompt cannot be built, or not be answered by this engine.
        settings: how many, and how they are drawn.
        model: the name that goes into the records.
        seed: the seed of completion k of sample s is `derive_seed(seed, s, k)`.
        on_done: told how many completions are new.

    Raises:
        OvrlError: the engine failed; what it made is kept.
    """
    counts = Counter[str](recovered=len(output.recovered))
    done = _done(output, counts)
    questions: dict[str, Question] = {}  # and not the samples, which may hold their images

    def requests() -> Iterator[Request]:
        for sample in _asked(samples, settings):
            missing = [k for k in range(settings.n) if k not in done[sample.id]]
            built = _prompt(sample, settings, rejects) if missing else None
            counts["samples"] += built is not None or not missing
            if built is None:
                continue
            questions[sample.id] = sample.question
            yield Request(
                id=sample.id,
                prompt=built,
                seeds={k: derive_seed(seed, sample.id, k) for k in missing},
                sampling=settings.sampling.sampling(),
            )

    for generation in engine.generate(requests()):
        if isinstance(generation, Refusal):
            rejects.add(RecordError("problem", generation.reason), record_id=generation.request_id)
            counts["samples"] -= 1
            continue
        made = _completion(questions[generation.request_id], generation, settings, model, seed)
        output.write(codec.encode_completion(made, with_tokens=settings.with_tokens))
        _count(counts, len(generation.token_ids), generation.finish_reason)
        on_done(1)
    counts["rejected"] = rejects.count
    output.finish(counts)
    return dict(counts)


def _done(output: JsonLines, counts: Counter[str]) -> dict[str, set[int]]:
    """Return the numbers of each sample's completions that an earlier run made, and count them."""
    done: dict[str, set[int]] = defaultdict(set)
    for record in output.recovered:
        done[record["sample_id"]].add(record["k"])
        _count(counts, record["completion_tokens"], record["finish_reason"])
    return done


def _count(counts: Counter[str], tokens: int, finish_reason: str) -> None:
    counts["completions"] += 1
    counts["completion_tokens"] += tokens
    counts["truncated"] += finish_reason == "length"


def _asked(samples: Iterable[Sample], settings: RolloutSettings) -> Iterator[Sample]:
    """Yield the samples in the mode that the settings ask for."""
    mode = settings.prompt_type
    for sample in samples:
        yield sample if mode is None else sample.with_prompt_type(mode)


def _prompt(sample: Sample, settings: RolloutSettings, rejects: Rejects) -> Prompt | None:
    try:
        return prompt.build(sample, max_pixels=settings.max_pixels)
    except RecordError as error:
        rejects.add(error, record_id=sample.id)
        return None


def _completion(
    question: Question, generation: Generation, settings: RolloutSettings, model: str, seed: int
) -> Completion:
    return Completion(
        sample_id=generation.request_id,
        k=generation.k,
        text=generation.text,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=len(generation.token_ids),
        model=model,
        policy_version=min(generation.versions, default=0),
        seed=derive_seed(seed, generation.request_id, generation.k),
        sampling=asdict(settings.sampling.sampling()),
        question=question,
        token_ids=generation.token_ids,
        logprobs=generation.logprobs,
    )
