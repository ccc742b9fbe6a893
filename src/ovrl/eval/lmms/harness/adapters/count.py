"""Counting: the scorer gets the number in digits."""

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.adapter import Adapter, Doc


class Count(Adapter):
    """A task whose scorer reads digits; "seven" and "7 chairs" are 7, "3 or 4" is no count."""

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the number; the text without digits where it states none or several."""
        found = reading.number(answer)
        if found is not None:
            return found
        return "".join(one for one in reading.stated(answer) if not one.isdigit())
