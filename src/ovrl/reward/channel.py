"""Objects through a socket. `multiprocessing.connection` does the same, and takes as long to import as all the rest."""

import pickle
import socket
from typing import Any

_SIZE = 8  # bytes of the length in front of each object


class Channel:
    """One end of a pair; both must trust each other, as with all pickles."""

    def __init__(self, end: socket.socket) -> None:
        """Take the end over."""
        self._socket = end

    def send(self, value: Any) -> None:
        """Send an object.

        Raises:
            OSError: the other end is closed.
        """
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._socket.sendall(len(data).to_bytes(_SIZE, "big"))
        self._socket.sendall(data)

    def recv(self) -> Any:
        """Wait for the next object.

        Raises:
            EOFError: the other end is closed, perhaps in the middle of an object.
            OSError: it was closed before it had read all.
        """
        size = int.from_bytes(self._exactly(_SIZE), "big")
        return pickle.loads(self._exactly(size))

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        view, done = memoryview(data), 0
        while done < size:
            count = self._socket.recv_into(view[done:])
            if not count:
                raise EOFError("the other end is closed")
            done += count
        return data
