"""Errors with a message of one line that says what is wrong and how to fix it.

`crwedge` prints the message on stderr and exits with `exit_code`: 2 for errors that the user can fix, 1 for others.
"""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class CrwedgeError(Exception):
    """Base class of the errors of this package."""

    exit_code = 1

    def __str__(self) -> str:
        """One line. Names and values from outside may hold codes that a terminal obeys: they are escaped."""
        line = " ".join(part.strip() for part in super().__str__().splitlines())
        return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), line)


class UserError(CrwedgeError):
    """An error that the user can fix."""

    exit_code = 2


class SettingError(UserError):
    """A setting or option has an invalid value."""


class SourceError(UserError):
    """A frame source is missing, unreadable, or of a format that does not match its name."""


class MaskError(UserError):
    """A mask cannot be used."""


class SinkError(UserError):
    """An output cannot be written."""


class BundleError(UserError):
    """A bundle is incomplete, changed, or of an unknown version."""


class CheckpointError(UserError):
    """A checkpoint is incomplete, changed, or of another architecture."""


class MissingExtraError(UserError):
    """An optional dependency is not installed."""
