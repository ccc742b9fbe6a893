"""The command line: one application, one place where errors become exit codes."""

import errno
import io
import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, cast

import typer

from ovrl import __version__
from ovrl.cli.session import INVOCATION, KEEPS_STATE, Interrupted, ReaderGoneError, epilog
from ovrl.errors import OvrlError

_COMMANDS = {
    "rollout": "rollout:rollout",
    "score": "score:score",
    "curate": "curate:curate",
    "train": "train:train",
    "eval": "evaluate:evaluate",
    "report": "report:report",
    "demo": "demo:demo",
    "warmup": "warmup:warmup",
    "doctor": "doctor:doctor",
}
_GROUPS = {"data": "data:app", "config": "config:app"}


def _application(asked: str | None) -> typer.Typer:
    """Return the application; with one command alone, if that is what was asked for: the others take their time."""
    app = typer.Typer(
        name="ovrl",
        help="Post-train vision-language models by reinforcement learning with verifiable rewards.",
        epilog="The whole chain on this machine, in minutes: ovrl demo DIR",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # drawing help with rich would take longer than everything else together
    )
    app.callback()(_root)
    known = _COMMANDS | _GROUPS
    for name, target in known.items() if asked not in known else [(asked, known[asked])]:
        place, _, attribute = target.partition(":")
        module = import_module(f"ovrl.cli.{place}")
        if name in _GROUPS:
            app.add_typer(getattr(module, attribute), name=name)
        else:
            app.command(name, epilog=epilog(module.EXAMPLES))(getattr(module, attribute))
    return app


class _Terminated(BaseException):
    """SIGTERM: Slurm and others ask to stop; everything is closed on the way out."""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ovrl {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Post-train vision-language models by reinforcement learning with verifiable rewards."""


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors for the user are one line on stderr."""
    token = INVOCATION.set(tuple(arguments))
    try:
        code = _application(next(iter(arguments), None))(arguments, prog_name="ovrl", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except OvrlError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command: its help is the answer
            sys.stderr.write(f"{message}\n")
            return error.exit_code
        return _fail(message, error.exit_code)
    except (Interrupted, KeyboardInterrupt, typer.Abort):
        return _fail(f"stopped; {_state()}", 130)
    except _Terminated:
        return _fail(f"terminated; {_state()}", 143)
    except (ReaderGoneError, BrokenPipeError):
        _forget_stdout()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise
        place = f" ({error.filename})" if error.filename else ""
        _forget_stdout()
        return _fail(f"{error.strerror}{place}; mend that, and the same command goes on from here", 1)
    finally:
        INVOCATION.reset(token)


def _state() -> str:
    """Return what a stopped command leaves behind."""
    if KEEPS_STATE.get():
        return "the state is saved, and the same command goes on from here"
    return "what went to stdout is not resumed; give -o FILE for that"


def _forget_stdout() -> None:
    """Send what is still in the buffer nowhere: Python would flush it at exit, and complain again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    message = " ".join(message.splitlines())
    sys.stderr.write(f"ovrl: error: {message}\n" if code < 128 else f"ovrl: {message}\n")
    return code


def main() -> None:
    """Run the command line of this process."""
    # Torch's threads wait for each other by spinning. On a machine that others use too, that made training
    # eight times slower; sleeping costs microseconds. It has to be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice is for us, not for the user
    if "ACCELERATE_USE_DEEPSPEED" not in os.environ:  # `accelerate launch` sets it
        # Accelerate loads DeepSpeed, where there is one, to save a model; that takes seconds and warns on stderr.
        sys.modules.setdefault("deepspeed", cast(Any, None))

    def terminate(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Terminated

    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):  # records are UTF-8, whatever the locale says
            incoming = stream is sys.stdin  # read as `store.open_text` reads a file
            stream.reconfigure(
                encoding="utf-8-sig" if incoming else "utf-8", errors="surrogateescape" if incoming else "strict"
            )
    signal.signal(signal.SIGTERM, terminate)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
