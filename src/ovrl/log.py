"""Set up logging once, for the command line: plain lines on stderr, with the rank where there are several."""

import logging
import os
import sys
from typing import Literal

Verbosity = Literal["quiet", "normal", "verbose"]
_LEVELS = {"quiet": logging.ERROR, "normal": logging.INFO, "verbose": logging.DEBUG}

_NOISY = (
    "httpx",
    "httpcore",
    "urllib3",
    "filelock",
    "fsspec",
    "PIL",
    "matplotlib",
    "transformers",
    "datasets",
)


def set_up(verbosity: Verbosity) -> None:
    """Send the records of `ovrl` to stderr; other libraries speak from warnings on."""
    rank = os.environ.get("RANK")
    prefix = f"[{rank}] " if rank not in (None, "0") else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {prefix}%(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("ovrl").setLevel(_LEVELS[verbosity])
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
