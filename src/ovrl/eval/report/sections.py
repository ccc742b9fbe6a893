"""Turn what was found into the plots and tables of a page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ovrl.eval.report import plots
from ovrl.eval.report.gather import CurateOutput, Record, Step, TrainRun, mapping, number
from ovrl.eval.report.plots import Curve, Plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    """How many columns from the left are words; the others are aligned as numbers."""
    folded: bool = False
    """Whether it is shown only when asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page."""

    title: str
    intro: str = ""
    complete: bool = True
    plots: Sequence[Plot] = field(default_factory=list[Plot])
    tables: Sequence[Table] = field(default_factory=list[Table])


# (title, {metric: label}, shown as percent, caption); a plot without values is left out
_CURVES: tuple[tuple[str, dict[str, str], bool, str], ...] = (
    (
        "Accuracy and reward",
        {"accuracy_mean": "accuracy", "reward_mean": "reward"},
        False,
        "Mean over the sampled completions; reward includes bonuses.",
    ),
    ("Completion length", {"completion_tokens": "tokens"}, False, "Tokens of a completion, mean."),
    ("Truncated completions", {"truncated_rate": "truncated"}, True, "Stopped by the length limit."),
    ("Entropy", {"entropy": "entropy"}, False, "Of the policy, nats a token."),
    (
        "Reward spread within groups",
        {"reward_std": "reward_std"},
        False,
        "Without spread there is nothing to learn from.",
    ),
    ("Clipped tokens", {"clip_fraction": "clipped"}, True, "Share whose ratio left the trust region."),
    ("Distance to the sampling policy", {"behaviour_kl": "KL"}, False, "KL estimate, nats a token."),
    ("Age of trained tokens", {"age_max": "oldest", "age_mean": "mean"}, False, "Policy versions behind."),
    ("Gradient norm", {"grad_norm": "norm"}, False, ""),
    ("Learning rate", {"lr": "lr"}, False, ""),
)

_TIMES = {
    "time_generate_s": "generate",
    "time_wait_s": "wait",
    "time_train_s": "train",
    "time_publish_s": "publish",
}


def training(run: TrainRun) -> Section:
    """Return the curves of a `train` run."""
    rows = run.metrics
    drawn = [
        plots.curves(title, found, percent=percent, caption=caption)
        for title, names, percent, caption in _CURVES
        if (found := [c for name, label in names.items() if (c := _curve(rows, name, label)).steps])
    ]
    drawn[1:1] = _groups(rows)  # what was trained on belongs beside the accuracy
    drawn += _times(rows)
    return Section(
        title=f"Training: {run.step.name}",
        intro=_progress(run),
        complete=run.step.complete,
        plots=drawn,
    )


def warmup(run: TrainRun) -> Section:
    """Return the loss curve of a `warmup` run."""
    curve = _curve(run.metrics, "loss", "loss")
    return Section(
        title=f"Warm-up: {run.step.name}",
        intro=_progress(run),
        complete=run.step.complete,
        plots=[plots.curves("Loss", [curve], caption="Mean negative log-likelihood of a target token.")]
        if curve.steps
        else [],
    )


def _progress(run: TrainRun) -> str:
    if not run.metrics:
        return "No step is finished yet."
    return f"{len(run.metrics)} optimizer steps, the last is step {run.metrics[-1]['step']:g}."


def _curve(rows: Sequence[Record], name: str, label: str) -> Curve:
    known = [(row["step"], value) for row in rows if (value := number(row.get(name))) is not None]
    return Curve(label, [step for step, _ in known], [value for _, value in known])


def _groups(rows: Sequence[Record]) -> list[Plot]:
    """Return how many groups were trained on, and why the others were not."""
    known = [row for row in rows if number(row.get("groups_used")) is not None]
    if not known:
        return []
    reasons = Counter[str]()
    for row in known:
        reasons.update({k: int(number(v) or 0) for k, v in mapping(row.get("groups_rejected")).items()})
    parts = {"used": [number(row["groups_used"]) or 0.0 for row in known]}
    for reason, _ in reasons.most_common(5):
        parts[reason] = [number(mapping(row.get("groups_rejected")).get(reason)) or 0.0 for row in known]
    return [plots.stack("Groups", [row["step"] for row in known], parts, caption="Used, or rejected and why.")]


def _times(rows: Sequence[Record]) -> list[Plot]:
    known = [row for row in rows if number(row.get("time_step_s")) is not None]
    parts = {
        label: [number(row.get(name)) or 0.0 for row in known]
        for name, label in _TIMES.items()
        if any(number(row.get(name)) for row in known)
    }
    if not parts:
        return []
    caption = "Seconds. Parts may overlap in an asynchronous run."
    return [plots.stack("Time of a step", [row["step"] for row in known], parts, caption=caption)]


def curation(output: CurateOutput) -> Section:
    """Return which samples were kept, and how the data set changed."""
    kept = [row for row in output.rows if row.get("decision") == "keep"]
    dropped = [row for row in output.rows if row.get("decision") != "keep"]
    drawn: list[Plot] = []
    if any(number(row.get("pass_at_1")) is not None for row in output.rows):
        drawn.append(
            plots.histogram(
                "Accuracy before training",
                {"kept": _values(kept, "pass_at_1"), "dropped": _values(dropped, "pass_at_1")},
                x_label="pass@1",
                caption="Each sample once; kept ones have something to learn.",
            )
        )
        drawn.append(
            plots.bubbles(
                "pass@k against pass@1",
                {"kept": _places(kept), "dropped": _places(dropped)},
                x_label="pass@1",
                y_label="pass@k",
                caption="Height over the diagonal is the gap; the area of a disk is the number of samples.",
            )
        )
    for title, name in (("By source", "source"), ("By category", "problem_type"), ("By stage", "stage")):
        drawn += _composition(title, name, output.rows, kept)
    reasons = Counter(str(row.get("reason")) for row in output.rows)
    total = max(1, len(output.rows))
    tables = [
        Table(
            title="Reasons",
            header=("reason", "samples", "share"),
            rows=[(name, f"{count:,}", f"{count / total:.1%}") for name, count in reasons.most_common()],
        ),
        _in_force(output.summary),
    ]
    return Section(
        title=f"Curation: {output.step.name}",
        intro=f"{len(kept):,} of {len(output.rows):,} samples kept." if output.rows else "No sample yet.",
        complete=output.step.complete,
        plots=drawn,
        tables=[table for table in tables if table.rows],
    )


def _values(rows: Sequence[Record], name: str) -> list[float]:
    return [value for row in rows if (value := number(row.get(name))) is not None]


def _places(rows: Sequence[Record]) -> dict[tuple[float, float], int]:
    """Return how many rows share each (pass@1, pass@k), to a hundredth."""
    found = Counter[tuple[float, float]]()
    for row in rows:
        x, y = number(row.get("pass_at_1")), number(row.get("pass_at_k"))
        if x is not None and y is not None:
            found[round(x, 2), round(y, 2)] += 1
    return dict(found)


def _composition(title: str, name: str, rows: Sequence[Record], kept: Sequence[Record]) -> list[Plot]:
    before = Counter(str(row.get(name) or "(none)") for row in rows)
    after = Counter(str(row.get(name) or "(none)") for row in kept)
    labels = [label for label, _ in before.most_common(14)]
    if not labels:
        return []
    series = {"before": [before[label] for label in labels], "kept": [after[label] for label in labels]}
    left_out = len(before) - len(labels)
    caption = "Samples." + (f" The {left_out} smallest are not shown." if left_out else "")
    return [plots.bars(title, labels, series, caption=caption)]


def _in_force(summary: Record) -> Table:
    """Return the settings that decided, and what the correction for guessing changed."""
    settings, chance = mapping(summary.get("settings")), mapping(summary.get("chance"))
    flat: list[tuple[str, str]] = []
    for key, value in settings.items():
        inner = mapping(value)
        flat += [(f"{key}.{name}", str(leaf)) for name, leaf in inner.items()] or [(key, str(value))]
    flat += [(f"guessing: {key.replace('_', ' ')}", str(value)) for key, value in chance.items()]
    return Table(title="Settings in force", header=("setting", "value"), rows=flat, text_columns=2, folded=True)


def counts(steps: Sequence[Step]) -> Section:
    """Return the counts of `rollout` and `score` outputs."""
    rows = [
        (step.name, step.kind, f"{key.replace('_', ' ')}", _count(value))
        for step in steps
        for key, value in mapping(step.manifest.get("counts")).items()
    ]
    unfinished = [(step.name, step.kind, "in progress", "") for step in steps if not step.complete]
    return Section(
        title="Rollouts and scores",
        tables=[
            Table(
                title="Counts",
                header=("output", "command", "what", "count"),
                rows=rows + unfinished,
                text_columns=3,
            )
        ],
    )


def _count(value: object) -> str:
    known = number(value)
    if known is None:
        return str(value)
    return f"{known:,.0f}" if known.is_integer() else f"{known:,.3f}"
