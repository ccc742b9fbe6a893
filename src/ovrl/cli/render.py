"""What a person sees: summaries, tables and progress, all on stderr. The only code that uses rich."""

import json
import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from ovrl.cli.session import Session
from ovrl.cli.throughput import Throughput

log = logging.getLogger(__name__)

_EVERY = 30.0
"""Seconds between progress lines where there is no terminal."""


def summary(session: Session, title: str, values: Mapping[str, Any], *, records_on_stdout: bool = False) -> None:
    """Print what was done: a line of counts on stderr, or one JSON object with --json."""
    if session.as_json:
        stream = sys.stderr if records_on_stdout else sys.stdout
        stream.write(json.dumps({"command": title, **values}, ensure_ascii=False) + "\n")
        stream.flush()
        return
    if session.verbosity != "quiet":
        shown = "  ".join(f"{name}={_short(value)}" for name, value in values.items() if value is not None)
        sys.stderr.write(f"{title}: {shown}\n")


def table(session: Session, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table on stderr; words stand to the left, numbers to the right."""
    if session.verbosity == "quiet" or session.as_json:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    cells = [list(row) for row in rows]
    for number, column in enumerate(columns):
        words = number == 0 or all(isinstance(row[number], str) and row[number][:1].isalpha() for row in cells)
        drawn.add_column(column, justify="left" if words else "right")
    for row in cells:
        drawn.add_row(*(escape(_short(cell)) for cell in row))
    Console(stderr=True, highlight=False).print(drawn)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{_short(item)}" for key, item in value.items()) or "-"
    return str(value)


@contextmanager
def progress(session: Session, what: str, total: int | None) -> Generator[Callable[[int], None]]:
    """Show a bar on a terminal, one line every 30 s elsewhere; the value is called with how many are done."""
    if session.verbosity == "quiet":
        yield lambda count: None
    elif sys.stderr.isatty():
        yield from _bar(what, total)
    else:
        yield _lines(what, total)


def _bar(what: str, total: int | None) -> Generator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda count: bars.advance(task, count)


def _lines(what: str, total: int | None) -> Callable[[int], None]:
    done, last = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            log.info("%s: %d%s", what, done, f" of {total}" if total else "")

    return advance


@contextmanager
def rollout(session: Session, total: int | None) -> Generator[Callable[[Mapping[str, int]], None]]:
    """Show speeds, finish reasons and time left: a bar on a terminal, one line every 30 s elsewhere.

    The value is called with the counts so far.
    """
    speed = Throughput(total)
    if session.verbosity == "quiet":
        yield lambda counts: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.fields[line]}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("rollout", total=total, line="")

            def update(counts: Mapping[str, int]) -> None:
                saved = counts.get("saved", 0)
                completed = counts.get("completions", 0)
                bars.update(task, completed=completed, total=total and total - saved, line=speed.line(counts))

            yield update
    else:
        last = time.monotonic()

        def say(counts: Mapping[str, int]) -> None:
            nonlocal last
            if time.monotonic() - last >= _EVERY:
                last = time.monotonic()
                done = counts.get("completions", 0)
                log.info("rollout: %d%s; %s", done, f" of {total}" if total else "", speed.line(counts))

        yield say


@contextmanager
def steps(session: Session, what: str, total: int) -> Generator[Callable[[Mapping[str, Any]], None]]:
    """Show the progress of a training: a bar on a terminal, a line every 30 s elsewhere, each step with -v."""
    with progress(session, what, total) if sys.stderr.isatty() else nullcontext(lambda count: None) as advance:
        last = time.monotonic() - _EVERY + 5

        def on_step(figures: Mapping[str, Any]) -> None:
            nonlocal last
            due = time.monotonic() - last >= _EVERY and not sys.stderr.isatty()
            shown = {name: figures[name] for name in _SHOWN if figures.get(name) is not None}
            if due:
                last = time.monotonic()
            log.log(
                logging.INFO if due else logging.DEBUG,
                "%s: step %d of %d %s",
                what,
                figures["step"] + 1,
                total,
                " ".join(f"{name}={_short(value)}" for name, value in shown.items()),
            )
            advance(1)

        yield on_step


_SHOWN = (
    "loss",
    "accuracy_mean",
    "reward_mean",
    "groups_used",
    "completion_tokens",
    "entropy",
    "time_step_s",
)


def note(session: Session, text: str) -> None:
    """Print a line for the person on stderr."""
    if session.verbosity != "quiet" and not session.as_json:
        sys.stderr.write(f"{text}\n")
