"""What `/generate` is asked, and what it answers, as types.

Written after sglang 0.5.16 to 0.5.23 (`entrypoints/http_server.py`, `managers/io_struct.py`). A field that a server
does not know is ignored by it at the top level, and refused with 400 inside `sampling_params`.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ovrl.records import FinishReason
from ovrl.rollout.engine import Sampling
from ovrl.rollout.sglang.encoding import EncodedPrompt
from ovrl.rollout.sglang.failures import DistrustedError

BAN = -1e9
"""Added to the logit of a word that may not be drawn: JSON has no infinity, and this leaves nothing in bfloat16."""

_SMALLEST_TOP_P = 1e-9
"""A server refuses 0; this keeps the likeliest word alone, as well."""

_EVENTS = 8
"""Parts that a completion comes back in, at most: each repeats all that was before it, so that many would cost more
than the tokens are worth; what a dying server has sent is what need not be sampled again."""

_FEWEST = 16
"""Tokens of such a part, at least."""

_MOST_LEFT = 4096
"""Words that a server lists after truncation, unless it was told otherwise (`--sampling-mask-max-tokens`)."""

_FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "abort"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one server understands, as the probe found it."""

    streams: bool = True
    """Whether parts of a completion come back while it is made, `stream_interval` tokens at a time, each part with all
    that was before it. Where that is not to be had, nothing is streamed."""
    original_logprobs: bool = False
    """Whether log-probabilities are those before temperature (`SGLANG_RETURN_ORIGINAL_LOGPROB=1`)."""
    vision_cache: bool = False
    """Whether an image that was seen is not encoded again. Weight updates do not clear that cache."""


@dataclass(slots=True)
class Segment:
    """What one exchange brought of a completion."""

    token_ids: list[int] = field(default_factory=list[int])
    logprobs: list[float] = field(default_factory=list[float])
    """Under the policy; NaN where the server cannot tell."""
    sampling_logprobs: list[float] = field(default_factory=list[float])
    """Under the distribution that was drawn from; NaN where the server cannot tell."""
    versions: list[str] = field(default_factory=list[str])
    """The server's name for the weights that sampled each token; "" where it does not say."""
    finish_reason: FinishReason | None = None
    """None as long as more is to come."""
    prompt_tokens: int | None = None
    """None when it was not read."""
    refusal: str | None = None
    """Why the server will not go on, if it says that the request is at fault."""


def body(
    prompt: EncodedPrompt,
    done: Sequence[int],
    *,
    rid: str,
    sampling: Sampling,
    limit: int,
    seed: int,
    stop_ids: Sequence[int],
    banned_ids: Sequence[int],
    dialect: Dialect,
    weights: str,
) -> dict[str, Any]:
    """Return the request for the rest of one completion.

    Args:
        prompt: of the group.
        done: [T] tokens that are sampled already, fewer than `limit`.
        rid: a name that no other request has.
        sampling: temperature, truncation, stop strings.
        limit: tokens of the completion, at most; those of `done` count.
        seed: obeyed by servers with `--enable-deterministic-inference`.
        stop_ids: tokens that end a reply.
        banned_ids: tokens that may not be drawn.
        dialect: of the server.
        weights: the name of the weights that the server has: the salt of the images' hashes, where they are cached.
    """
    left = limit - len(done)
    parameters: dict[str, Any] = {
        "max_new_tokens": left,
        "temperature": sampling.temperature,
        "top_p": min(max(sampling.top_p, _SMALLEST_TOP_P), 1.0),
        "top_k": sampling.top_k or -1,
        # Servers may have defaults of their own for these (`--preferred-sampling-params`).
        "min_p": 0.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop": list(sampling.stop),
        "stop_token_ids": list(stop_ids),
        "logit_bias": {str(index): BAN for index in banned_ids},
        "sampling_seed": seed & (2**63 - 1),
    }
    asked: dict[str, Any] = {
        "rid": rid,
        "input_ids": [*prompt.input_ids, *done],
        "sampling_params": parameters,
        "return_logprob": True,
        "stream": dialect.streams,
    }
    if dialect.streams:
        parameters["stream_interval"] = max(_FEWEST, math.ceil(left / _EVENTS))
    if shows_what_is_left(sampling):
        asked["return_sampling_mask"] = True
    if prompt.images:
        asked["image_data"] = list(prompt.images)
        if dialect.vision_cache:
            asked["mm_hashes"] = salted(prompt.digests, weights)
    return asked


def salted(digests: Sequence[str], weights: str) -> list[str]:
    """Return the names under which images are cached: others for other weights, for updates do not clear that cache."""
    return [hashlib.sha256(f"{digest} {weights}".encode()).hexdigest() for digest in digests]


def truncates(sampling: Sampling) -> bool:
    """Whether words are cut off, so that the log-probabilities must be asked for on their own."""
    return sampling.temperature > 0 and (sampling.top_p < 1 or sampling.top_k > 0)


def shows_what_is_left(sampling: Sampling) -> bool:
    """Whether a server can be asked for log-probabilities after truncation: not of a nucleus of any size."""
    return truncates(sampling) and 1 < sampling.top_k <= _MOST_LEFT


def segment(answer: Any, sampling: Sampling, dialect: Dialect) -> Segment:
    """Return what an answer, or an event of it, says.

    Raises:
        DistrustedError: it makes no sense.
    """
    try:
        return _segment(answer, sampling, dialect)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DistrustedError(f"an answer of /generate makes no sense: {type(error).__name__}: {error}") from error


def _segment(answer: Any, sampling: Sampling, dialect: Dialect) -> Segment:
    meta = answer["meta_info"]
    ids = [_token(index) for index in answer["output_ids"]]
    triples = meta.get("output_token_logprobs") or []
    if [triple[1] for triple in triples] != ids:
        raise ValueError(f"{len(triples)} log-probabilities are not those of {len(ids)} tokens")
    given = [float(triple[0]) for triple in triples]
    found = Segment(ids, *_logprobs(given, meta, sampling, dialect), _versions(meta, len(ids)))
    found.prompt_tokens = meta.get("prompt_tokens")
    finish = meta.get("finish_reason")
    if finish is not None:
        found.finish_reason = _FINISHES[finish["type"]]
        if finish["type"] == "abort" and 400 <= (finish.get("status_code") or 0) < 500:
            found.refusal = str(finish.get("message"))
    return found


def _token(index: Any) -> int:
    if not isinstance(index, int) or index < 0:
        raise ValueError(f"{index!r} is no token id")
    return index


def _logprobs(given: list[float], meta: Any, sampling: Sampling, dialect: Dialect) -> tuple[list[float], list[float]]:
    """Return the log-probabilities under the policy, and under the distribution that was drawn from.

    `output_token_logprobs` are `log_softmax(logits / T)`, before truncation (`layers/sampler.py`); at T = 0, and on a
    server that returns original log-probabilities, `log_softmax(logits)`. What is drawn from after truncation comes as
    `output_token_sampling_logprobs`, if few enough words are left. No field gives the normaliser of the other
    temperature, so that one of the two stays unknown at a temperature that is neither 0 nor 1.
    """
    unknown = [math.nan] * len(given)
    plain = sampling.temperature in (0, 1) or dialect.original_logprobs
    policy = given if plain else unknown
    if sampling.temperature == 0:
        return policy, [0.0] * len(given)
    if truncates(sampling) and not shows_what_is_left(sampling):
        return policy, [0.0] * len(given) if sampling.top_k == 1 else unknown
    if truncates(sampling):
        cut = [float(value) for value in meta["output_token_sampling_logprobs"]] if given else []
        if len(cut) != len(given):
            raise ValueError(f"{len(cut)} sampling log-probabilities for {len(given)} tokens")
        return policy, cut
    tempered = sampling.temperature == 1 or not dialect.original_logprobs
    return policy, given if tempered else unknown


def _versions(meta: Any, count: int) -> list[str]:
    """Return the name of the weights of each token: by spans since 0.5.19, by one name for all before."""
    spans = meta.get("weight_versions")
    if spans is None:
        return [str(meta.get("weight_version") or "")] * count
    names: list[str] = []
    for span in spans:
        if span["start"] != len(names):
            raise ValueError(f"the spans of weight_versions do not join: {spans}")
        names += [str(span["version"])] * (span["end"] - span["start"])
    if len(names) != count:
        raise ValueError(f"the spans of weight_versions cover {len(names)} of {count} tokens")
    return names
