"""What the scripted server says of a request, as sglang's `/generate` words it."""

from collections.abc import Mapping
from typing import Any

from ovrl.rollout.sglang.scripted_scheduler import Asked
from ovrl.rollout.sglang.scripted_traits import Kind, Traits

_SPANS = (0, 5, 19)
"""The version that brought weight_versions."""


def describe(
    asked: Asked, body: Mapping[str, Any], label: str, traits: Traits, text: str, fault: Kind | None
) -> dict[str, Any]:
    """Return the answer as it stands: all so far, as sglang's events have it."""
    count, p = len(asked.output_ids), asked.parameters
    heat = p.get("temperature", 1.0) or 1.0
    shown = [value if traits.original_logprobs else value / heat for value in asked.logprobs]
    label = "999" if fault == "wrong_version" else label
    triples = [[value, token, None] for value, token in zip(shown, asked.output_ids, strict=True)]
    meta: dict[str, Any] = {
        "id": asked.rid,
        "finish_reason": asked.finish,
        "prompt_tokens": asked.expanded + 3 * (fault == "wrong_length"),
        "completion_tokens": count,
        "weight_version": label,
        "num_retractions": asked.retractions,
        "output_token_logprobs": triples,
    }
    if body.get("top_logprobs_num"):
        meta["output_top_logprobs"] = [[triple] for triple in triples]
    if body.get("return_sampling_mask"):
        meta["output_token_sampling_logprobs"] = [value / 2 for value in shown]
    if traits.number >= _SPANS:
        spans: list[dict[str, Any]] = []
        for name, end in [*asked.spans, (label, count)]:
            start = spans[-1]["end"] if spans else 0
            if end > start:
                spans.append({"version": "999" if fault == "wrong_version" else name, "start": start, "end": end})
        meta["weight_versions"] = spans
    if asked.finish is not None and asked.finish["type"] == "abort" and not count:
        del meta["prompt_tokens"], meta["num_retractions"]  # aborted in the queue
    return {"text": text, "output_ids": list(asked.output_ids), "meta_info": meta}
