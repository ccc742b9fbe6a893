"""Find samples that repeat others, exactly or nearly, without comparing all pairs.

A sample repeats another exactly when its normalised problem and the pixels of its images are the same. It nearly
repeats another when the problem and the answers are the same and each image is near: its 128-bit difference hash
(is a cell brighter than its neighbour to the right, below?) differs in at most `NEAR_BITS` bits. With another answer
it is another task: pictures that differ in one object are near, and their counts are not the same.

Near hashes are found by banding: two hashes that differ in at most 8 bits agree in at least one of 9 bands.
"""

import hashlib
import itertools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

from ovrl.records import IMAGE_MARK, Question

NEAR_BITS = 8
"""Of 128. Re-encoding and resizing change fewer, another picture changes tens."""

_SIDE = 8
_BITS = 2 * _SIDE * _SIDE
_BANDS = [range(band, _BITS, NEAR_BITS + 1) for band in range(NEAR_BITS + 1)]
_BAND_MASKS = [sum(1 << bit for bit in band) for band in _BANDS]

_DECORATION = re.compile(r"[\"'“”‘’*$`]|[.,;:!?]+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What two samples are compared by; a few hundred bytes, without pixels."""

    problem: bytes
    answers: bytes
    pixels: tuple[bytes, ...]
    """Digest of each image's pixels."""
    hashes: tuple[int, ...]
    """Difference hash of each image."""


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier sample that this one repeats."""

    id: str
    kind: Literal["exact", "near", "image", "text"]
    """`image`: one picture is the same, and the problem is another; `text`: the pictures cannot be compared."""
    bits: int = 0
    """In how many bits the most different image differs."""
    same_answer: bool = True


_Entry = tuple[str, Fingerprint]


@dataclass(slots=True)
class Index:
    """The fingerprints of the samples met so far."""

    _exact: dict[tuple[bytes, tuple[bytes, ...]], _Entry] = field(
        default_factory=dict[tuple[bytes, tuple[bytes, ...]], _Entry]
    )
    _pictures: dict[bytes, str] = field(default_factory=dict[bytes, str])
    _first: dict[tuple[bytes, bytes], _Entry] = field(default_factory=dict[tuple[bytes, bytes], _Entry])
    """The first sample of each problem and answer. Most are the only one, and need no bands."""
    _bands: dict[tuple[bytes, bytes, int, int], list[_Entry]] = field(default_factory=lambda: defaultdict(list))
    """The others, nine times each."""
    _texts: dict[tuple[bytes, bytes], str] = field(default_factory=dict[tuple[bytes, bytes], str])
    """Problem and answer of the samples whose images cannot be opened."""

    def add(self, sample_id: str, mark: Fingerprint) -> None:
        """Take a sample in."""
        entry = (sample_id, mark)
        self._exact.setdefault((mark.problem, mark.pixels), entry)
        for pixels in mark.pixels:
            self._pictures.setdefault(pixels, sample_id)
        if self._first.setdefault((mark.problem, mark.answers), entry) is not entry:
            for key in _keys(mark):
                self._bands[key].append(entry)

    def add_text(self, sample_id: str, mark: Fingerprint) -> None:
        """Take a sample in whose images cannot be opened."""
        self._texts.setdefault((mark.problem, mark.answers), sample_id)

    def find_text(self, mark: Fingerprint) -> Match | None:
        """Return a sample that says the same, and whose images cannot be opened."""
        found = self._texts.get((mark.problem, mark.answers))
        return None if found is None else Match(found, "text")

    def find(self, mark: Fingerprint) -> Match | None:
        """Return the sample that this one repeats, exactly if there is one, else the nearest."""
        if found := self._exact.get((mark.problem, mark.pixels)):
            return Match(found[0], "exact", same_answer=found[1].answers == mark.answers)
        first = self._first.get((mark.problem, mark.answers))
        if first is None:
            return None
        candidates = itertools.chain([first], *(self._bands.get(key, ()) for key in _keys(mark)))
        near = ((bits, name) for name, other in candidates if (bits := _distance(mark, other)) is not None)
        bits, name = min(near, default=(None, ""))
        return None if bits is None else Match(name, "near", bits=bits)

    def find_picture(self, mark: Fingerprint) -> Match | None:
        """Return a sample that shows the same picture, whatever it asks."""
        found = next((self._pictures[pixels] for pixels in mark.pixels if pixels in self._pictures), None)
        return None if found is None else Match(found, "image", same_answer=False)


def fingerprint(question: Question, pictures: Sequence[Image.Image]) -> Fingerprint:
    """Return what the sample is compared by; its images are given decoded, in RGB."""
    return Fingerprint(
        problem=_digest(normalise(question.problem)),
        answers=_digest("\x1f".join(sorted({normalise(answer) for answer in question.answer}))),
        pixels=tuple(hashlib.sha256(repr(one.size).encode() + one.tobytes()).digest()[:16] for one in pictures),
        hashes=tuple(map(difference_hash, pictures)),
    )


def normalise(text: str) -> str:
    """Return the text without marks, case, quotes, emphasis, closing punctuation and surplus white space."""
    plain = unicodedata.normalize("NFKC", text.replace(IMAGE_MARK, " ")).casefold()
    return " ".join(_DECORATION.sub(" ", plain).split())


def difference_hash(picture: Image.Image) -> int:
    """Return 64 bits of brightness steps to the right and 64 of steps downwards, on a grid of 9 x 9 cells."""
    side = _SIDE + 1
    cells = np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BOX), dtype=np.int16)
    steps = np.concatenate([(cells[:-1, 1:] > cells[:-1, :-1]).ravel(), (cells[1:, :-1] > cells[:-1, :-1]).ravel()])
    return int.from_bytes(np.packbits(steps).tobytes(), "big")


def _keys(mark: Fingerprint) -> list[tuple[bytes, bytes, int, int]]:
    """Return one key for each band of the first image; samples without images are only compared exactly."""
    if not mark.hashes:
        return []
    bands = enumerate(_BAND_MASKS)
    return [(mark.problem, mark.answers, band, mark.hashes[0] & mask) for band, mask in bands]


def _distance(one: Fingerprint, other: Fingerprint) -> int | None:
    """Return in how many bits the most different image differs; None when it is too many."""
    if not one.hashes or len(one.hashes) != len(other.hashes):
        return None
    bits = max((a ^ b).bit_count() for a, b in zip(one.hashes, other.hashes, strict=True))
    return bits if bits <= NEAR_BITS else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
