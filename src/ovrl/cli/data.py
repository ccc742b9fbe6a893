"""`ovrl data`: convert, check, count, show and make data sets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ovrl.cli import check, convert, options, render, stats, view
from ovrl.cli.session import INVOCATION, Session, command, epilog

app = typer.Typer(help="Convert, check, count, show and make data sets.", no_args_is_help=True)

EXAMPLES = (
    "ovrl data synth --split pool -n 64 -o pool.parquet",
    "ovrl data synth --split heldout -n 8 -o - | head -1",
)


@command
def synth(
    session: Session,
    *,
    split: Annotated[
        Literal["warmup", "doubt", "pool", "heldout"],
        typer.Option(help="Splits never share a picture with its problem."),
    ] = "pool",
    n: Annotated[int, typer.Option("-n", help="Samples.")] = 256,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="PATH|-", help=".parquet or .jsonl; - is stdout.")
    ] = "-",
    overwrite: options.Overwrite = False,
) -> None:
    """Make samples with pictures from a seed: counting, boxes, spatial relations, STEM, diagrams, OCR, code."""
    import sys

    from ovrl import codec, parquet, store
    from ovrl.curate.synthetic import generate
    from ovrl.errors import UsageError
    from ovrl.manifest import Identity

    samples = generate(split, n, session.seed)
    if output == "-":
        for sample in samples:
            sys.stdout.write(store.dumps(codec.encode_sample(sample)) + "\n")
        sys.stdout.flush()
        return
    path = Path(output)
    if path.suffix not in (".parquet", ".jsonl"):
        raise UsageError(f"{output}: write .parquet or .jsonl")
    identity = Identity(
        command="data synth", settings={"split": split, "n": n}, seed=session.seed, argv=("ovrl", *INVOCATION.get())
    )
    file = store.OutputFile(path, identity, overwrite=overwrite)
    if file.finished:
        render.summary(session, "data synth", {"output": output, "note": "already complete"})
        return
    if path.suffix == ".parquet":
        parquet.write_samples(file.partial, samples)
    else:
        with file.partial.open("w", encoding="utf-8") as stream:
            stream.writelines(store.dumps(codec.encode_sample(sample)) + "\n" for sample in samples)
    file.finish({"samples": n})
    render.summary(session, "data synth", {"samples": n, "split": split, "output": output})


for _name, _function, _examples in (
    ("check", check.check, check.EXAMPLES),
    ("convert", convert.convert, convert.EXAMPLES),
    ("stats", stats.stats, stats.EXAMPLES),
    ("view", view.view, view.EXAMPLES),
    ("synth", synth, EXAMPLES),
):
    app.command(_name, epilog=epilog(_examples))(_function)
