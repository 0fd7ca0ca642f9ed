"""Errors a person can read: one line that says what is wrong and how to cure it.

`crwedge` prints them on stderr and leaves with `exit_code`: 2 for what the user can fix, 1 for the rest.
"""


class CrwedgeError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class UserError(CrwedgeError):
    """Something the user can fix."""

    exit_code = 2


class SettingError(UserError):
    """A setting or option has a value that cannot be."""


class SourceError(UserError):
    """A frame source is missing, unreadable or not what it claims to be."""


class MaskError(UserError):
    """A mask cannot be used."""


class SinkError(UserError):
    """An output cannot be written."""


class BundleError(UserError):
    """A bundle is incomplete, changed, or of a version this crwedge does not know."""


class CheckpointError(UserError):
    """A checkpoint is incomplete, changed, or of another architecture."""


class MissingExtraError(UserError):
    """An optional dependency is not installed."""
