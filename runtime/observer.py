"""Observers of a running stream: snapshots, commands, rate control, metrics, progress, pages."""

from __future__ import annotations

from crwedge.core.labels import LabelMap
from crwedge.core.prompts import PromptLike
from crwedge.runtime.sources.frame import Frame


class Observer:
    """Base class: its methods are called for each frame and do nothing; override those that are needed.

    An exception in any of them ends the stream and is raised to its caller.
    """

    def before(self, frame: Frame) -> PromptLike | None:
        """Called in the tracker's thread before a frame is labelled.

        Returns:
            A prompt for this frame: (H, W) ids, or joints. Observers are asked in order until one gives a prompt; those
            after it are asked with the next frame, so that no prompt is lost.
        """
        return None

    def after(self, labels: LabelMap) -> None:
        """Called in the tracker's thread after a frame was labelled."""

    def previewed(self, frame: Frame) -> None:
        """Called in the tracker's thread in place of `after`, for a frame that came while nothing was followed."""

    def written(self, labels: LabelMap) -> None:
        """Called after every sink has written a frame, in the order of the frames, in the thread of the last sink."""
