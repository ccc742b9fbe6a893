"""The published table with ours beside it: base, thinking and fast, with group averages from the rows."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovrl.eval.lmms import suite
from ovrl.eval.report.gather import EvalOutput, mapping, number
from ovrl.eval.report.sections import Section, Table

COLUMNS = ("base", "thinking", "fast")
"""Those of the published table, in its order."""

ABOVE, BELOW = "▲", "▼"
_ROUNDING = 0.1
"""A printed average may differ by this much from that of rows that are printed to one decimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands in one column: the rows by benchmark, and the outputs that they come from."""

    name: str
    model: str
    outputs: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Any]]


def section(runs: Sequence[EvalOutput]) -> Section:
    """Return the table of all runs of benchmarks, in chronological order."""
    found = columns(runs)
    shown = [name for name in _names(found) if any(name in column.rows for column in found)]
    groups = list(dict.fromkeys(_group(name, found) for name in shown))
    tables = [_table(group, [name for name in shown if _group(name, found) == group], found) for group in groups]
    return Section(
        title="Benchmarks",
        intro=" ".join([_legend(found), *_misprints(shown)]),
        complete=all(run.step.complete for run in runs),
        tables=[*tables, _details(found, shown)],
    )


def columns(runs: Sequence[EvalOutput]) -> list[Column]:
    """Return the columns that there are results for.

    Of several models, the first one in time is the base and the last one is trained; a single model is taken for
    a trained one. Of several runs of a model in the same mode, the last one counts for each benchmark.
    """
    models = list(dict.fromkeys(str(run.results.get("model")) for run in runs))
    trained = str(runs[-1].results.get("model"))
    chosen = {"thinking": (trained, "thinking"), "fast": (trained, "fast")}
    if len(models) > 1:
        base = next(run for run in runs if str(run.results.get("model")) != trained)
        chosen["base"] = (str(base.results.get("model")), base.mode)
    found: list[Column] = []
    for name in COLUMNS:
        model, mode = chosen.get(name, ("", ""))
        own = [run for run in runs if (str(run.results.get("model")), run.mode) == (model, mode)]
        if own:
            rows = {key: row for run in own for key, row in mapping(run.results.get("benchmarks")).items()}
            found.append(Column(name=name, model=model, outputs=tuple(run.step.name for run in own), rows=rows))
    return found


def _names(found: Sequence[Column]) -> Iterable[str]:
    """Return the benchmarks in the order of the published table, then those that it does not have."""
    return dict.fromkeys([*suite.suite(), *(name for column in found for name in column.rows)])


def _group(name: str, found: Sequence[Column]) -> str:
    known = suite.suite().get(name)
    if known is not None:
        return known.group
    return next(str(column.rows[name].get("group") or "Given") for column in found if name in column.rows)


def _table(group: str, names: Sequence[str], found: Sequence[Column]) -> Table:
    known = suite.suite()
    rows: list[list[str]] = []
    for name in names:
        published = known[name].published if name in known else None
        title = known[name].title if name in known else name
        ours = [_cell(column.rows.get(name), published and published[_place(column)]) for column in found]
        rows.append([title, *ours, *(f"{value:.1f}" if published else "" for value in published or COLUMNS)])
    header = ("benchmark", *(f"{column.name}" for column in found), *(f"published {name}" for name in COLUMNS))
    return Table(title=group, header=header, rows=[*rows, _averages(names, found)])


def _place(column: Column) -> int:
    return COLUMNS.index(column.name)


def _cell(row: Mapping[str, Any] | None, published: float | None) -> str:
    """Return value and interval, marked when the published figure lies outside of it."""
    value = None if row is None else number(row.get("value"))
    if row is None or value is None:
        return ""
    low, high = number(row.get("low")), number(row.get("high"))
    if low is None or high is None:
        return f"{value:.1f}"
    mark = "" if published is None or low <= published <= high else ABOVE if published < low else BELOW
    return f"{value:.1f} [{low:.1f}, {high:.1f}] {mark}".strip()


def _averages(names: Sequence[str], found: Sequence[Column]) -> list[str]:
    """Return the last row of a group: means of what stands above, and of how many rows where some are empty."""
    cells = ["average of the rows"]
    for column in found:
        values = [v for name in names if (v := number(mapping(column.rows.get(name)).get("value"))) is not None]
        partly = f" ({len(values)} of {len(names)} rows)" if len(values) < len(names) else ""
        cells.append(f"{statistics.fmean(values):.1f}{partly}" if values else "")
    means = _published_means(names)
    return [*cells, *(f"{mean:.1f}" for mean in means)] if means else [*cells, "", "", ""]


def _published_means(names: Iterable[str]) -> list[float]:
    known = suite.suite()
    published = [row for name in names if name in known and (row := known[name].published)]
    return [statistics.fmean(column) for column in zip(*published, strict=True)]


def _legend(found: Sequence[Column]) -> str:
    which = "; ".join(f"{column.name}: {column.model} ({', '.join(column.outputs)})" for column in found)
    return (
        f"Percent, with 95% intervals over documents. {which}. {ABOVE} and {BELOW}: above or below the published "
        "figure (LLaVA-OneVision-1.5 8B and its RL version) by more than the interval. Where there is no interval, "
        "nothing is marked."
    )


def _misprints(shown: Sequence[str]) -> list[str]:
    """Return a sentence for each group that is shown whole and whose printed averages are not those of its rows."""
    found: list[str] = []
    known = suite.suite()
    for group, printed in suite.printed_averages().items():
        names = [name for name, row in known.items() if row.group == group and row.published]
        if not set(names) <= set(shown):
            continue
        wrong = [
            f"{column} {stated:.1f} is {mean:.1f}"
            for column, stated, mean in zip(COLUMNS, printed, _published_means(names), strict=True)
            if abs(stated - mean) > _ROUNDING
        ]
        if wrong:
            found.append(f"The printed averages of {group} are not those of its rows: {', '.join(wrong)}.")
    return found


def _details(found: Sequence[Column], shown: Sequence[str]) -> Table:
    """Return how each value came about."""
    rows = [
        [
            name,
            column.name,
            str(row.get("metric") or ""),
            str(row.get("judge") or ""),
            *(f"{share:.1%}" if (share := number(row.get(key))) is not None else "" for key in _SHARES),
            f"{number(row.get('items')) or 0:,.0f}",
        ]
        for name in shown
        for column in found
        if (row := column.rows.get(name)) is not None
    ]
    header = ("benchmark", "column", "metric", "judged by", "no answer", "truncated", "documents")
    return Table(title="How it was measured", header=header, rows=rows, text_columns=4, folded=True)


_SHARES = ("no_answer_rate", "truncated_rate")
