"""Choose held-out samples by a fixed rule, and show what the model answered before and after."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovrl import images
from ovrl.errors import OvrlError, RecordError
from ovrl.eval.report.comparison import by_mode
from ovrl.eval.report.gather import EvalOutput, Record, Step, mapping, number
from ovrl.records import Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.reward.extract import answer_blocks
from ovrl.samples import read_samples

log = logging.getLogger(__name__)

SHOWN = 16
"""Samples on a page."""

_LONGEST = 2000  # characters of a completion; runaway ones would bury the page
_THUMBNAIL = 256 * 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One completion and what it earned."""

    heading: str
    text: tuple[str, str, str]
    """What stands before the answer that was extracted, the answer, and what stands behind it."""
    reward: str
    verdict: str
    """ "right", "wrong", "partly" or "unscored"."""
    status: str
    omitted: int
    """Characters left out at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One sample with its replies."""

    sample_id: str
    category: str
    pictures: tuple[str, ...]
    """Data URIs."""
    problem: str
    gold: str
    replies: tuple[tuple[str, tuple[Reply, ...]], ...]
    """(mode, replies): of the first and the last evaluation, or of one rollout."""


def cards(evals: Sequence[EvalOutput], source: Path) -> list[Card]:
    """Return the cards of up to `SHOWN` samples: categories in turn, within each in the order of a hash.

    The rule looks at ids and categories alone, so the page cannot flatter the model.

    Args:
        evals: all evaluations.
        source: the directory that is reported on; relative paths of inputs are tried below it too.
    """
    ends = {
        mode: (group[0], group[-1]) if len(group) > 1 else (group[0],)
        for mode, group in by_mode(evals).items()
        if group[0].items
    }
    chosen = _choose(ends)
    pictures = find_pictures([one.step for group in ends.values() for one in group], chosen, source)
    return [_card(sample_id, ends, pictures.get(sample_id, ())) for sample_id in chosen]


def _choose(ends: Mapping[str, tuple[EvalOutput, ...]]) -> list[str]:
    """Return the chosen ids; samples that every mode and evaluation has come first."""
    items: dict[str, Record] = {}
    missing: dict[str, int] = {}
    everyone = [one for group in ends.values() for one in group]
    for one in everyone:
        for sample_id, item in one.items.items():
            items.setdefault(sample_id, item)
            missing[sample_id] = missing.get(sample_id, len(everyone)) - 1
    groups: dict[str, list[str]] = {}
    for sample_id in sorted(items, key=lambda name: (missing[name], derive_seed(0, "report", name))):
        groups.setdefault(category(items[sample_id]), []).append(sample_id)
    chosen: list[str] = []
    for turn in range(max((len(ids) for ids in groups.values()), default=0)):
        chosen += [groups[name][turn] for name in sorted(groups) if turn < len(groups[name])]
    return chosen[:SHOWN]


def category(item: Record) -> str:
    """Return what a sample is sorted under."""
    return str(item.get("source") or item.get("problem_type") or "")


def find_pictures(steps: Sequence[Step], chosen: Iterable[str], source: Path) -> dict[str, tuple[str, ...]]:
    """Return the images of the chosen samples, from the data files that the manifests name."""
    wanted, found = set(chosen), dict[str, tuple[str, ...]]()
    tried: set[Path] = set()
    for step in steps:
        for name in mapping(step.manifest.get("inputs")):
            for place in (Path(name), step.path / name, source / name):
                for path in _data_files(place):
                    if wanted and path not in tried:
                        found |= _read(path, wanted)
                        wanted -= found.keys()
                    tried.add(path)
    if wanted:
        log.warning("%d samples are shown without image: their data file was not found", len(wanted))
    return found


def _data_files(place: Path) -> list[Path]:
    """Return the files with samples that an input names; none for a model, which is an input too."""
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    return [path for path in files if path.suffix in (".parquet", ".jsonl") and path.is_file()]


def _read(path: Path, wanted: set[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    try:
        for sample in read_samples(str(path), Rejects(None)):
            if sample.id in wanted:
                found[sample.id] = thumbnails(sample)
            if len(found) == len(wanted):
                break
    except OvrlError as error:
        log.warning("no images from %s: %s", path, error)
    return found


def thumbnails(sample: Sample) -> tuple[str, ...]:
    """Return the images decoded and encoded again, small: nothing foreign gets into the page."""
    uris: list[str] = []
    for ref in sample.images[:4]:
        try:
            uris.append(images.thumbnail(ref, max_pixels=_THUMBNAIL))
        except RecordError as error:
            log.warning("%s: %s", sample.id, error)
    return tuple(uris)


def _card(sample_id: str, ends: Mapping[str, tuple[EvalOutput, ...]], pictures: tuple[str, ...]) -> Card:
    item = next(one.items[sample_id] for group in ends.values() for one in group if sample_id in one.items)
    replies = tuple(
        (mode, tuple(_first_reply(one, sample_id) for one in group if sample_id in one.items))
        for mode, group in ends.items()
        if any(sample_id in one.items for one in group)
    )
    return card(sample_id, item, pictures, replies)


def card(
    sample_id: str, item: Record, pictures: tuple[str, ...], replies: tuple[tuple[str, tuple[Reply, ...]], ...]
) -> Card:
    """Return a sample as it is shown; `item` has its problem and its answers."""
    answer = item.get("answer")
    gold = " | ".join(str(part) for part in answer) if isinstance(answer, list) else str(answer or "")
    return Card(
        sample_id=sample_id,
        category=category(item),
        pictures=pictures,
        problem=cut(str(item.get("problem") or "").replace("<image>", "").strip(), _LONGEST),
        gold=cut(gold, _LONGEST // 4),
        replies=replies,
    )


def cut(text: str, longest: int) -> str:
    """Return at most so many characters."""
    return text if len(text) <= longest else f"{text[:longest]} ..."


def _first_reply(one: EvalOutput, sample_id: str) -> Reply:
    """Return the first completion of the sample."""
    completions = one.items[sample_id].get("completions")
    return reply(one.step.name, mapping(completions[0]) if isinstance(completions, list) and completions else {})


def reply(heading: str, line: Record) -> Reply:
    """Return a completion, scored or not, as it is shown."""
    text = str(line.get("completion") or "")
    reward = number(line.get("reward"))
    status = [str(line[name]) for name in ("status", "finish_reason") if line.get(name)]
    return Reply(
        heading=heading,
        text=_marked(text[:_LONGEST], line.get("extracted")),
        reward="no score" if reward is None else f"{reward:.2f}",
        verdict=_verdict(reward),
        status=", ".join(word for word in status if word not in ("ok", "stop")),
        omitted=max(0, len(text) - _LONGEST),
    )


def _marked(text: str, extracted: object) -> tuple[str, str, str]:
    """Return the text in three parts, the answer in the middle: the last place of what the rule found, or the block."""
    found = extracted if isinstance(extracted, str) else None
    if found is None:
        blocks = answer_blocks(text)
        found = blocks[-1] if blocks else ""
    place = text.rfind(found) if found else -1
    return (text, "", "") if place < 0 else (text[:place], found, text[place + len(found) :])


def _verdict(reward: float | None) -> str:
    if reward is None:
        return "unscored"
    return "right" if reward >= 1.0 else "wrong" if reward <= 0.0 else "partly"
