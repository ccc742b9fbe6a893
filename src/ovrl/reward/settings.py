"""Settings of scoring, as `ovrl score`, `ovrl train` and `ovrl eval` share them."""

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from ovrl.settings import Settings


class ScoreSettings(Settings):
    """`ovrl score`."""

    mode: Literal["strict", "ov15"] = "strict"
    """strict: the rules as stated. ov15: the original's figures, bugs included."""
    reward: str | None = None
    """A rule that replaces that of the answer type: entry point, `module:function` or `file.py:function`."""
    timeout: PositiveFloat = 10.0
    """Seconds for one completion; then its worker is killed and the status is `timeout`."""
    workers: PositiveInt = 2

    machine_fields: ClassVar[frozenset[str]] = frozenset({"workers"})
