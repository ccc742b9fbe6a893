"""What a person sees of a training run: a table that is kept up to date, or lines where there is no terminal."""

import logging
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from ovrl.cli import render
from ovrl.cli.session import Session

OnStep = Callable[[Mapping[str, Any]], None]

_WINDOW = 10
"""Steps over which times are averaged."""


@contextmanager
def watching(session: Session, what: str, total: int) -> Generator[OnStep]:
    """Yield a function that takes the metrics of each step and shows them.

    Args:
        session: the invocation.
        what: title.
        total: steps of the run.
    """
    if session.verbosity == "quiet" or session.as_json or not sys.stderr.isatty():
        with render.steps(session, what, total) as show:
            yield show
        return
    from rich.console import Console
    from rich.live import Live

    recent: deque[Mapping[str, Any]] = deque(maxlen=_WINDOW)
    with Live(console=Console(stderr=True), refresh_per_second=2, transient=False) as live, _through(sys.stderr):

        def update(line: Mapping[str, Any]) -> None:
            recent.append(line)
            live.update(_table(what, total, recent))

        yield update


@contextmanager
def _through(stream: Any) -> Generator[None]:
    """Send log lines through the stream that stands above the table, and back afterwards."""
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler)]
    earlier = [handler.setStream(stream) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, earlier, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _table(what: str, total: int, recent: "deque[Mapping[str, Any]]") -> Any:
    from rich.table import Table

    drawn = Table(title=what, title_justify="left", box=None, show_header=False, pad_edge=False)
    drawn.add_column(style="bold")
    drawn.add_column()
    for name, text in rows(total, recent):
        drawn.add_row(name, text)
    return drawn


def rows(total: int, recent: "deque[Mapping[str, Any]]") -> list[tuple[str, str]]:
    """Return the table's rows, (name, text), from the metrics of the last steps, at least one."""
    line = recent[-1]

    def total_of(name: str) -> float:
        return sum(step.get(name) or 0.0 for step in recent)

    seconds = total_of("time_step_s") or 1e-9
    left = (total - line["step"] - 1) * seconds / len(recent)
    shown = [
        ("step", f"{line['step'] + 1} of {total}, {_duration(left)} left"),
        ("reward", f"{_number(line['reward_mean'])}   accuracy {_number(line['accuracy_mean'])}"),
        ("by type", "   ".join(f"{k} {_number(v)}" for k, v in (line.get("reward_by_type") or {}).items())),
        (
            "age",
            f"mean {_number(line['age_mean'])}, max {line['age_max']} steps behind; lead {_number(line['lead'])}",
        ),
        (
            "waits",
            f"trainer {total_of('time_wait_s') / seconds:.0%}, engine {total_of('time_engine_wait_s') / seconds:.0%}",
        ),
        ("speed", f"{total_of('tokens_trained') / seconds:.0f} tokens/s, {seconds / len(recent):.2f} s a step"),
        (
            "overlap",
            f"{_number(line['speedup'])} times sampling and training in turns; "
            f"{_number(line['speedup_bound'])} at best",
        ),
        (
            "policy",
            f"entropy {_number(line.get('entropy'))}, behaviour KL {_number(line.get('behaviour_kl'))}, "
            f"gradient {_number(line.get('grad_norm'))}",
        ),
        ("length", f"{_number(line['completion_tokens'])} tokens, {line['truncated_rate']:.0%} cut"),
        ("groups", f"{line['groups_used']} trained, rejected: {_counts(line['groups_rejected'])}"),
    ]
    return [(name, text) for name, text in shown if text]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
