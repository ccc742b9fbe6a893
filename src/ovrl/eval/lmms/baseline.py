"""Compare two runs of benchmarks, document by document."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ovrl.errors import UsageError
from ovrl.eval.intervals import paired_gain
from ovrl.eval.lmms.runner import ITEMS, RESULTS


def compare(before: Path, after: Path, seed: int) -> dict[str, dict[str, Any]]:
    """Return for each benchmark of `after` the gain over `before` in points, with its 95 % paired interval.

    Args:
        before: output directory of the run to compare with.
        after: output directory of the run.
        seed: of the resampling.

    Raises:
        UsageError: `before` is no finished run of benchmarks, or has none of these.
    """
    old, new = _values(before), _values(after)
    if not old.keys() & new.keys():
        raise UsageError(f"--baseline {before} has none of these benchmarks, but {', '.join(old)}")
    earlier, later = _scores(before), _scores(after)
    return {name: _gain(old[name], new[name], earlier[name], later[name], seed) for name in new if name in old}


def _gain(old: float, new: float, before: dict[str, float], after: dict[str, float], seed: int) -> dict[str, Any]:
    """Return the difference of the values, and the interval where documents have scores."""
    gain: dict[str, Any] = {"gain": new - old, "low": None, "high": None, "items": len(before.keys() & after.keys())}
    if gain["items"]:
        drawn = paired_gain(before, after, seed)
        gain["low"], gain["high"] = (new - old + 100.0 * (end - drawn.mean) for end in (drawn.low, drawn.high))
    return gain


def _values(folder: Path) -> dict[str, float]:
    path = folder / RESULTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--baseline {folder}: {path} cannot be read; give a finished `ovrl eval --tasks`") from error
    if "benchmarks" not in content:
        raise UsageError(f"--baseline {folder} was an evaluation on samples; give one of `ovrl eval --tasks`")
    return {name: row["value"] for name, row in content["benchmarks"].items()}


def _scores(folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    with (folder / ITEMS).open(encoding="utf-8") as stream:
        for line in stream:
            item = json.loads(line)
            if item["score"] is not None:
                found[item["benchmark"]][str(item["doc_id"])] = item["score"]
    return found
