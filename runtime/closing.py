"""What sources, sinks and trackers share: leaving the block closes."""

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
        """Nothing to give back, unless a class says otherwise."""
