"""The data-set card: a README that the hub shows, and by which `datasets` finds the two stages."""

import yaml

from ovrl.curate.report import markdown
from ovrl.curate.summary import CurationSummary

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_NAMES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")


def to_card(summary: CurationSummary) -> str:
    """Return the card: YAML front matter, then what the data are and how they were chosen."""
    rows = summary.stages["1"].kept + summary.stage2_rows
    front = {
        "pretty_name": "Prompts for reinforcement learning, curated by ovrl",
        "task_categories": ["image-text-to-text", "visual-question-answering"],
        "tags": ["reinforcement-learning", "verifiable-rewards", "ovrl"],
        "size_categories": [_NAMES[sum(rows >= size for size in _SIZES)]],
        "configs": [
            {"config_name": name, "data_files": f"{name}/*.parquet", "default": name == "stage1"}
            for name in ("stage1", "stage2")
        ],
    }
    sources = [(name, str(t.samples), str(t.kept)) for name, t in summary.sources.items() if t.kept]
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "",
        "# Prompts that a model can solve, but rarely does",
        "",
        f"{markdown.headline(summary)} The columns are those of LLaVA-OneVision-1.5-RL: `images`, `problem` with one "
        "`<image>` for each, `answer` (any of the list counts), `answer_type`, `problem_type`, `prompt_type`.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'stage1 = load_dataset("parquet", data_files="stage1/*.parquet", split="train")',
        "```",
        "",
        "## Sources",
        "",
        "The licenses are those of the sources.",
        "",
        *markdown.table(("source", "samples", "kept"), sources),
        "",
        "## How they were chosen",
        "",
        *(f"- {name}: {value}" for name, value in markdown.in_force(summary.settings)),
        f"- seed: {summary.seed}",
        "",
        "`curation.jsonl` has a row with the reason for every sample that was looked at; `report.html` shows them.",
    ]
    return "\n".join(lines) + "\n"
