"""A source, or a layout, as the reader that `samples.read_samples` takes."""

from collections.abc import Mapping, Sequence
from typing import Any

from ovrl.curate.sources.table import SOURCES
from ovrl.layouts import LAYOUTS, Row
from ovrl.plugins import resolve


class NamedReader:
    """Reads rows as the layout or source says that the user named.

    Attributes:
        skipped: rows so far that hold no sample, such as other tasks of the same data set.
    """

    def __init__(self, name: str, *, seed: int) -> None:
        """Find the layout or the source.

        Args:
            name: a layout, a source, an entry point of `ovrl.sources`, `module:function` or `file.py:function`.
            seed: of the choices that a source makes.

        Raises:
            UsageError: nothing is called so.
        """
        self.skipped = 0
        self._seed = seed
        self._layout = LAYOUTS.get(name)
        self._source = None if self._layout else resolve(name, SOURCES | dict.fromkeys(LAYOUTS, ""), "source")

    def __call__(self, row: Row) -> Sequence[Row]:
        """Return the objects of the contract that the row holds."""
        if self._layout is not None:
            return self._layout.reader(row)
        assert self._source is not None
        found: Any = self._source(row, seed=self._seed)
        records: list[Row] = [found] if isinstance(found, Mapping) else list(found or ())
        self.skipped += not records
        return records
