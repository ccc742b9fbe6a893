"""Compute the tokens of the scripted model again, from what a completion says of itself alone."""

import hashlib
import struct
from pathlib import Path

from ovrl.images import to_png
from ovrl.rollout.engine import Generation, Request
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.sglang.scripted_model import fingerprint


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class Recount:
    """Knows the weights of every version, and the prompts."""

    def __init__(self, processor: PromptProcessor, weights: dict[int, Path]) -> None:
        self._prints = {version: fingerprint(path) for version, path in weights.items()}
        self._stops = sorted(processor.eos_ids)
        self._banned = set(processor.banned_ids())
        self._processor = processor

    def check(self, one: Generation, request: Request) -> None:
        """Assert that each token is what the version on its stamp samples after all that stands before it."""
        (text,) = self._processor.texts([request.prompt])
        ids: list[int] = self._processor.tokenizer(text)["input_ids"]
        images = [hashlib.sha256(to_png(image, compression=1)).hexdigest() for image in request.prompt.images]
        seed = request.seeds[one.k]
        for place, (token, version) in enumerate(zip(one.token_ids, one.versions, strict=True)):
            assert token == self._next(ids, images, seed, self._prints[version]), (one.request_id, one.k, place)
            ids.append(token)
        assert len(one.token_ids) <= request.sampling.max_new_tokens
        ends = [token in self._stops for token in one.token_ids]
        assert not any(ends[:-1])
        assert ends[-1] == (one.finish_reason == "stop")
        assert ends[-1] or len(ends) == request.sampling.max_new_tokens

    def _next(self, ids: list[int], images: list[str], seed: int, weights: str) -> int:
        eyes = [blake(f"{weights} sees {image}".encode()).hex() for image in images]
        prefix = blake(struct.pack(f"<{len(ids)}I", *ids))
        chance = blake(prefix + "|".join((weights, weights, *eyes, str(seed))).encode())
        first, second = struct.unpack("<II", chance[:8])
        if first % 12 == 0:
            return self._stops[second % len(self._stops)]
        token = second % self._processor.vocabulary
        while token in self._banned or token in self._stops:
            token = (token + 1) % self._processor.vocabulary
        return token
