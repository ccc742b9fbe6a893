"""Choose samples of a rollout by a fixed rule, and show what the model said to them, with the answer marked."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ovrl import parquet, store
from ovrl.codec import encode_question
from ovrl.eval.report.gather import Record, Step, mapping, read_json, read_lines
from ovrl.eval.report.viewer import SHOWN, Card, card, category, find_pictures, reply, thumbnails
from ovrl.records import derive_seed
from ovrl.rejects import Rejects
from ovrl.samples import read_samples

COMPLETIONS = 4
"""Of each sample and mode that are shown: those with the lowest numbers."""

_FILES = {"rollout": "completions.jsonl", "score": "scores.jsonl"}


def rollout_cards(steps: Sequence[Step], source: Path) -> list[Card]:
    """Return the cards of up to `SHOWN` samples of the newest scores, or of the newest rollout when there are none.

    Args:
        steps: all outputs that were found.
        source: the directory that is reported on; relative paths of inputs are tried below it too.
    """
    newest = next((step for kind in ("score", "rollout") for step in reversed(steps) if step.kind == kind), None)
    if newest is None:
        return []
    chosen = _chosen(_lines(newest))
    return _cards(newest, chosen, [*(step for step in steps if step.kind == "rollout"), *_sources(newest)], source)


def view_cards(file: Path, samples: Path | None) -> list[Card]:
    """Return the cards of a file of samples, completions or scores.

    Args:
        file: JSON lines or parquet.
        samples: where the images are; None: the file itself, or what the manifest beside it names.
    """
    step = Step(path=file, name=file.name, kind="score", complete=True, manifest={})
    chosen = _chosen(_lines(step))
    if not chosen:
        return [
            card(sample.id, encode_question(sample.question), thumbnails(sample), ())
            for sample in islice(read_samples(str(file), Rejects(None)), SHOWN)
        ]
    given = [replace(step, manifest={"inputs": {str(samples): {}}})] if samples else []
    beside = read_json(file.with_name(f"{file.name}.{store.MANIFEST}")) or read_json(file.with_name(store.MANIFEST))
    rollout = replace(step, manifest=beside)
    return _cards(step, chosen, given or [*_sources(rollout), rollout], file.parent)


def _sources(step: Step) -> Iterator[Step]:
    """Yield the rollouts that scores were made of: their manifests stand beside the completions."""
    for name in mapping(step.manifest.get("inputs")):
        for place in (Path(f"{name}.{store.MANIFEST}"), Path(name).parent / store.MANIFEST):
            if (manifest := read_json(place)).get("command") == "rollout":
                yield replace(step, path=place.parent, kind="rollout", manifest=manifest)


def _cards(newest: Step, chosen: list[str], origins: Sequence[Step], source: Path) -> list[Card]:
    by_sample: dict[str, list[Record]] = defaultdict(list)
    for line in _lines(newest):
        if line.get("sample_id") in chosen:
            by_sample[str(line["sample_id"])].append(line)
    pictures = find_pictures(origins, chosen, source)
    return [_card(name, by_sample[name], pictures.get(name, ())) for name in chosen]


def _lines(step: Step) -> Iterator[Record]:
    path = step.file(_FILES[step.kind])
    if path.suffix == ".parquet" and path.is_file():
        yield from (row for _, row in parquet.read_rows(path) if isinstance(row, Mapping))
    else:
        yield from read_lines(path)


def _chosen(lines: Iterable[Record]) -> list[str]:
    """Return sample ids, categories in turn, within each in the order of a hash: not by how well they went."""
    groups: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if isinstance(line.get("sample_id"), str):
            groups[category(line)].add(line["sample_id"])
    ordered = [sorted(groups[name], key=lambda name: derive_seed(0, "report", name)) for name in sorted(groups)]
    turns = max(map(len, ordered), default=0)
    return [ids[turn] for turn in range(turns) for ids in ordered if turn < len(ids)][:SHOWN]


def _card(name: str, lines: list[Record], pictures: tuple[str, ...]) -> Card:
    modes: dict[str, list[Record]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: line["k"] if isinstance(line.get("k"), int) else 0):
        modes[str(line.get("prompt_type") or "")].append(line)
    replies = tuple(
        (mode, tuple(reply(f"#{line.get('k')}", line) for line in found[:COMPLETIONS]))
        for mode, found in sorted(modes.items())
    )
    return card(name, lines[0], pictures, replies)
