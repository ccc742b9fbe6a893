"""Compare evaluations: accuracy with intervals, gains on the same samples, breakdowns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovrl.eval import intervals
from ovrl.eval.intervals import Interval
from ovrl.eval.report import plots
from ovrl.eval.report.gather import EvalOutput, Record, mapping, number
from ovrl.eval.report.plots import Plot
from ovrl.eval.report.sections import Section, Table

_BREAKDOWNS = (
    ("by_source", "By source", "source"),
    ("by_problem_type", "By problem type", "problem_type"),
    ("by_answer_type", "By answer type", "answer_type"),
    ("by_difficulty", "By difficulty", "difficulty"),
)
"""(key of results.json, title, field of an item that tells the group)."""

_DIFFICULTIES = ("trivial", "easy", "medium", "hard", "impossible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The change of one mode from its first evaluation to its last."""

    mode: str
    first: str
    last: str
    """Accuracy with its interval, in words."""
    first_name: str
    last_name: str
    gain: str
    """In percentage points, with its interval; empty when there is one evaluation, or no common sample."""
    samples: int
    """In both, or in the only one."""


def by_mode(evals: Sequence[EvalOutput]) -> dict[str, list[EvalOutput]]:
    """Return the evaluations that have results, by mode, each list in chronological order."""
    modes: dict[str, list[EvalOutput]] = {}
    for one in evals:
        if one.results:
            modes.setdefault(one.mode, []).append(one)
    return dict(sorted(modes.items()))


def headlines(evals: Sequence[EvalOutput]) -> list[Headline]:
    """Return one headline for each mode."""
    found: list[Headline] = []
    for mode, group in by_mode(evals).items():
        first, last = group[0], group[-1]
        several = len(group) > 1
        gain, shared = _gain(first.accuracies, last.accuracies) if several else (None, len(first.items))
        found.append(
            Headline(
                mode=mode,
                first=_percent(overall(first)),
                last=_percent(overall(last)) if several else "",
                first_name=first.step.name,
                last_name=last.step.name,
                gain=_points(gain),
                samples=shared,
            )
        )
    return found


def evaluation(evals: Sequence[EvalOutput]) -> list[Section]:
    """Return accuracy after each step with the gains between, then the categories of each mode."""
    modes = by_mode(evals)
    drawn: list[Plot] = []
    overview = _overview(modes)
    for mode, group in modes.items():
        labels = [one.step.name for one in group]
        drawn.append(
            plots.dots(
                f"Accuracy, {mode} mode",
                labels,
                {"accuracy": [overall(one) for one in group]},
                caption="From the top in order of time; 95% intervals over samples.",
            )
        )
    waiting = [one.step.name for one in evals if not one.results]
    first = Section(
        title="Evaluation",
        intro=f"Without results yet: {', '.join(waiting)}." if waiting else "",
        complete=all(one.step.complete for one in evals),
        plots=drawn,
        tables=[overview] if overview.rows else [],
    )
    return [first, *(part for mode, group in modes.items() if (part := _categories(mode, group)).plots)]


def _categories(mode: str, group: Sequence[EvalOutput]) -> Section:
    """Return the breakdowns of one mode, its first evaluation against its last."""
    found = [_breakdown(title, key, item_field, group) for key, title, item_field in _BREAKDOWNS]
    first, last = group[0].step.name, group[-1].step.name
    return Section(
        title=f"Categories, {mode} mode",
        intro=f"First: {first}. Last: {last}." if len(group) > 1 else "",
        plots=[plot for plot, _ in found if plot is not None],
        tables=[table for _, table in found if table is not None],
    )


def _overview(modes: Mapping[str, Sequence[EvalOutput]]) -> Table:
    rows: list[list[str]] = []
    for mode, group in modes.items():
        for i, one in enumerate(group):
            scores = mapping(one.results.get("overall"))
            gain = _gain(group[i - 1].accuracies, one.accuracies)[0] if i else None
            name = one.step.name if one.step.complete else f"{one.step.name} (in progress)"
            rows.append(
                [
                    name,
                    mode,
                    _tail(str(one.results.get("model") or "")),
                    _percent(overall(one)),
                    _points(gain),
                    _share(scores.get("pass_at_k")),
                    _share(scores.get("truncated_rate")),
                    _share(scores.get("no_answer_rate")),
                    f"{number(scores.get('items')) or len(one.items):,.0f}",
                ]
            )
    header = ("evaluation", "mode", "model", "accuracy", "gain over the one above", "pass@k")
    return Table(
        title="Accuracy after each step",
        header=(*header, "truncated", "no answer", "samples"),
        rows=rows,
        text_columns=3,
    )


def _breakdown(title: str, key: str, item_field: str, group: Sequence[EvalOutput]) -> tuple[Plot | None, Table | None]:
    """Return first against last evaluation for each category, and all of them as a table."""
    parts = [mapping(one.results.get(key)) for one in group]
    labels = sorted(dict.fromkeys(label for part in parts for label in part), key=_rank)
    if not labels:
        return None, None
    several = len(group) > 1
    ends = {"first": parts[0], "last": parts[-1]} if several else {"accuracy": parts[0]}
    series = {name: [_interval(mapping(part.get(label))) for label in labels[:16]] for name, part in ends.items()}
    header = ["category", *(one.step.name for one in group), *(["gain, first to last"] if several else [])]
    rows: list[list[str]] = []
    for label in labels:
        cells = [label, *(_percent(_interval(mapping(part.get(label)))) for part in parts)]
        if several:
            gain = _gain(*(_within(one, item_field, label) for one in (group[0], group[-1])))[0]
            cells.append(_points(gain))
        rows.append(cells)
    return (
        plots.dots(title, labels[:16], series),
        Table(title=title, header=header, rows=rows, folded=True),
    )


def _rank(label: str) -> tuple[int, str]:
    """Return the place of a category: difficulties from easy to hard, everything else by name."""
    return (_DIFFICULTIES.index(label) if label in _DIFFICULTIES else len(_DIFFICULTIES), label)


def _within(one: EvalOutput, item_field: str, label: str) -> dict[str, float]:
    """Return the accuracies of the samples of one category."""
    known = one.accuracies
    return {
        name: known[name] for name, item in one.items.items() if name in known and str(item.get(item_field)) == label
    }


def overall(one: EvalOutput) -> Interval | None:
    """Return the accuracy of an evaluation as it was written, or from its items where it was not."""
    written = _interval(mapping(one.results.get("overall")))
    if written is None and one.accuracies:
        return intervals.bootstrap_mean(list(one.accuracies.values()))
    return written


def _interval(scores: Record) -> Interval | None:
    mean, low, high = (number(scores.get(name)) for name in ("accuracy", "low", "high"))
    if mean is None:
        return None
    return Interval(mean, mean if low is None else low, mean if high is None else high)


def _gain(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[Interval | None, int]:
    """Return the paired gain and over how many samples; None when there is nothing to pair."""
    shared = len(before.keys() & after.keys())
    return (intervals.paired_gain(before, after), shared) if shared > 1 else (None, shared)


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.mean:.1%} [{interval.low * 100:.1f}, {interval.high * 100:.1f}]"


def _points(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f"{interval.mean * 100:+.1f} [{interval.low * 100:+.1f}, {interval.high * 100:+.1f}]"


def _share(value: object) -> str:
    known = number(value)
    return "" if known is None else f"{known:.1%}"


def _tail(model: str) -> str:
    """Return the last two parts of a path or hub name, which tell models apart."""
    return "/".join(model.rstrip("/").split("/")[-2:])
