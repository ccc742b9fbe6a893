"""The model card of `final/`: where the weights come from, in the form that the Hugging Face hub reads."""

import json
from pathlib import Path
from typing import Any

import yaml

from ovrl import __version__
from ovrl.train.settings import TrainSettings

_SHOWN = 10
"""Steps at the beginning and at the end that are averaged."""


def write(model: str, settings: TrainSettings, run: Path, samples: int) -> str:
    """Return the card.

    Args:
        model: the first policy.
        settings: of the run.
        run: its directory.
        samples: prompts that it was trained on.
    """
    head = {
        "base_model": model,
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["ovrl", "reinforcement-learning", "grpo"],
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [
        ("reward", "reward_mean"),
        ("accuracy", "accuracy_mean"),
        ("tokens of a completion", "completion_tokens"),
        ("entropy", "entropy"),
    ]
    table = "\n".join(
        f"| {name} | {_mean(lines[:_SHOWN], key)} | {_mean(lines[-_SHOWN:], key)} |" for name, key in rows
    )
    age = max((line["age_max"] for line in lines), default=0)
    return f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---

# {run.resolve().name}

`{model}`, trained for {len(lines)} steps of {settings.batch.groups} prompts, {settings.batch.group_size} completions
each, on {samples} prompts by reinforcement learning with verifiable rewards: recipe `{settings.recipe}`, ovrl
{__version__}. No token was trained more than {age} steps after it had been sampled.

| mean over | the first {_SHOWN} steps | the last {_SHOWN} steps |
|---|---|---|
{table}

The settings:

```yaml
{yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).strip()}
```
"""


def _mean(lines: list[dict[str, Any]], key: str) -> str:
    values = [line[key] for line in lines if line.get(key) is not None]
    return f"{sum(values) / len(values):.4g}" if values else "-"
