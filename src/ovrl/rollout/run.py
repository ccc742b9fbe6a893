"""Rollout as a job: samples in, completions out, each exactly once."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ovrl import choices, codec
from ovrl.errors import RecordError
from ovrl.json_lines import JsonLines
from ovrl.records import Completion, Question, Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.rollout import prompt
from ovrl.rollout.engine import Engine, Generation, Refusal, Request
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.settings import RolloutSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks, without its images: a sample's question, its options perhaps in another order."""

    sample_id: str
    question: Question
    shuffled: choices.Shuffled | None = None

    def encode(self) -> dict[str, Any]:
        """Return what a completion line says of the order; nothing when it is the sample's own."""
        if self.shuffled is None:
            return {}
        return {"shuffled": {"order": self.shuffled.order, "gold": self.shuffled.gold}}


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
        seed: completion k of sample s, and the order of its options, come from `derive_seed(seed, s, k)`.
        on_done: told how many completions are new.

    Raises:
        OvrlError: the engine failed; what it made is kept.
    """
    counts = Counter[str](recovered=0)
    done, refused = _done(output, counts), set[str]()
    asked: dict[str, _Asked] = {}  # and not the samples, which may hold their images

    def requests() -> Iterator[Request]:
        for sample in _in_mode(samples, settings):
            missing = [k for k in range(settings.n) if k not in done[sample.id]]
            built = _prompt(sample, settings, rejects) if missing else None
            counts["samples"] += built is not None or not missing
            shuffles = settings.shuffle_options and _can_be_shuffled(sample, counts)
            if built is None:
                continue
            seeds = {k: derive_seed(seed, sample.id, k) for k in missing}
            for request, question in _requests(sample, built, seeds, settings, shuffles=shuffles):
                asked[request.id] = question
                yield request

    for generation in engine.generate(requests()):
        question = asked[generation.request_id]
        if isinstance(generation, Refusal):
            refused.add(question.sample_id)
            rejects.add(RecordError("problem", generation.reason), record_id=question.sample_id)
            continue
        made = _completion(question, generation, settings, model, seed)
        output.write(codec.encode_completion(made, with_tokens=settings.with_tokens) | question.encode())
        _count(counts, len(generation.token_ids), generation.finish_reason)
        on_done(1)
    _warn(counts)
    counts["samples"] -= len(refused)
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


def _done(output: JsonLines, counts: Counter[str]) -> dict[str, set[int]]:
    """Return the numbers of each sample's completions that an earlier run made, and count them."""
    done: dict[str, set[int]] = defaultdict(set)
    for record in output.recovered:
        counts["recovered"] += 1
        done[record["sample_id"]].add(record["k"])
        _count(counts, record["completion_tokens"], record["finish_reason"])
    return done


def _count(counts: Counter[str], tokens: int, finish_reason: str) -> None:
    counts["completions"] += 1
    counts["completion_tokens"] += tokens
    counts["truncated"] += finish_reason == "length"


def _in_mode(samples: Iterable[Sample], settings: RolloutSettings) -> Iterator[Sample]:
    """Yield the samples in the mode that the settings ask for."""
    mode = settings.prompt_type
    for sample in samples:
        yield sample if mode is None else sample.with_prompt_type(mode)


def _can_be_shuffled(sample: Sample, counts: Counter[str]) -> bool:
    """Whether the options can stand in another order; multiple-choice samples are counted either way."""
    if sample.question.answer_type != "multiple-choice":
        return False
    possible = choices.shuffle(sample.question, 0) is not None
    counts["shuffled" if possible else "unshuffled"] += 1
    return possible


def _requests(
    sample: Sample, built: Prompt, seeds: dict[int, int], settings: RolloutSettings, *, shuffles: bool
) -> Sequence[tuple[Request, _Asked]]:
    """Return one request for all completions, or one for each when each sees another order."""
    sampling = settings.sampling.sampling()
    if not shuffles:
        return [
            (Request(id=sample.id, prompt=built, seeds=seeds, sampling=sampling), _Asked(sample.id, sample.question))
        ]
    found: list[tuple[Request, _Asked]] = []
    for k, seed in seeds.items():
        shuffled = choices.shuffle(sample.question, seed)
        assert shuffled is not None
        shown = replace(sample, question=shuffled.question)
        request = Request(
            id=f"{sample.id}\x1f{k}",
            prompt=Prompt(prompt.messages(shown), built.images),
            seeds={k: seed},
            sampling=sampling,
        )
        found.append((request, _Asked(sample.id, shuffled.question, shuffled)))
    return found


def _prompt(sample: Sample, settings: RolloutSettings, rejects: Rejects) -> Prompt | None:
    try:
        return prompt.build(sample, max_pixels=settings.max_pixels)
    except RecordError as error:
        rejects.add(error, record_id=sample.id)
        return None


def _completion(asked: _Asked, generation: Generation, settings: RolloutSettings, model: str, seed: int) -> Completion:
    return Completion(
        sample_id=asked.sample_id,
        k=generation.k,
        text=generation.text,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        completion_tokens=len(generation.token_ids),
        model=model,
        policy_version=min(generation.versions, default=0),
        seed=derive_seed(seed, asked.sample_id, generation.k),
        sampling=asdict(settings.sampling.sampling()),
        question=asked.question,
        token_ids=generation.token_ids,
        logprobs=generation.logprobs,
    )
