"""What ovrl starts in a server's environment: SGLang's own server, which ends with the process that asked for it.

    python serve.py PARENT [flags of sglang.launch_server]

It is run by its path, since ovrl is not installed there, and imports nothing of ovrl.
"""

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""include/uapi/linux/prctl.h"""


def serve() -> None:
    """Serve until the end of the process or of its parent."""
    _end_with(int(sys.argv.pop(1)))
    # The names of the modules here are too plain for a stranger's search path.
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
    runpy.run_module("sglang.launch_server", run_name="__main__")


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends; SGLang's others follow by themselves."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(f"process {parent}, which this server was for, has ended")


if __name__ == "__main__":
    serve()
