"""`ovrl config show`: every setting, its value and where it came from."""

import json
import sys
from typing import Annotated

import typer

from ovrl.cli.session import Session, command, epilog

app = typer.Typer(help="Look at settings.", no_args_is_help=True)

EXAMPLES = ("ovrl config show", "ovrl config show --section train --preset tiny -s train.steps=5")


@command
def show(
    session: Session,
    *,
    section: Annotated[str | None, typer.Option(help="Only this section.")] = None,
    preset: Annotated[str, typer.Option(help="Training preset to start from.")] = "default",
) -> None:
    """Print each setting with its value and its origin: default, preset, file and line, variable or flag."""
    from ovrl.cli.sections import load_sections
    from ovrl.errors import UsageError
    from ovrl.plugins import did_you_mean
    from ovrl.settings import leaf
    from ovrl.train.settings import load_preset

    sections = load_sections()
    if section is not None and section not in sections:
        known = list(sections)
        raise UsageError(f"no such section {section!r}.{did_you_mean(section, known)} Known: {', '.join(known)}")
    rows: list[tuple[str, str, str]] = [("seed", str(session.seed), "--seed or default")]
    for name, model in sections.items():
        if section in (None, name):
            resolved = session.resolve(name, model, preset=load_preset(preset) if name == "train" else None)
            rows += [
                (f"{name}.{key}", json.dumps(leaf(resolved.value, key), default=str), origin)
                for key, origin in resolved.origins.items()
            ]
    if session.as_json:
        shown = {key: {"value": json.loads(value), "origin": origin} for key, value, origin in rows}
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    else:
        width = max(len(key) for key, _, _ in rows)
        sys.stdout.writelines(f"{key:<{width}}  {value:<12}  {origin}\n" for key, value, origin in rows)


app.command("show", epilog=epilog(EXAMPLES))(show)
