"""What is known of a frame from outside, a mask or joints, as soft labels on any grid: where all following starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.joints import FrameJoints, Joints, read_joints
from crwedge.core.keypoints import joints_to_soft
from crwedge.core.labels import soft_labels
from crwedge.core.masks import VOID, check_mask, object_ids, read_mask

Given = NDArray[np.uint8] | FrameJoints
"""What comes with a frame from outside: (H, W) object ids, or joints."""


class Start(Protocol):
    """Says which objects there are, and where, on any grid."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The objects, 1 to 254, in the order of the channels after the background."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frame it belongs to."""
        ...

    def soft(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """(1 + len(ids), h, w) soft labels on `grid` = (h, w); channel 0 is the background."""
        ...


@dataclass(frozen=True)
class MaskStart:
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

    def over(self, predicted: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What is predicted (H, W), with what a person painted on top: that is the truth to the pixel.

        Where the mask is 0, objects that it shows elsewhere are taken away and others stay; where it is void all stays.
        """
        known = (self.mask != VOID) & ((self.mask != 0) | np.isin(predicted, self.ids))
        return np.where(known, self.mask, predicted)


@dataclass(frozen=True)
class JointStart:
    """Joints of a frame; joint number i is object i + 1."""

    joints: FrameJoints
    size: tuple[int, int]
    """(H, W) of the frame in pixels."""

    @property
    def ids(self) -> tuple[int, ...]:
        """1 to J."""
        return tuple(range(1, 1 + len(self.joints.names)))

    def soft(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """Each joint drawn as a Gaussian."""
        return joints_to_soft(self.joints.xy, self.size, grid)


def start_of(given: Given, size: tuple[int, int]) -> MaskStart | JointStart:
    """A mask or joints, checked against a frame of `size` = (H, W).

    Raises:
        MaskError: it does not fit the frame, or shows nothing; with the cure.
    """
    if not isinstance(given, FrameJoints):
        return MaskStart(check_mask(given, size))
    if not given.visible.any():
        raise MaskError("no joint is visible: at least one needs a place")
    outside = np.flatnonzero(given.outside(size))
    if outside.size:
        x, y = given.xy[outside[0]]
        raise MaskError(
            f"the joint {given.names[outside[0]]} at ({x:g}, {y:g}) lies outside the frame of {size[1]}x{size[0]} "
            "(width x height): give x, y in the frame's own pixels, or null for a joint that is not visible"
        )
    return JointStart(given, size)


def read_start(path: str | Path) -> NDArray[np.uint8] | Joints:
    """Read what to follow: joints from `*.json` and `*.mat`, else a mask.

    Raises:
        MaskError: the file is missing, or not of the kind its name says.
    """
    return read_joints(path) if Path(path).suffix.lower() in (".json", ".mat") else read_mask(path)
