"""The prompt of a session, given with its first frame."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from crwedge.core.joints import FrameJoints, Joints
from crwedge.core.labels import LabelMap
from crwedge.core.masks import check_mask, describe_mask, object_ids, resize_mask
from crwedge.core.prompts import PromptLike
from crwedge.runtime.observer import Observer
from crwedge.runtime.propagation.view import View
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.tracker import Tracker

_log = logging.getLogger("crwedge")


class FirstPrompt(Observer):
    """Gives the prompt with the first frame.

    Args:
        prompt: None where there is none yet.
        tracker: takes it.
        resize: whether a mask of another size is resized to the frame.
    """

    def __init__(self, prompt: PromptLike | Joints | None, tracker: Tracker, resize: bool) -> None:
        self._prompt, self._tracker, self._resize = prompt, tracker, resize

    def before(self, frame: Frame) -> PromptLike | None:
        """The mask at the frame's size, where that was asked for, or the joints that lie in the frame."""
        prompt, size = self._prompt, (frame.image.shape[0], frame.image.shape[1])
        self._prompt = None
        if prompt is None or self._tracker.object_ids:
            return None
        if isinstance(prompt, np.ndarray):
            mask = check_mask(resize_mask(prompt, size) if self._resize and prompt.shape != size else prompt, size)
            grid = View.whole(self._tracker.options.size or size).finer(self._tracker.settings.label_scale).grid
            _log.info("mask: %s", describe_mask(mask, self._tracker.names, grid=grid))
            if absent := sorted(set(self._tracker.names) - set(object_ids(mask))):
                _log.info("note: these named ids are not in the mask: %s", ", ".join(map(str, absent)))
            return mask
        if isinstance(prompt, FrameJoints):
            return prompt
        _, joints = prompt.first()
        if prompt.beyond and (outside := joints.outside(size)).any():
            names = ", ".join(name for name, out in zip(joints.names, outside, strict=True) if out)
            _log.info("note: these joints lie outside the first frame and are not followed: %s", names)
            joints = replace(joints, xy=np.where(outside[:, None], np.nan, joints.xy))
        return joints

    def after(self, labels: LabelMap) -> None:
        """Log the memory of the context."""
        if labels.index == 0 and labels.object_ids:
            _log.info("%s", self._tracker.memory_statement)
