"""Settings of scoring, as `ovrl score`, `ovrl train` and `ovrl eval` share them."""

from typing import Any, ClassVar, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from ovrl.errors import UsageError
from ovrl.plugins import did_you_mean, resolve
from ovrl.reward.batch import Duty
from ovrl.reward.judge import FORMAT
from ovrl.reward.table import REWARDS
from ovrl.settings import Settings


class ScoreSettings(Settings):
    """`ovrl score`."""

    mode: Literal["strict", "ov15"] = "strict"
    """strict: the rules as stated. ov15: the original's figures, bugs included."""
    reward: str | None = None
    """Replaces the rule of the answer type: another type, an entry point, `module:function`, `file.py:function`."""
    components: dict[str, str] = Field(default_factory=dict)
    """Further parts of the score, by name, each a plug-in as for `reward`."""
    weights: dict[str, FiniteFloat] = Field(default_factory=dict)
    """reward = sum of weight * component (accuracy, box, format, `components`). Empty: the rule's own reward."""
    gate: str | None = None
    """The component that must be above 0; without it the reward is 0."""
    timeout: FiniteFloat = Field(default=10.0, gt=0)
    """Seconds for one completion; then its worker is killed and the status is `timeout`."""
    memory_mb: PositiveInt = 512
    """MiB that a worker of the built-in rules may hold."""
    workers: PositiveInt = 2

    machine_fields: ClassVar[frozenset[str]] = frozenset({"workers"})

    def check(self) -> None:
        """Find the plug-ins and the names now, and not in each worker.

        Raises:
            UsageError: a plug-in cannot be loaded, or a weight or the gate names no component.
        """
        if self.reward is not None:
            resolve(self.reward, REWARDS, "reward")
        for target in self.components.values():
            resolve(target, {}, "reward")
        known = ["accuracy", "box", FORMAT, *self.components]
        for name in (*self.weights, *([self.gate] if self.gate else ())):
            if name not in known and self.reward in (None, *REWARDS):  # a plug-in's score may have any components
                hint = did_you_mean(name, known)
                raise UsageError(f"the reward has no component {name!r}.{hint} Known: {', '.join(known)}")

    def duty(self, **more: Any) -> Duty:
        """Return what workers are to do; `more` are the fields of `Duty` that are no settings."""
        return Duty(
            mode=self.mode,
            reward=self.reward,
            components=self.components,
            weights=self.weights,
            gate=self.gate,
            timeout=self.timeout,
            memory_mb=self.memory_mb,
            workers=self.workers,
            **more,
        )
