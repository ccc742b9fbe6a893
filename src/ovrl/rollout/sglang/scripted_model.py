"""The model of the scripted server: a token is a hash of the weights and of all that stands before it.

So a test can compute every token again, and any prefix that was lost, read twice, read by other weights or seen in
other images shows in the next token.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from ovrl.rollout.processor import PromptProcessor

_STOP_EVERY = 12
"""One token in so many ends a reply."""


def fingerprint(path: Path) -> str:
    """Return a digest of the weights in a directory: of the names and numbers in its safetensors files.

    Raises:
        FileNotFoundError: there are none.
    """
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no safetensors in {path}")
    tensors: dict[str, bytes] = {}
    for file in files:  # a length, a table in JSON, the numbers (the format of safetensors)
        data = file.read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        for name, entry in orjson.loads(data[8:begin]).items():
            if name != "__metadata__":
                first, last = entry["data_offsets"]
                tensors[name] = data[begin + first : begin + last]
    return fingerprint_of(tensors)


def fingerprint_of(tensors: Mapping[str, bytes]) -> str:
    """Return the digest of tensors by name, wherever they come from."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def seen(weights: str, image: str) -> str:
    """Return what weights make of an image: its embedding."""
    return hashlib.blake2b(f"{weights} sees {image}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Which tokens there are."""

    size: int
    stop_ids: tuple[int, ...]
    decode: Callable[[Sequence[int]], str]

    @staticmethod
    def of(processor: PromptProcessor) -> "Vocabulary":
        """Return that of a model."""
        tokenizer = processor.tokenizer
        return Vocabulary(
            processor.vocabulary,
            tuple(sorted(processor.eos_ids)),
            lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True),
        )


def draw(
    weights: str, read_by: str, images: Sequence[str], ids: bytes, seed: int, words: Vocabulary, banned: frozenset[int]
) -> tuple[int, float]:
    """Return the next token and its log-probability.

    Args:
        weights: fingerprint of those that sample.
        read_by: fingerprint of those that read the prefix; the same, unless a cache is stale.
        images: what weights made of each.
        ids: digest of all tokens so far, from `digest_of`.
        seed: of the completion.
        words: the vocabulary.
        banned: tokens that are not drawn.
    """
    text = "|".join((weights, read_by, *images, str(seed))).encode()
    chance = hashlib.blake2b(ids + text, digest_size=16).digest()
    first, second, third = struct.unpack("<IIQ", chance)
    logprob = -(third % 4096) / 1024
    if first % _STOP_EVERY == 0:
        return words.stop_ids[second % len(words.stop_ids)], logprob
    token = second % words.size
    while token in banned or token in words.stop_ids:
        token = (token + 1) % words.size
    return token, logprob


def digest_of(ids: Sequence[int]) -> "hashlib.blake2b":
    """Return the digest of tokens, ready for more."""
    return hashlib.blake2b(struct.pack(f"<{len(ids)}I", *ids), digest_size=16)
