"""Errors meant for the user, each with the exit code that the command line answers with.

    OvrlError 1                    the run failed; what is on disk is kept
     +-- UsageError 2              flags, settings or a file that cannot be what was meant
     |    +-- RecordError 2        one record that cannot be read; a batch counts it and goes on
     +-- BadRecordsError 3         finished, but more bad records than --fail-on allows
     +-- MetricError 4             a metric is missing or below --min
     +-- DependencyError 5         an optional package is not installed

Anything else that escapes is a bug of ours and keeps its traceback.
"""


class OvrlError(Exception):
    """A failure that the user can understand and act upon; printed as one line."""

    exit_code = 1


class UsageError(OvrlError):
    """The command cannot mean what it says: a flag, a setting, a path, a directory in use."""

    exit_code = 2


class RecordError(UsageError):
    """A record that cannot be read.

    Attributes:
        field: the field at fault, or "" when the whole line is.
        reason: what is wrong with it, and what to do.
        records: how many records it costs; None when nobody can tell, since the rest of a file is lost.
    """

    def __init__(self, field: str, reason: str, where: str = "", *, records: int | None = 1) -> None:
        self.field = field
        self.reason = reason
        self.where = where
        self.records = records
        super().__init__(": ".join(part for part in (where, field, reason) if part))

    def at(self, where: str) -> "RecordError":
        """Return the same error with the place (`file:line`) in front."""
        return RecordError(self.field, self.reason, where, records=self.records)


class BadRecordsError(OvrlError):
    """The output is complete, but more records were bad than the user allows."""

    exit_code = 3


class MetricError(OvrlError):
    """A metric is missing, or below the floor that the user gave."""

    exit_code = 4


class DependencyError(OvrlError):
    """An optional dependency is absent. The message holds the line that installs it."""

    exit_code = 5

    def __init__(self, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(f'{package} is not installed; run: pip install "ovrl[{extra}]"')
