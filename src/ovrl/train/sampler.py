"""What the loop asks of a sampler: which prompt next, given what the earlier ones brought."""

from collections.abc import Sequence
from typing import Any, Protocol


class Sampler(Protocol):
    """Chooses the prompts. `order.PromptOrder` is the plain one."""

    def row(self, gid: int) -> int:
        """Return the row of group `gid`. Asked once for each group, in order; the answer is kept in the journal."""
        ...

    def observe(self, row: int, rewards: Sequence[float | None], version: int) -> None:
        """Learn what a group brought, whether it is trained or not.

        Told at each step, in the order of the groups, for those that were scored since the last step.

        Args:
            row: its prompt.
            rewards: of each completion; None where it could not be judged.
            version: policy version of its oldest token.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        ...
