"""What each rule keeps of prompts with a known success rate, over the number of completions n.

    python benchmarks/curation_rules.py [--svg FILE]

Exact, by summing over the binomial count: nothing is drawn. The table in `docs/curation.md` is its output.
"""

import argparse
import math
from pathlib import Path

from ovrl.curate.report import svg
from ovrl.curate.row import Judge
from ovrl.curate.rules import Counts
from ovrl.curate.settings import CurateSettings

SIZES = (4, 8, 12, 16, 24, 32, 48, 64)
KINDS = {
    "guessed, 4 options": (0.25, 0.25),
    "latent, 4 options": (0.50, 0.25),
    "guessed, yes/no": (0.50, 0.50),
    "latent, yes/no": (0.75, 0.50),
    "latent, open": (0.20, 0.0),
    "trivial, open": (0.98, 0.0),
    "hopeless, open": (0.0, 0.0),
}
"""Kind -> (success rate, how often a guess is right)."""

RULES = {"paper": CurateSettings(rule="paper"), "default": CurateSettings()}


def kept(judge: Judge, n: int, p: float, chance: float) -> float:
    """Return how likely a prompt is kept whose completions are right with probability p."""
    return math.fsum(
        math.comb(n, c) * p**c * (1.0 - p) ** (n - c)
        for c in range(n + 1)
        if judge(Counts(n, n, c, c / n, None, 0, 0, 0), chance).verdict.keep
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--svg", type=Path, help="draw the curves of the four-option prompts")
    given = parser.parse_args()
    print("| prompt | p | rule | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
    print("|---|---|---|" + "---|" * len(SIZES))
    for kind, (p, chance) in KINDS.items():
        for rule, settings in RULES.items():
            shares = [kept(Judge(settings), n, p, chance) for n in SIZES]
            cells = " | ".join(f"{share:.0%}" for share in shares)
            print(f"| {kind} | {p:g} | `{rule}` | {cells} |")
    if given.svg:
        given.svg.write_text(drawing())


def drawing() -> str:
    """Return a plot of the default rule over every n up to 64, with colors of its own."""
    judge = Judge(RULES["default"])
    series = {
        "latent": [kept(judge, n, 0.5, 0.25) for n in range(1, 65)],
        "guessed": [kept(judge, n, 0.25, 0.25) for n in range(1, 65)],
    }
    plot = svg.curves("Kept by the default rule", series, x_label="completions n", y_label="kept (blue: p = 0.5)")
    style = (
        "<style>text{fill:#666;font:11px sans-serif}.rule{stroke:#ccc}.curve{fill:none;stroke-width:2}"
        ".latent{stroke:#3d85d9;fill:#3d85d9}.guessed{stroke:#d97b21;fill:#d97b21}.curve{fill:none!important}</style>"
    )
    return str(plot).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", f">{style}", 1) + "\n"


if __name__ == "__main__":
    main()
