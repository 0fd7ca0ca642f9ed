"""A base of sources, sinks and trackers: a context manager that closes at the end of the block."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

C = TypeVar("C", bound="Closing")


class Closing:
    """A context manager of itself."""

    def __enter__(self: C) -> C:
        """The object itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Release resources; does nothing unless a class overrides it."""
