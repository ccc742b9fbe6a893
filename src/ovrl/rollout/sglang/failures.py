"""What goes wrong with a server, told apart by what follows from it.

ServerError             the exchange failed; the completion goes on, here or elsewhere
 +-- LostError          nobody answers, or the connection broke
 +-- DistrustedError    an answer that cannot be true: old weights, another prompt length, no sense
 +-- BrokenOffError     we broke it off ourselves, before new weights: nobody's fault
RejectedError           the server will not answer this request, whoever asks again
"""

from ovrl.errors import OvrlError


class ServerError(OvrlError):
    """An exchange with a server that failed.

    Attributes:
        kind: one word that the summary counts.
    """

    kind = "failed"

    def __init__(self, reason: str, kind: str | None = None) -> None:
        super().__init__(reason)
        self.kind = kind or type(self).kind


class LostError(ServerError):
    """Nobody answers there."""

    kind = "lost"


class DistrustedError(ServerError):
    """The answer cannot be true."""

    kind = "garbage"


class BrokenOffError(ServerError):
    """Broken off by ourselves."""

    kind = "interrupted"


class RejectedError(OvrlError):
    """The request itself is at fault (HTTP 4xx).

    Attributes:
        status: as HTTP gave it.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status
