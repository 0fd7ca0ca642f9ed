"""The interface of outputs."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.runtime.closing import Closing


class MaskSink(Protocol):
    """A context manager that takes label maps in order."""

    name: str

    def write(self, labels: LabelMap) -> None:
        """Take one; SinkError when it cannot be written."""
        ...

    def close(self) -> None:
        """Finish what was begun."""
        ...

    def __enter__(self) -> MaskSink:
        """The sink itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


class Sink(Closing):
    """Base class of sinks. Nothing is created before the first write, so a run that fails at once leaves nothing."""

    name: str

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(f"cannot write {self.name}: {error.strerror or error}")


class StopStream(Exception):  # noqa: N818 - no error: a person asked for the end
    """Raised by a sink to end the stream cleanly."""
