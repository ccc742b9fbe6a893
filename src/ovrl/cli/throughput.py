"""How fast completions come, how they end, and how long the rest will take."""

import time
from collections.abc import Callable, Mapping


class Throughput:
    """Says in a line what the counts of a rollout have come to."""

    def __init__(self, total: int | None, now: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            total: completions in all, those of earlier runs included; None when nobody knows.
            now: seconds.
        """
        self._total, self._now = total, now
        self._started = now()
        self._before: Mapping[str, int] | None = None
        """What earlier runs had counted: the first counts that were shown."""

    def line(self, counts: Mapping[str, int]) -> str:
        """Return the line: speeds of this run, finish reasons of all completions."""
        if self._before is None:
            self._before = dict(counts)
        done, spent = counts.get("completions", 0), self._now() - self._started
        fresh, tokens = (
            counts.get(name, 0) - self._before.get(name, 0) for name in ("completions", "completion_tokens")
        )
        parts: list[str] = []
        if fresh and spent > 0:
            tokens = counts["completion_tokens"] - self._before.get("completion_tokens", 0)
            parts += [f"{fresh / spent:.3g} completions/s", f"{tokens / spent:.3g} tokens/s"]
            if self._total is not None:
                left = max(0, self._total - done - counts.get("saved", 0))
                parts.append(f"{_duration(left * spent / fresh)} left")
        ends = {"length": counts.get("truncated", 0)}
        ends |= {name: counts.get(f"finish_{name}", 0) for name in ("abort", "error")}
        ends = {"stop": done - sum(ends.values())} | ends
        parts.append(", ".join(f"{name} {count}" for name, count in ends.items() if count or name == "stop"))
        parts += [f"{name} {counts[name]}" for name in ("rejected", "saved") if counts.get(name)]
        return "; ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
