"""What ovrl starts in a server's environment: SGLang's own server, which ends with the process that asked for it.

    python serve.py PARENT [flags of sglang.launch_server]

It is run by its path, since ovrl is not installed there, and imports nothing of ovrl. The server's other processes
import this file again, under another name.
"""

import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""include/uapi/linux/prctl.h"""

_LOOK_S = 1.0


def serve() -> None:
    """Serve until the end of the process or of its parent."""
    _end_with(int(sys.argv.pop(1)))
    # The names of the modules here are too plain for a stranger's search path.
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
    runpy.run_module("sglang.launch_server", run_name="__main__")


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(f"process {parent}, which this server was for, has ended")


def follow() -> None:
    """Let this process of the server end when the first one has; SGLang's own way misses one that only begins."""
    leader = os.getsid(0)  # the first has a session of its own

    def watch() -> None:
        while True:
            time.sleep(_LOOK_S)
            try:
                os.kill(leader, 0)
            except ProcessLookupError:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="ovrl", daemon=True).start()


if __name__ == "__main__":
    serve()
elif __name__ == "__mp_main__":
    follow()
