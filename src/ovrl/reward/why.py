"""Why a score is what it is, and where two modes differ, from the fields of a scored line."""

from collections.abc import Mapping
from typing import Any

from ovrl.records import UNSCORED

_WHY = {
    "no_answer": "there is no answer in <answer>...</answer>",
    "ambiguous": "several answers are offered",
    "parse_error": "the answer cannot be read as {type}",
    "invalid_gold": "the gold answer cannot be read as {type}",
    "timeout": "judging it took too long",
    "error": "the grader failed",
    "unsupported": "this machine cannot judge it",
}


def why(fields: Mapping[str, Any], answer_type: str) -> str:
    """Return, for a person, why a score is what it is.

    Args:
        fields: `status`, `reward`, `components` and perhaps `note` of a score.
        answer_type: what the answer should have been.
    """
    status, note = fields["status"], fields.get("note")
    if status == "ok":
        accuracy = fields["components"].get("accuracy", fields["reward"] or 0.0)
        found = (
            "equals a gold answer" if accuracy >= 1 else "agrees in part" if accuracy > 0 else "equals no gold answer"
        )
    else:
        found = _WHY[status].format(type=answer_type)
    return f"{found}: {note}" if note else found


def difference(line: int | None, answer_type: str, scored: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what two modes say of a completion, or None when they pay the same.

    Args:
        line: its number in the file, when that is known.
        answer_type: how the completion is counted.
        scored: the scored line, with `compared`.
    """
    reward = None if scored["status"] in UNSCORED else scored["reward"]
    if reward == scored["compared"]["reward"]:
        return None
    return {
        "line": line,
        "id": scored.get("id"),
        "answer_type": answer_type,
        "reward": reward,
        "extracted": scored["extracted"],
        "why": why(scored, answer_type),
        "compared": scored["compared"],
    }
