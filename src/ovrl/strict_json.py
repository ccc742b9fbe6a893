"""JSON as it is defined: Python's reader also takes NaN and infinity, which JSON has not."""

import json
import math
from typing import Any


def loads(text: str) -> Any:
    """Return the JSON value of a text.

    Raises:
        ValueError, RecursionError: it is none; `why` says it in a few words.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def decoder() -> json.JSONDecoder:
    """Return a decoder for values that stand within a text."""
    return json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def line_error(line: str | bytes, error: ValueError | RecursionError) -> str:
    """Return why a line is no record; one without its end was cut off in writing."""
    is_whole = line[-1:] in ("\n", b"\n")
    return f"the line is {'not JSON' if is_whole else 'torn'}: {why(error)}"


def why(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a text, in a few words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)
