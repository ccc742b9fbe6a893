"""Look at every sample as training would, and report what is wrong with it."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from PIL import Image

from ovrl import images
from ovrl.curate.fingerprint import Fingerprint, Index, Match, fingerprint
from ovrl.errors import RecordError, UsageError
from ovrl.records import ANSWER_TYPES, IMAGE_MARK, Question, Sample
from ovrl.rejects import Rejects

MAX_ASPECT = 200
"""Longer or higher pictures are refused by the image processors of current models."""

Kind = Literal[
    "record",
    "image",
    "marks",
    "problem",
    "answer-type",
    "gold",
    "duplicate",
    "near-duplicate",
    "leak",
    "near-leak",
    "shared-image",
    "text-leak",
    "uncompared",
]

MEANINGS: dict[Kind, str] = {
    "record": "cannot be read as a sample",
    "image": "an image is missing, damaged or of an absurd size",
    "marks": "the number of <image> marks is not that of the images",
    "problem": "the problem has no text",
    "answer-type": "no rule is called so; scored as any",
    "gold": "a gold answer is not right by its own rule",
    "duplicate": "same problem and images as an earlier sample",
    "near-duplicate": "same problem and answer, and nearly the same images",
    "leak": "same problem and images as an evaluation sample",
    "near-leak": "same problem and answer, nearly the images of an evaluation sample",
    "shared-image": "another question about an image of the evaluation set",
    "text-leak": "same problem and answer as an evaluation sample whose images cannot be opened",
    "uncompared": "an evaluation sample that cannot be read, or whose images cannot be opened",
}

Scorer = Callable[[Question, str], tuple[float | None, str]]
"""Scores a gold as if a model had answered it: (accuracy or None, status)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one sample."""

    id: str | None
    kind: Kind
    reason: str
    where: str | None = None
    other: str | None = None
    """The sample that this one repeats."""

    def encode(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return asdict(self)


@dataclass(slots=True)
class Findings:
    """Takes findings one by one, and counts."""

    write: Callable[[Finding], None]
    counts: Counter[Kind] = field(default_factory=Counter[Kind])
    examples: dict[Kind, str] = field(default_factory=dict[Kind, str])
    """An id, or a place, for each kind."""
    bad: int = 0
    """Records with at least one finding."""
    lost_files: int = 0
    """Files that are lost from some place on, with an unknown number of records."""
    unchecked: int = 0
    """Golds that no rule can judge yet."""
    _last: tuple[str | None, str | None] | None = None

    def add(self, finding: Finding) -> None:
        """Count a finding and hand it on; those of one record come one after the other."""
        record = (finding.id, finding.where)
        self.bad += record != self._last
        self._last = record
        self.counts[finding.kind] += 1
        self.examples.setdefault(finding.kind, finding.id or finding.where or "")
        self.write(finding)


class RecordFindings(Rejects):
    """Makes a finding of each record that cannot be read."""

    def __init__(self, findings: Findings, kind: Kind = "record") -> None:
        super().__init__(None)
        self._findings = findings
        self._kind: Kind = kind

    def add(self, error: RecordError, *, line: int | None = None, record_id: str | None = None) -> None:
        """Count the record and report it."""
        del line
        cost = error.records or 1
        self.reasons[error.field or "line"] += cost
        reason = f"{error.field}: {error.reason}" if error.field else error.reason
        where = error.where or self.places.get(record_id or "", ("", None))[0]
        self._findings.add(Finding(record_id, self._kind, reason, where or None))
        self._findings.bad += cost - 1
        self._findings.lost_files += error.records is None


def gather(samples: Iterable[Sample], bad: Rejects) -> Index:
    """Return the fingerprints of an evaluation set.

    Args:
        samples: read once.
        bad: takes the samples whose images cannot be opened; those are compared by what they say.

    Raises:
        UsageError: there is no sample at all, so that nothing would be compared.
    """
    index, count = Index(), 0
    for sample in samples:
        count += 1
        try:
            pictures = [images.load(image) for image in sample.images]
        except RecordError as error:
            index.add_text(sample.id, fingerprint(sample.question, []))
            bad.add(error, record_id=sample.id)
        else:
            index.add(sample.id, fingerprint(sample.question, pictures))
    if not count:
        raise UsageError("--against has no sample that can be read, so that nothing can be compared")
    return index


def check(
    samples: Iterable[Sample],
    findings: Findings,
    places: dict[str, tuple[str, int | None]],
    *,
    scorer: Scorer | None,
    held_out: Index | None,
    on_done: Callable[[int], None] = lambda count: None,
) -> int:
    """Check every sample and return how many there were. One picture's pixels are in memory at a time.

    Args:
        samples: read once, in order; a duplicate is the later one.
        findings: where findings go.
        places: id -> (place, line), filled while the samples are read.
        scorer: judges golds; None leaves them unjudged.
        held_out: the evaluation set, or None.
        on_done: is told of every sample.
    """
    index, count = Index(), 0
    for sample in samples:
        where = places[sample.id][0] if sample.id in places else None
        _check_text(sample, findings, where, scorer)
        _check_pictures(sample, findings, where, index, held_out)
        count += 1
        on_done(1)
    return count


def _check_text(sample: Sample, findings: Findings, where: str | None, scorer: Scorer | None) -> None:
    question = sample.question
    marks, count = question.problem.count(IMAGE_MARK), len(sample.images)
    if marks != count:
        reason = f"the problem has {marks} {IMAGE_MARK} marks, and there are {count} images"
        findings.add(Finding(sample.id, "marks", reason, where))
    if not question.problem.replace(IMAGE_MARK, "").strip():
        findings.add(Finding(sample.id, "problem", "the problem says nothing", where))
    if question.answer_type not in ANSWER_TYPES:
        known = ", ".join(ANSWER_TYPES)
        reason = f"unknown answer type {question.answer_type!r}; known: {known}"
        findings.add(Finding(sample.id, "answer-type", reason, where))
    for gold in question.answer if scorer else ():
        assert scorer is not None
        accuracy, status = scorer(replace(question, answer=(gold,)), gold)
        if status == "unsupported":
            findings.unchecked += 1
        elif accuracy is None or accuracy < 1:
            said = "cannot be scored" if accuracy is None else f"scores {accuracy:g}"
            reason = f"{_short(gold)} {said} against itself by the rule of {question.answer_type} ({status})"
            findings.add(Finding(sample.id, "gold", reason, where))


def _check_pictures(
    sample: Sample, findings: Findings, where: str | None, index: Index, held_out: Index | None
) -> None:
    pictures: list[Image.Image] = []
    for number, image in enumerate(sample.images, start=1):
        try:
            picture = images.load(image)
        except RecordError as error:
            findings.add(Finding(sample.id, "image", f"image {number}: {error.reason}", where))
            return
        width, height = images.read_header(image).size
        if max(width, height) > MAX_ASPECT * min(width, height):
            reason = f"image {number}: {width} x {height} is longer than {MAX_ASPECT} to 1"
            findings.add(Finding(sample.id, "image", reason, where))
        pictures.append(picture)
    mark = fingerprint(sample.question, pictures)
    if match := index.find(mark):
        kind: Kind = "duplicate" if match.kind == "exact" else "near-duplicate"
        findings.add(Finding(sample.id, kind, f"repeats {match.id}{_how(match)}", where, match.id))
    index.add(sample.id, mark)
    if held_out is not None and (match := _leak(held_out, mark)):
        kinds: dict[str, Kind] = {
            "exact": "leak",
            "near": "near-leak",
            "image": "shared-image",
            "text": "text-leak",
        }
        what = "shows an image of" if match.kind == "image" else "repeats"
        reason = f"{what} {match.id} of the evaluation set{_how(match)}"
        findings.add(Finding(sample.id, kinds[match.kind], reason, where, match.id))


def _leak(held_out: Index, mark: Fingerprint) -> Match | None:
    return held_out.find(mark) or held_out.find_picture(mark) or held_out.find_text(mark)


def _how(match: Match) -> str:
    if match.kind == "near":
        return f": same problem and answer, images within {match.bits} of 128 bits"
    if match.kind == "exact":
        return "" if match.same_answer else ", and gives another answer"
    if match.kind == "text":
        return ": same problem and answer; its images cannot be compared"
    return ""


def _short(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else f"{text[:57]}...", ensure_ascii=False)
