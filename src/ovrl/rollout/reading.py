"""Reading: what the model keeps of a prompt, once for all completions of its group.

Axes: n completions of one prompt, h heads, p tokens of the prompt, t of the longest reply, d size of a head, v words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from ovrl.errors import UsageError
from ovrl.rollout.policy import Encoded, Policy
from ovrl.rollout.slots import Layers


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt that was read."""

    layers: Layers
    """[1, h, p, d] of each."""
    tokens: int
    """p."""
    offset: Tensor
    """[1, 1] what to add to the tokens so far to get the position of the next."""
    logits: Tensor
    """[1, v] of the first token of a reply."""


def check(policy: Policy) -> None:
    """Refuse a model whose layers cannot be held in slots.

    Raises:
        UsageError: it has layers with a window, or with a state instead of keys and values.
    """
    kinds = {type(layer) for layer in _cache(policy).layers} - {DynamicLayer}
    if kinds:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise UsageError(f"the in-process engine needs attention to all tokens in every layer; this model has {names}")


def read(policy: Policy, prompt: Encoded) -> Prefix:
    """Read one prompt with its images.

    It is read alone: nothing is padded, and the result does not depend on other prompts. A prompt has tokens
    enough to fill the matrix products, so that a batch of them would gain little.
    """
    positions, offset = policy.positions(prompt.input_ids, prompt.attention_mask, prompt.extras)
    cache = _cache(policy)
    out = cast(Any, policy.model)(
        input_ids=prompt.input_ids,
        attention_mask=prompt.attention_mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **prompt.extras,
    )
    return Prefix(_layers(cache), prompt.input_ids.shape[1], offset.reshape(1, 1), out.logits[:, -1])


def read_on(policy: Policy, prefix: Prefix, replies: Sequence[Sequence[int]]) -> tuple[Layers, Tensor]:
    """Read replies behind a prompt; each has a token at least.

    Shorter replies are filled up on the right, where no earlier token looks.

    Returns:
        what the model keeps of the prompt and each reply, [n, h, p + t, d]; and the logits behind the longest, [n, v].
    """
    device, count, longest = policy.device, len(replies), max(map(len, replies))
    cache = _cache(policy)
    for number, (keys, values) in enumerate(prefix.layers):
        cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), number)
    ids = torch.tensor([[*reply, *[policy.pad_id] * (longest - len(reply))] for reply in replies], device=device)
    places = prefix.tokens + torch.arange(longest, device=device).expand(count, -1) + prefix.offset
    out = cast(Any, policy.model)(
        input_ids=ids,
        attention_mask=torch.ones(count, prefix.tokens + longest, dtype=torch.long, device=device),
        position_ids=places if policy.flat_positions else places.expand(3, -1, -1),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return _layers(cache), out.logits[:, -1]


def _cache(policy: Policy) -> DynamicCache:
    return DynamicCache(config=policy.model.config.get_text_config())


def _layers(cache: DynamicCache) -> Layers:
    return [(layer.keys, layer.values) for layer in cast(list[Any], cache.layers)]
