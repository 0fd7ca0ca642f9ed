"""Label maps drawn over the frames, in a window."""

from __future__ import annotations

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.core.optional import import_optional
from crwedge.runtime.sinks.base import Sink, StopStream
from crwedge.runtime.sinks.draw import draw


class WindowSink(Sink):
    """A window on the screen; closing it or pressing q or Escape ends the stream."""

    name = "window"

    def __init__(self) -> None:
        """MissingExtraError without OpenCV."""
        self._cv2 = import_optional("cv2", extra="window")
        self._shown = False

    def write(self, labels: LabelMap) -> None:
        """Show one frame; raises StopStream when the person closes the window."""
        if labels.frame is None:
            raise SinkError("cannot draw into a window: the label map carries no frame")
        try:
            self._cv2.imshow("crwedge", draw(labels.frame, labels)[..., ::-1])
            key = self._cv2.waitKey(1) & 0xFF
            closed = self._shown and self._cv2.getWindowProperty("crwedge", self._cv2.WND_PROP_VISIBLE) < 1
        except self._cv2.error as error:
            raise SinkError("cannot open a window: no screen, or an OpenCV without one (opencv-python has)") from error
        self._shown = True
        if closed or key in (27, ord("q")):
            raise StopStream

    def close(self) -> None:
        """Close the window."""
        if self._shown:
            self._cv2.destroyAllWindows()
            self._shown = False
