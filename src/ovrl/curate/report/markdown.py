"""The report as Markdown, which is also what the command prints."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ovrl.curate.rules import EXPLANATIONS
from ovrl.curate.summary import SUSPICIOUS, CurationSummary, Tally


def to_markdown(summary: CurationSummary) -> str:
    """Return the report for people, with the thresholds that were in force."""
    lines = [
        "# Curation",
        "",
        headline(summary),
        "",
        "## In force",
        "",
        *(f"- {name}: {value}" for name, value in in_force(summary.settings)),
        "",
        "## Reasons",
        "",
        *table(
            ("reason", "samples", "meaning"),
            [(name, f"{count}", meaning) for name, count, meaning in reasons(summary)],
        ),
        "",
        "## Before and after",
        "",
        "Mean over samples with evidence; not corrected for guessing.",
        "",
        *_tallies("stage", {"all": summary.overall, **summary.stages}),
        "",
        *_tallies("source", summary.sources),
        "",
        *_tallies("problem type", summary.problem_types),
        "",
        *_targets(summary),
        "## Guessing",
        "",
        guessing(summary),
        *_remarks(summary),
    ]
    return "\n".join(lines) + "\n"


def headline(summary: CurationSummary) -> str:
    """Return what was kept, in three sentences."""
    return (
        f"{summary.overall.kept} of {summary.overall.samples} samples kept. "
        f"Stage 1: {summary.stages['1'].kept} rows. Stage 2: {summary.stage2_rows} rows, "
        f"{summary.replayed} of them repeated from stage 1."
    )


def reasons(summary: CurationSummary) -> list[tuple[str, int, str]]:
    """Return (reason, samples, what it means), the most frequent first."""
    meanings = {str(name): text for name, text in EXPLANATIONS.items()}
    return [(name, count, meanings.get(name, "")) for name, count in summary.reasons.items()]


def in_force(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings that decided, in words."""
    thresholds = ", ".join(f"{name} {value:g}" for name, value in settings["pass_threshold"].items())
    low, high = settings["band"]
    fewest, most = settings["pass_count"]
    names = settings["rule"].split("+")
    corrected = "default" in names and settings["chance"] != "off"
    given = [("rule", settings["rule"])]
    if corrected:
        how = {"both": "lower bound above chance, then chance subtracted", "bound": "lower bound above chance"}
        given.append(("correction for guessing", how.get(settings["chance"], "chance subtracted")))
        if settings["chance"] != "subtract":
            given.append(("confidence of the lower bound", f"{settings['confidence']:g}, one-sided"))
    else:
        given.append(("correction for guessing", "off"))
    given.append(("k of pass@k", str(settings["k"] or "half of the completions of a sample, at least 2")))
    if set(names) & {"default", "paper", "gap"}:
        given.append(("gap", f"pass@k - pass@1 >= {settings['min_gap']:g}"))
    if set(names) & {"default", "paper", "band"}:
        given.append(("band", f"{low:g} < mean accuracy < {high:g}"))
    if "pass-count" in names:
        given.append(("pass count", f"{fewest} to {most} right completions"))
    given += [
        ("a completion is correct from this accuracy on", thresholds),
        ("dropped above this share of completions without a score", f"{settings['max_error_rate']:g}"),
        ("dropped above this share of completions cut off before an answer", f"{settings['max_truncated_rate']:g}"),
    ]
    given += [(f"selection {name}", str(value)) for name, value in settings["selection"].items() if value is not None]
    return given


def guessing(summary: CurationSummary) -> str:
    """Return what the correction for guessing changes, and what shuffled options show."""
    chance = summary.chance
    text = (
        f"{chance.guessable} samples can be guessed. Gap and band keep {chance.kept_without} samples without "
        f"the correction and {chance.kept_with} with it: {chance.dropped} fall out because the model does "
        f"hardly better than a guess, {chance.admitted} come in because part of their accuracy is luck."
    )
    if chance.undecidable:
        text += (
            f" {chance.undecidable} of them have so few completions that no number of right ones would tell "
            "knowledge from luck and leave something to learn; `ovrl rollout -n 32` would."
        )
    if chance.letter_dependent:
        text += (
            f" Of {chance.letter_tested} samples that were asked with shuffled options and are right at times, "
            f"{chance.letter_dependent} seem to depend on the letter of the right option (p < {SUSPICIOUS:g}), where "
            f"chance alone gives about {SUSPICIOUS * chance.letter_tested:.1f}; if there are many more, the model "
            "prefers a letter."
        )
    if chance.fixed_order:
        text += (
            f" {chance.fixed_order} multiple-choice samples were asked with their options in one order, where a "
            "model that prefers a letter may look as if it knew; `ovrl rollout --shuffle-options` shows the difference."
        )
    return text


def remarks(summary: CurationSummary) -> list[str]:
    """Return what is odd about the scores."""
    found = summary.scores
    counted = {
        "scored lines belong to no input sample": found.unknown,
        "scored lines repeat another one and were not counted": found.duplicate,
        "samples have fewer judged completions than k; their own n was taken": found.reduced_k,
        "samples have fewer than 2k completions, so their pass@k is noisy": found.few_completions,
    }
    said = [f"{count} {text}" for text, count in counted.items() if count]
    if len(found.sizes) > 1:
        listed = ", ".join(f"{count} with {size}" for size, count in list(found.sizes.items())[:8])
        said.append(f"samples differ in their number of completions: {listed}")
    return said


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows),
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _remarks(summary: CurationSummary) -> list[str]:
    said = remarks(summary)
    return ["", "## Remarks", "", *(f"- {text}" for text in said)] if said else []


def _targets(summary: CurationSummary) -> list[str]:
    if not summary.targets:
        return []
    rows = [
        (str(t.stage), t.group + (" (repeated)" if t.replay else ""), str(t.wanted), str(t.taken), str(t.available))
        for t in summary.targets
    ]
    return ["## Mixture", "", *table(("stage", "group", "wanted", "taken", "available"), rows), ""]


def _tallies(name: str, tallies: Mapping[str, Tally]) -> list[str]:
    header = (name, "samples", "kept", "pass@1", "pass@k", "pass@1 kept", "pass@k kept")
    return table(header, [tally_cells(key, tally) for key, tally in tallies.items()])


def tally_cells(name: str, tally: Tally) -> tuple[str, ...]:
    """Return the cells of a row: name, samples, kept, and four means."""
    means = (tally.pass_at_1, tally.pass_at_k, tally.kept_pass_at_1, tally.kept_pass_at_k)
    return (name, str(tally.samples), str(tally.kept), *("" if mean is None else f"{mean:.3f}" for mean in means))
