"""What every command shares: settings in layers, the seed, how much is said. Declared once, for all.

    @command
    def score(session: Session, ...): ...

gives `score` the options of `_shared` behind its own, and hands them over as one `session`.
"""

import inspect
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from ovrl import log
from ovrl.errors import UsageError

if TYPE_CHECKING:
    from ovrl.manifest import Identity
    from ovrl.selection import Selection
    from ovrl.settings import Layers, Resolved, Settings

DEFAULT_SEED = 42

INVOCATION: ContextVar[tuple[str, ...]] = ContextVar("INVOCATION", default=())
"""The arguments of the command that runs; `ovrl demo` runs several in one process."""

KEEPS_STATE: ContextVar[bool] = ContextVar("KEEPS_STATE", default=True)
"""Whether the command can go on where it was stopped; what goes to stdout cannot."""

S = TypeVar("S", bound="Settings")


class Interrupted(BaseException):
    """Ctrl-C. Under its own name, typer would end the process without a word."""


class ReaderGoneError(Exception):
    """The reader of stdout has what it wanted. Typer would make an exit code of 1 of it."""


@dataclass(frozen=True, slots=True)
class Session:
    """One invocation of the command line."""

    layers: "Layers"
    seed: int
    verbosity: log.Verbosity
    as_json: bool

    def resolve(
        self, section: str, model: type[S], *, preset: dict[str, Any] | None = None, **flags: Any
    ) -> "Resolved[S]":
        """Return the settings of a section; see `Layers.resolve`."""
        return self.layers.resolve(section, model, preset=preset, **flags)

    def identity(
        self,
        command: str,
        settings: "Settings",
        inputs: dict[str, Any],
        selection: "Selection | None" = None,
        **more: Any,
    ) -> "Identity":
        """Return what an output of this invocation is made from.

        Args:
            command: the command's name.
            settings: its resolved section.
            inputs: path -> digest and rows.
            selection: the part of the input that is read.
            more: further values that decide the result.
        """
        from ovrl.manifest import Identity
        from ovrl.plugins import file_digests

        shown = {"limit": selection.limit, "shard": list(selection.shard)} if selection else {}
        values = settings.result_fields()
        return Identity(
            command=command,
            settings=values | shown | more | file_digests(values),
            machine=settings.speed_fields(),
            inputs=inputs,
            seed=self.seed,
            argv=("ovrl", *INVOCATION.get()),
            limited=selection is not None and selection.partial,
        )


def _shared(
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "-c",
            "--config",
            help="YAML file of settings; may be repeated, later ones win.",
        ),
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "-s",
            "--set",
            metavar="KEY=VALUE",
            help="One setting, such as train.lr=1e-6.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(envvar="OVRL_SEED", help="Seed of everything random.")] = DEFAULT_SEED,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say errors only.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the summary as one JSON object instead of a table."),
    ] = False,
) -> None:
    """Declare the options; `command` reads this signature."""


def _open(
    config: list[Path] | None, assign: list[str] | None, seed: int, quiet: bool, verbose: bool, as_json: bool
) -> Session:
    from ovrl.cli.sections import load_sections
    from ovrl.settings import Layers

    if quiet and verbose:
        raise UsageError("-q and -v cannot both be given")
    verbosity: log.Verbosity = "quiet" if quiet else "verbose" if verbose else "normal"
    log.set_up(verbosity)
    layers = Layers.gather(config or (), assign or ())
    if layers.values:
        layers.check_sections(load_sections())
    logging.getLogger(__name__).debug("settings given: %s", dict(layers.values))
    return Session(layers, seed, verbosity, as_json)


def command(function: Callable[..., None], ahead: Callable[[], None] = lambda: None) -> Callable[..., None]:
    """Return the command that typer registers: the function's options, then the shared ones.

    Args:
        function: the command; its first parameter is the session.
        ahead: called first of all, to start what takes its time while the settings are read.
    """
    shared = inspect.signature(_shared).parameters
    own = {name: p for name, p in inspect.signature(function).parameters.items() if name != "session"}

    def run(**values: Any) -> None:
        KEEPS_STATE.set(values.get("output") != "-")
        try:
            ahead()
            session = _open(**{name: values.pop(name) for name in shared})
            function(session, **values)
        except KeyboardInterrupt as error:
            raise Interrupted from error
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own.values(), *shared.values())
    ]
    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    vars(run)["__signature__"] = inspect.Signature(parameters)
    hints = get_type_hints(_shared, include_extras=True) | {
        name: parameter.annotation for name, parameter in own.items()
    }
    run.__annotations__ = hints
    return run


def epilog(examples: tuple[str, ...]) -> str:
    """Return the examples as the end of a help text."""
    return "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)  # \b: as it is, unfolded
