"""The one way to say that a comparison has no bound, known without loading any algebra."""


class RefusedError(Exception):
    """Comparing two texts could take without end; nothing has been computed."""

    def __init__(self, *, gold: bool = False, answer: bool = False) -> None:
        """Take which texts are to blame.

        Args:
            gold: the one in the library's gold position.
            answer: the one in its target position.
        """
        super().__init__("too large to be compared")
        self.gold = gold
        self.answer = answer
