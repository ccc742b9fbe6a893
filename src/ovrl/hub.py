"""Read a data set of the Hugging Face hub, row by row. The only module that asks the network for data."""

import re
from collections.abc import Iterator
from typing import Any

from ovrl.errors import DependencyError, OvrlError, UsageError

_NAME = re.compile(
    r"(?P<path>[^@:]+?)(?:@(?P<revision>[^:]+))?(?::(?P<split>[\w.+-]+))?",
)


def read_rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a data set as they stand, images encoded, absent values left out.

    Args:
        name: `owner/name`, and what may follow: `/config`, `@revision`, `:split` (default: train). A local
            directory that `datasets` can load is a name, too.

    Raises:
        UsageError: the name cannot be one, or the hub has no such data set, config or split.
        OvrlError: the hub cannot be reached.
        DependencyError: `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise DependencyError("datasets", "hub") from error
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"hf://{name}: write hf://owner/name, and perhaps /config, @revision, :split")
    path, config = _config(match["path"])
    try:
        found = datasets.load_dataset(
            path, config, split=match["split"] or "train", revision=match["revision"], streaming=True
        )
        for row in _undecoded(found):
            yield {column: value for column, value in row.items() if value is not None}
    except (ConnectionError, TimeoutError) as error:
        raise OvrlError(f"the hub cannot be reached for hf://{name}: {_line(error)}") from error
    except (ValueError, OSError) as error:  # what `datasets` raises for names, configs and splits it does not know
        raise UsageError(f"hf://{name} cannot be read: {_line(error)}") from error


def _config(path: str) -> tuple[str, str | None]:
    """Return the data set and the config of `owner/name/config`; a path that starts with / or . has none."""
    owner, _, rest = path.partition("/")
    name, _, config = rest.partition("/")
    return (path, None) if path.startswith(("/", ".")) else (f"{owner}/{name}", config or None)


def _undecoded(found: Any) -> Any:
    """Return the data set with its images as `{bytes, path}`: nobody here wants pixels."""
    return found.decode(False) if found.features is not None else found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
