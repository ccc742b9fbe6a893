"""What is known of each sample: counts over its completions, from scored lines or from an earlier curation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ovrl.curate.rules import NOTHING, Counts
from ovrl.curate.scores import TRUNCATED, UNANSWERED, Columns, Lines, in_order

RECENT = 16
"""Completions of a sample that are taken from a training run: its newest groups, whole, until there are at
least so many. Older ones tell of a policy that is gone."""

_ROUNDING = 1e-9

Letters = Mapping[str, tuple[int, int]]
"""Gold letter as it was shown -> (right, judged)."""


class Evidence:
    """Counts by sample id. Scored lines supersede what an earlier curation knew of the same sample."""

    def __init__(self, lines: Lines | None = None, earlier: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Group the lines.

        Args:
            lines: scored lines, in any order; of lines that repeat a completion the lowest score counts.
            earlier: sample id -> its row of an earlier `curation.jsonl`.
        """
        self._ids: Mapping[str, int] = lines.ids if lines else {}
        self._letters: list[str] = lines.letters if lines else []
        self._earlier = earlier or {}
        self._columns, self.duplicates = _distinct(lines.columns) if lines else (None, 0)
        self._sums = _Sums(self._columns, len(self._ids)) if self._columns else None

    @property
    def scored(self) -> Iterable[str]:
        """The samples that the lines speak of."""
        return self._ids.keys()

    def lines_of(self, sample_id: str) -> int:
        """Return how many different completions the lines hold of a sample."""
        return self._sums.total[self._ids[sample_id]] if self._sums else 0

    def of(self, sample_id: str, threshold: float) -> Counts:
        """Return the counts of a sample; all zero when nothing is known.

        Args:
            sample_id: the sample.
            threshold: accuracy from which on a completion is correct. Rows of an earlier curation were
                counted with its own.
        """
        code = self._ids.get(sample_id)
        if code is not None and self._sums is not None:
            return self._sums.counts(code, threshold)
        row = self._earlier.get(sample_id)
        return NOTHING if row is None else _earlier_counts(row)

    def letters_of(self, sample_id: str, threshold: float) -> Letters:
        """Return the counts by shown gold letter; empty where the options kept their order."""
        code = self._ids.get(sample_id)
        if code is not None and self._sums is not None:
            return self._sums.letters(code, threshold, self._letters) if self._letters else {}
        row = self._earlier.get(sample_id)
        return {} if row is None else {name: (pair[0], pair[1]) for name, pair in (row.get("letters") or {}).items()}


def _earlier_counts(row: Mapping[str, Any]) -> Counts:
    names = ("total", "n", "correct", "mean_reward", "std_reward", "truncated", "unanswered", "errors")
    return Counts(*(row[name] for name in names))


def _distinct(columns: Columns) -> tuple[Columns, int]:
    """Return each completion once, in order, without groups that are not recent; and how many were repeated."""
    ordered = in_order(columns)
    repeats = np.zeros(len(ordered.code), bool)
    repeats[1:] = (
        (ordered.code[1:] == ordered.code[:-1])
        & (ordered.group[1:] == ordered.group[:-1])
        & (ordered.k[1:] == ordered.k[:-1])
    )
    if repeats.any():
        ordered = ordered.at(np.flatnonzero(~repeats))
    if len(ordered.group) and ordered.group.max() >= 0:
        ordered = ordered.at(_recent(ordered))
    return ordered, int(repeats.sum())


def _recent(columns: Columns) -> np.ndarray:
    """Return where the newest groups of each sample stand, until they hold `RECENT` completions."""
    places = np.arange(len(columns.code))
    new_sample = np.r_[True, columns.code[1:] != columns.code[:-1]]
    new_group = new_sample | np.r_[True, columns.group[1:] != columns.group[:-1]]
    sample_start = np.maximum.accumulate(np.where(new_sample, places, 0))
    group_start = np.maximum.accumulate(np.where(new_group, places, 0))
    return places[(group_start - sample_start < RECENT) | (columns.group < 0)]


class _Sums:
    """Sums over the lines of each sample, as plain lists, which are quick to read one by one."""

    def __init__(self, columns: Columns, samples: int) -> None:
        self._columns = columns
        self._samples = samples
        code, scored = columns.code, ~np.isnan(columns.accuracy)
        unanswered = (columns.flags & UNANSWERED) > 0
        self._judged = scored & ~unanswered
        self._code = code[self._judged]
        self._accuracy = columns.accuracy[self._judged]
        n = np.bincount(self._code, minlength=samples)
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing was judged
            mean = np.bincount(self._code, self._accuracy, samples) / n
            spread = np.bincount(self._code, (self._accuracy - mean[self._code]) ** 2, samples) / n
        self.total: list[int] = np.bincount(code, minlength=samples).tolist()
        self._n: list[int] = n.tolist()
        self._mean: list[float] = mean.tolist()
        self._std: list[float] = np.sqrt(spread).tolist()
        self._truncated: list[int] = np.bincount(code[(columns.flags & TRUNCATED) > 0], minlength=samples).tolist()
        self._unanswered: list[int] = np.bincount(code[unanswered & scored], minlength=samples).tolist()
        self._errors: list[int] = np.bincount(code[~scored], minlength=samples).tolist()
        self._correct: dict[float, list[int]] = {}
        self._by_letter: dict[float, tuple[Any, Any]] = {}

    def counts(self, code: int, threshold: float) -> Counts:
        correct = self._correct.get(threshold)
        if correct is None:
            passing = self._code[self._accuracy >= threshold - _ROUNDING]
            correct = self._correct[threshold] = np.bincount(passing, minlength=self._samples).tolist()
        n = self._n[code]
        return Counts(
            self.total[code],
            n,
            correct[code],
            self._mean[code] if n else None,
            self._std[code] if n else None,
            self._truncated[code],
            self._unanswered[code],
            self._errors[code],
        )

    def letters(self, code: int, threshold: float, names: list[str]) -> Letters:
        if threshold not in self._by_letter:
            self._by_letter[threshold] = self._letter_table(threshold, len(names))
        right, total = self._by_letter[threshold]
        found = zip(names, right[code].tolist(), total[code].tolist(), strict=True)
        return {name: (hits, count) for name, hits, count in sorted(found) if count}

    def _letter_table(self, threshold: float, width: int) -> tuple[Any, Any]:
        """Return right and judged completions, each [samples, letters]."""
        letter = self._columns.letter[self._judged]
        shown = letter >= 0
        cell = self._code[shown] * width + letter[shown]
        hits = self._accuracy[shown] >= threshold - _ROUNDING
        size = self._samples * width
        tables = (np.bincount(cell[hits], minlength=size), np.bincount(cell, minlength=size))
        return tables[0].reshape(-1, width), tables[1].reshape(-1, width)


def ids_without_sample(evidence: Evidence, samples: Mapping[str, Any]) -> Iterator[str]:
    """Yield the scored ids that are none of the samples, in alphabetical order."""
    yield from sorted(sample_id for sample_id in evidence.scored if sample_id not in samples)
