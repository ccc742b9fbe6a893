"""What the sources share: reading fields strictly, image marks, option letters."""

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from ovrl.errors import RecordError
from ovrl.records import IMAGE_MARK

Row = Mapping[str, Any]

_LETTER = re.compile(r"\s*[(\[]?([A-Za-z])[)\].:]?\s*")

BOX_FORM = "[x_min, y_min, x_max, y_max], each number between 0 (left, top) and 1 (right, bottom)"


def text(row: Row, name: str) -> str:
    """Return the text of a field, without white space at its ends.

    Raises:
        RecordError: the field is absent, blank or something else.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RecordError(name, "a text is expected" if name in row else "this field is missing")
    return value.strip()


def texts(row: Row, name: str) -> list[str]:
    """Return the texts of a field that holds one or a list of them; blank ones are left out.

    Raises:
        RecordError: none is left.
    """
    value = row.get(name)
    listed: Sequence[Any] = [value] if isinstance(value, str | int | float) else value or []
    found = [str(one).strip() for one in listed if str(one).strip()]
    if not found:
        raise RecordError(name, "no text is given" if name in row else "this field is missing")
    return list(dict.fromkeys(found))


def images(row: Row, *names: str) -> list[Any]:
    """Return the images of the first of the fields that is there, as one or a list of them.

    Raises:
        RecordError: none of the fields is there.
    """
    for name in names:
        if row.get(name) is not None:
            return list(row[name]) if isinstance(row[name], list) else [row[name]]
    raise RecordError(names[0], "this field is missing")


def with_marks(problem: str, count: int) -> str:
    """Return the problem with exactly `count` image marks: missing ones in front, surplus ones off the end."""
    head, *rest = problem.split(IMAGE_MARK)
    kept = head + "".join(IMAGE_MARK + part for part in rest[:count]) + "".join(rest[count:])
    missing = count - min(count, len(rest))
    return (f"{IMAGE_MARK * missing}\n{kept}" if missing else kept).strip()


def with_options(question: str, options: Sequence[str]) -> str:
    """Return the question with its options below, one lettered line each."""
    return "\n".join([question, "Options:", *(f"{letter}. {option}" for letter, option in lettered(options))])


def lettered(options: Sequence[str]) -> list[tuple[str, str]]:
    """Return (letter, option) from A on."""
    return list(zip(string.ascii_uppercase, options, strict=False))


def letter(answer: str, last: str = "Z") -> str | None:
    """Return the option letter, in upper case, when the answer is nothing else ("b", "(B)", "B."), else None."""
    match = _LETTER.fullmatch(answer)
    return match[1].upper() if match and match[1].upper() <= last else None
