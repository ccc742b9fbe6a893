"""Prompts as SGLang must be sent them: token ids with ONE token for each image, and the images beside them.

Ids whose image tokens are expanded make a server wait for ever, or, continued, tokenise the reply again. So the ids
are sent as the tokenizer gives them; the server expands them, and the number of tokens that it then counts is compared
with ours.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from ovrl.images import to_data_uri, to_png
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.prompt import Prompt

_FAST = 1
"""How much images are compressed: the network to a server is faster than the packing."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """One prompt, encoded once for its whole group."""

    input_ids: tuple[int, ...]
    """[t] one image token for each image."""
    images: tuple[str, ...]
    """PNG, as data URIs: lossless, so that the server sees the pixels that we see."""
    digests: tuple[str, ...]
    """SHA-256 of each image, hexadecimal."""
    prompt_tokens: int
    """Tokens that the model reads, image tokens expanded."""


def encode(processor: PromptProcessor, prompt: Prompt) -> EncodedPrompt | str:
    """Return the prompt as it is sent, or why it cannot be.

    Args:
        processor: of the model that the servers have.
        prompt: with as many images as places for them.
    """
    (text,) = processor.texts([prompt])
    sent: list[int] = processor.tokenizer(text)["input_ids"]
    if problem := _places(sent, processor.image_id, len(prompt.images)):
        return problem
    inputs: Any = processor.process([prompt])
    read: list[int] = inputs["input_ids"][0].tolist()
    if [i for i in read if i != processor.image_id] != [i for i in sent if i != processor.image_id]:
        return "the processor changes more than the image tokens: a server would read another prompt"
    if bad := [index for index in sent if not 0 <= index < processor.vocabulary]:
        return f"token {bad[0]} is outside of the model's vocabulary of {processor.vocabulary}: it would end the server"
    encoded = [to_png(image, compression=_FAST) for image in prompt.images]
    return EncodedPrompt(
        tuple(sent),
        tuple(map(to_data_uri, encoded)),
        tuple(hashlib.sha256(data).hexdigest() for data in encoded),
        len(read),
    )


def _places(sent: list[int], image_id: int | None, images: int) -> str | None:
    """Return why the images would not come where they belong."""
    if image_id is None and images:
        return "the model's configuration has no image_token_id: its prompts cannot be told from expanded ones"
    if (found := sent.count(image_id) if image_id is not None else 0) != images:
        return f"the prompt has {found} image tokens for {images} images: one for each is what a server expands"
    return None
