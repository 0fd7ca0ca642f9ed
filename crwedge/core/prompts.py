"""Prompts: a mask or keypoints that tell the tracker what to follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.images import size_text
from crwedge.core.joints import FrameJoints
from crwedge.core.keypoints import joints_to_soft
from crwedge.core.labels import soft_labels
from crwedge.core.masks import VOID, check_mask, object_ids

PromptLike = NDArray[np.uint8] | FrameJoints
"""What a caller gives with a frame: (H, W) object ids, or the joints of that frame."""


class Prompt(Protocol):
    """Names the objects of one frame and gives their soft labels on any grid."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Object ids, 1 to 254, in the order of the label channels after the background."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frame."""
        ...

    def soft(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """Soft labels (1 + len(ids), h, w) on `grid` = (h, w); channel 0 is the background."""
        ...


@dataclass(frozen=True)
class MaskPrompt:
    """A painted mask."""

    mask: NDArray[np.uint8]
    """(H, W) ids, 0 background, 255 void."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the mask in rising order."""
        return object_ids(self.mask)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the mask."""
        return self.mask.shape[0], self.mask.shape[1]

    def soft(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """The one-hot mask, resized linearly; void counts as background."""
        return soft_labels(self.mask, self.ids, grid)[0]

    def overlay(self, predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay the painted mask over predicted ids (H, W).

        Where the mask is 0, its own objects are erased and other objects stay. Where it is void, the prediction stays.
        """
        known = (self.mask != VOID) & ((self.mask != 0) | np.isin(predicted, self.ids))
        return np.where(known, self.mask, predicted)


@dataclass(frozen=True)
class KeypointPrompt:
    """The joints of a frame; joint number i is object i + 1."""

    joints: FrameJoints
    size: tuple[int, int]
    """(H, W) of the frame in pixels."""

    @property
    def ids(self) -> tuple[int, ...]:
        """1 to J."""
        return tuple(range(1, 1 + len(self.joints.names)))

    def soft(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """One Gaussian for each joint."""
        return joints_to_soft(self.joints.xy, self.size, grid)


def as_prompt(given: PromptLike, size: tuple[int, int]) -> MaskPrompt | KeypointPrompt:
    """Check a mask or joints against a frame of `size` = (H, W).

    Raises:
        MaskError: it does not fit the frame, or shows no object.
    """
    if not isinstance(given, FrameJoints):
        return MaskPrompt(check_mask(given, size))
    if not given.visible.any():
        raise MaskError("no joint is visible: at least one needs a place")
    outside = np.flatnonzero(given.outside(size))
    if outside.size:
        x, y = given.xy[outside[0]]
        raise MaskError(
            f"the joint {given.names[outside[0]]} at ({x:g}, {y:g}) lies outside the frame of {size_text(size)} "
            "(height x width): give x, y in the frame's own pixels, or null for a joint that is not visible"
        )
    return KeypointPrompt(given, size)
