"""Count what a set of samples holds: kinds, lengths, image sizes. Images are opened, not decoded."""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ovrl import images
from ovrl.errors import RecordError
from ovrl.records import ImageRef, Sample

KINDS = ("source", "answer_type", "problem_type", "prompt_type")

MEASURES = {
    "problem": "characters",
    "answer": "characters of the longest gold",
    "golds": "gold answers of a sample",
    "images": "images of a sample",
    "image_width": "pixels",
    "image_height": "pixels",
    "image_size": "bytes, encoded",
}

_QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}


@dataclass(slots=True)
class Stats:
    """Counts and measures of the samples met so far; eight bytes for each measured value."""

    samples: int = 0
    kinds: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter[str]() for name in KINDS})
    formats: Counter[str] = field(default_factory=Counter[str])
    """PNG, JPEG, ...; "unreadable" for what cannot be opened."""
    measures: dict[str, "array[int]"] = field(default_factory=lambda: {name: array("q") for name in MEASURES})

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        question = sample.question
        self.samples += 1
        for name, counter in self.kinds.items():
            counter[getattr(question, name) or "-"] += 1
        self._measure("problem", len(question.problem))
        self._measure("answer", max(map(len, question.answer)))
        self._measure("golds", len(question.answer))
        self._measure("images", len(sample.images))
        for image in sample.images:
            self._add_image(image)

    def _add_image(self, image: ImageRef) -> None:
        try:
            data = images.read_bytes(image)
            opened = images.read_header(ImageRef(data=data))
        except RecordError:
            self.formats["unreadable"] += 1
            return
        self.formats[opened.format or "other"] += 1
        self._measure("image_width", opened.width)
        self._measure("image_height", opened.height)
        self._measure("image_size", len(data))

    def _measure(self, name: str, value: int) -> None:
        self.measures[name].append(value)

    def quantiles(self, name: str) -> dict[str, int]:
        """Return the nearest-rank quantiles of a measure; {} when nothing was measured."""
        ranked = sorted(self.measures[name])
        ranks = {label: max(0, math.ceil(q * len(ranked)) - 1) for label, q in _QUANTILES.items()}
        return {label: ranked[rank] for label, rank in ranks.items()} if ranked else {}

    def encode(self) -> dict[str, Any]:
        """Return everything as a JSON object."""
        kinds = {name: dict(counter.most_common()) for name, counter in self.kinds.items()}
        return {
            "samples": self.samples,
            **kinds,
            "image_format": dict(self.formats.most_common()),
            **{name: self.quantiles(name) for name in MEASURES},
        }


def gather(samples: Iterable[Sample], on_done: Callable[[int], None] = lambda count: None) -> Stats:
    """Return the statistics of the samples."""
    stats = Stats()
    for sample in samples:
        stats.add(sample)
        on_done(1)
    return stats
