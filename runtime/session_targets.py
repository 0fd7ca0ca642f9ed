"""The targets of a session: those it looks for, and the one it keeps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crwedge.core.errors import SettingError
from crwedge.core.joints import FrameJoints, Joints
from crwedge.core.masks import object_ids
from crwedge.core.prompts import PromptLike
from crwedge.runtime.observer import Observer
from crwedge.runtime.target import Target, TargetFrame, join_targets, read_target
from crwedge.runtime.target_finder import TargetFinder
from crwedge.runtime.target_keeper import TargetKeeper, check_target_path
from crwedge.runtime.tracker import Tracker

if TYPE_CHECKING:
    from crwedge.runtime.session_options import SessionOptions

_log = logging.getLogger("crwedge")


class SessionTargets:
    """Reads and checks the targets in a session's options, before anything is tracked.

    Args:
        options: `targets` and `save_target`.
        prompt: of the session; ids that it uses are not given to objects of targets.
        resumes: whether the session goes on with an earlier run.

    Raises:
        UserError: a target cannot be read, or the options cannot be combined.
    """

    def __init__(self, options: SessionOptions, prompt: PromptLike | Joints | None, resumes: bool) -> None:
        if isinstance(prompt, Joints | FrameJoints) and (options.targets or options.save_target is not None):
            raise SettingError("a target needs masks: it cannot be used with joints or saved from them")
        taken = object_ids(prompt) if isinstance(prompt, np.ndarray) and prompt.dtype == np.uint8 else ()
        given = [one if isinstance(one, Target) else read_target(one) for one in options.targets]
        self._targets, self._names = join_targets(given, taken)
        self._path = options.save_target
        self._kept: tuple[TargetFrame, ...] = tuple(frame for target in self._targets for frame in target.frames)
        if self._path is not None and not resumes:
            check_target_path(self._path, options.overwrite)
        elif self._path is not None and Path(self._path).exists():
            before = read_target(self._path)
            self._kept = before.frames
        self._finder: TargetFinder | None = None

    def __bool__(self) -> bool:
        """Whether any target was given."""
        return bool(self._targets)

    def observers(self, tracker: Tracker, index: int, on_event: Callable[..., None]) -> list[Observer]:
        """What looks for the objects, and what keeps the painted frames.

        Args:
            tracker: restored, where the session goes on.
            index: `index` of the next frame in the outputs.
            on_event: see `TargetFinder` and `TargetKeeper`.
        """
        own: list[Observer] = []
        tracker.rename({i: name for i, name in self._names.items() if i not in tracker.names})
        if self._targets:
            self._finder = TargetFinder(self._targets, self._names, tracker, index, on_event)
            own.append(self._finder)
            _log.info("searching for %s", ", ".join(f"{tracker.names[i]} (object {i})" for i in self._names))
        if self._path is not None:
            own.append(TargetKeeper(self._path, tracker, self._found, self._kept, on_event))
        return own

    def summary(self) -> dict[str, Any]:
        """Their entry in the session's result. Objects that were never found are named in a message."""
        if self._finder is None:
            return {}
        found = self._finder.summary()
        if missing := [f"{item['name']} (object {i})" for i, item in found.items() if item["found_at"] is None]:
            _log.warning("note: not found in any frame: %s", ", ".join(missing))
        return {"targets": found}

    def _found(self, index: int) -> bool:
        return self._finder is not None and self._finder.last_given == index
