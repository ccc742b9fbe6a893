"""Start worker processes, perhaps before it is known what they are to do: Python and its libraries take their time."""

import mmap
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from ovrl.reward.channel import Channel
from ovrl.reward.clock import PROGRESS

_AHEAD: list["Process"] = []


@dataclass(frozen=True, slots=True)
class Process:
    """A worker that waits for its duty, the first message."""

    process: subprocess.Popen[bytes]
    channel: Channel
    progress: mmap.mmap

    def end(self) -> None:
        """Kill it."""
        self.channel.close()
        self.process.kill()
        self.process.wait()


def start_ahead() -> None:
    """Start a worker for the fleet that comes; when none does, it ends with this process."""
    _AHEAD.append(_launch())


def start() -> Process:
    """Return a worker."""
    return _AHEAD.pop() if _AHEAD else _launch()


def _launch() -> Process:
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as shared:
        shared.write(PROGRESS.pack(-1, -1, 0.0))
        shared.flush()
        progress = mmap.mmap(shared.fileno(), PROGRESS.size)
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "ovrl.reward.worker",
                str(os.getpid()),
                str(theirs.fileno()),
                str(shared.fileno()),
            ],
            pass_fds=[theirs.fileno(), shared.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for us: a worker that still imports would answer with a traceback
        )
    theirs.close()
    return Process(process, Channel(ours), progress)
