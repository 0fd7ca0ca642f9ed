"""Keeps the painted frames of a run as a target."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crwedge.core.errors import SettingError
from crwedge.core.labels import LabelMap
from crwedge.core.masks import VOID
from crwedge.core.prompts import MaskPrompt
from crwedge.runtime.events import silent
from crwedge.runtime.observer import Observer
from crwedge.runtime.target import MOST_FRAMES, TARGET_SUFFIX, Target, TargetFrame, small_frame, write_target
from crwedge.runtime.tracker import Tracker

_log = logging.getLogger("crwedge")


class TargetKeeper(Observer):
    """Writes a target after each painted frame, so that nothing is lost when the run is killed.

    A file that cannot be written costs an event, not the stream.

    Args:
        path: the file.
        tracker: says which frames were painted.
        found: tells frames whose mask was found, which are not kept, from painted ones.
        frames: painted before: of the targets that the run began with, or of the run that this one goes on with.
        on_event: called for each file.
    """

    def __init__(
        self,
        path: str | Path,
        tracker: Tracker,
        found: Callable[[int], bool] = lambda index: False,
        frames: Sequence[TargetFrame] = (),
        on_event: Callable[..., None] = silent,
    ) -> None:
        self.path, self._tracker, self._found, self._on_event = Path(path), tracker, found, on_event
        self._frames = list(frames)

    def after(self, labels: LabelMap) -> None:
        """Keep a frame that was painted."""
        prompt = self._tracker.prompt
        if not isinstance(prompt, MaskPrompt) or labels.frame is None or self._found(labels.index):
            return
        # What the tracker labelled, and no person, is known neither as object nor as background.
        painted = np.isin(prompt.mask, prompt.ids)
        mask = np.where(painted, prompt.mask, np.where(labels.ids == 0, 0, VOID)).astype(np.uint8)
        self._frames.append(small_frame(labels.frame, mask))
        if len(self._frames) > MOST_FRAMES:
            del self._frames[1]
        target = Target(tuple(self._frames), {})
        stem = self.path.stem
        names = {i: self._tracker.names.get(i, stem if len(target.ids) == 1 else f"{stem} {i}") for i in target.ids}
        try:
            write_target(self.path, Target(target.frames, names))
        except OSError as error:
            self._on_event("target_failed", path=str(self.path), reason=error.strerror or str(error))
            _log.warning("the target %s could not be written: %s", self.path, error.strerror or error)
            return
        self._on_event("target", path=str(self.path), index=labels.index, frames=len(self._frames))


def check_target_path(path: str | Path, overwrite: bool) -> None:
    """Refuse a place where a target cannot be kept, before anything is tracked.

    Raises:
        SettingError: it is a folder, in a folder that is not there, of another suffix, or a file that would be replaced.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise SettingError(f"--save-target {path} must be a file in a folder that exists")
    if path.suffix.lower() != TARGET_SUFFIX:
        raise SettingError(f"--save-target {path} must end in {TARGET_SUFFIX}: {path.with_suffix(TARGET_SUFFIX)}")
    if path.exists() and not overwrite:
        raise SettingError(f"--save-target {path} exists already: choose another name, or add --overwrite")
