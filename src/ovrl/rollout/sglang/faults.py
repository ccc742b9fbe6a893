"""What goes wrong with a server, told apart by what follows from it.

    Fault                the exchange failed; the completion goes on, here or elsewhere
     +-- Lost            nobody answers, or the connection broke: the server is probed before it is used again
     +-- Distrusted      an answer that cannot be true: old weights, another prompt length, no sense
     +-- Interrupted     we broke it off ourselves, before new weights: nobody's fault
    Rejected             the server will not answer this request, whoever asks again
"""

from ovrl.errors import OvrlError


class Fault(OvrlError):
    """An exchange with a server that failed.

    Attributes:
        kind: one word that the summary counts.
    """

    kind = "failed"

    def __init__(self, reason: str, kind: str | None = None) -> None:
        super().__init__(reason)
        self.kind = kind or type(self).kind


class Lost(Fault):
    """Nobody answers there."""

    kind = "lost"


class Distrusted(Fault):
    """The answer cannot be true."""

    kind = "garbage"


class Interrupted(Fault):
    """Broken off by ourselves."""

    kind = "interrupted"


class Rejected(OvrlError):
    """The request itself is at fault (HTTP 4xx).

    Attributes:
        status: as HTTP gave it.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status
