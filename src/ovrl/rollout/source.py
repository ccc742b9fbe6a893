"""Requests as an engine pulls them."""

from collections.abc import Iterable

from ovrl.rollout.engine import Request


class Source:
    """A source of requests that may have nothing to start at the moment; see `Engine.generate`."""

    def __init__(self, requests: Iterable[Request | None]) -> None:
        """Take requests from there, one at a time."""
        self._requests = iter(requests)
        self.ended = False
        """Whether the source has no more; it is then not asked again."""

    def pull(self) -> Request | None:
        """Return the next request; None when there is none at the moment, or when the source has ended."""
        if self.ended:
            return None
        try:
            return next(self._requests)
        except StopIteration:
            self.ended = True
            return None
