"""Put everything into one HTML page that loads nothing from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from ovrl import __version__, store
from ovrl.errors import UsageError
from ovrl.eval.report import benchmarks, comparison, sections, viewer
from ovrl.eval.report.gather import Findings, Step, gather
from ovrl.eval.report.rollouts import rollout_cards, view_cards
from ovrl.eval.report.sections import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where one output came from, for the foot of the page."""

    name: str
    kind: str
    state: str
    started: str
    seed: str
    version: str
    command: str


def build_report(source: Path, out: Path) -> None:
    """Write the page about every output of ovrl in `source` or below it.

    Args:
        source: a run directory, the output of a command, or a directory with several of them.
        out: the HTML file; in a directory, `report.html`.

    Raises:
        UsageError: there is nothing to show, or the page cannot be written.
    """
    _write(render(gather(source), source), out)


def build_view(source: Path, samples: Path | None, out: Path) -> None:
    """Write a page with samples of one file, and what a model said to them.

    Args:
        source: samples, completions or scores; JSON lines or parquet.
        samples: where the images are, when the file does not tell.
        out: the HTML file; in a directory, `report.html`.

    Raises:
        UsageError: there is nothing to show, or the page cannot be written.
    """
    if not source.is_file():
        raise UsageError(f"{source} is no file; give samples, completions or scores as .jsonl or .parquet")
    cards = view_cards(source, samples)
    if not cards:
        raise UsageError(f"{source} holds no samples, completions or scores")
    what = "completions" if any(card.replies for card in cards) else "samples"
    lead = f"{len(cards)} samples of {source.name}, with their {what}." if what != "samples" else f"Of {source.name}."
    _write(_filled({"title": source.name, "lead": lead, "rollouts": cards}), out)


def _write(page: str, out: Path) -> None:
    target = out / "report.html" if out.is_dir() else out
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        store.write_atomic(target, page)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}") from error


def render(findings: Findings, source: Path) -> str:
    """Return the page as text."""
    content: dict[str, Any] = {
        "title": source.resolve().name or "report",
        "lead": _lead(findings),
        "headlines": comparison.headlines(findings.evals),
        "evaluation": [
            *(comparison.evaluation(findings.evals) if findings.evals else []),
            *([benchmarks.section(findings.benchmarks)] if findings.benchmarks else []),
        ],
        "cards": viewer.cards(findings.evals, source),
        "rollouts": rollout_cards(findings.steps, source),
        "sections": _sections(findings),
        "origins": [_origin(step) for step in findings.steps],
    }
    return _filled(content)


def _filled(content: Mapping[str, Any]) -> str:
    """Return the page with this content; parts without any are left out."""
    content = {**content, "version": __version__, "style": Markup(_asset("style.css"))}
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(_asset("page.html")).render(content)
    return text.encode("utf-8", errors="replace").decode()  # lone surrogates of model output


def _asset(name: str) -> str:
    return resources.files("ovrl.eval.report").joinpath(name).read_text(encoding="utf-8")


def _sections(findings: Findings) -> list[Section]:
    parts = [sections.training(run) for run in findings.train]
    parts += [sections.warmup(run) for run in findings.warmup]
    parts += [sections.curation(output) for output in findings.curate]
    rest = [step for step in findings.steps if step.kind in ("rollout", "score")]
    return [*parts, sections.counts(rest)] if rest else parts


def _lead(findings: Findings) -> str:
    """Return what the page shows, in two sentences."""
    names = {
        "training run": len(findings.train),
        "warm-up": len(findings.warmup),
        "curation": len(findings.curate),
        "evaluation": len(findings.evals),
        "run of benchmarks": len(findings.benchmarks),
        "file of rollouts": sum(step.kind == "rollout" for step in findings.steps),
        "file of scores": sum(step.kind == "score" for step in findings.steps),
    }
    parts = [_plural(count, name) for name, count in names.items() if count]
    listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    waiting = sum(not step.complete for step in findings.steps)
    state = f"{waiting} of these {len(findings.steps)} in progress or interrupted" if waiting else "all complete"
    intervals = "; intervals are 95%, over samples" if findings.evals else ""
    return f"This page shows {listed}, as ovrl wrote them. State: {state}{intervals}."


def _plural(count: int, name: str) -> str:
    if count == 1:
        return f"1 {name}"
    head, of, tail = name.partition(" of ")
    return f"{count} {head}s{of}{tail}"


def _origin(step: Step) -> Origin:
    manifest = step.manifest
    return Origin(
        name=step.name,
        kind=step.kind,
        state="complete" if step.complete else "in progress",
        started=step.started.replace("T", " ").removesuffix("+00:00"),
        seed=_text(manifest, "seed"),
        version=_text(manifest, "ovrl_version"),
        command=_command(manifest.get("argv")),
    )


def _text(manifest: Mapping[str, Any], name: str) -> str:
    value = manifest.get(name)
    return "" if value is None else str(value)


def _command(argv: object) -> str:
    """Return the command line; it is shown and not run, so plain spaces will do."""
    words: Sequence[object] = argv if isinstance(argv, list) else []
    return " ".join(str(word) for word in words)
