"""Joints of one frame or of a clip, and the files they are read from.

Coordinates are (J, 2) float64, x then y in pixels from 0; whole numbers are pixel centres. A joint that is not visible is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.json_text import parse_json
from crwedge.core.optional import import_optional

JHMDB_JOINTS = (
    "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
)  # fmt: skip
MAX_JOINTS = 254
"""Largest number of joints in a frame: joint numbers are object ids."""


@dataclass(frozen=True)
class FrameJoints:
    """Joints of one frame: a prompt, or a result of the tracker."""

    names: tuple[str, ...]
    """One name a joint."""
    xy: NDArray[np.float64]
    """(J, 2) x and y in pixels, counted from 0; NaN where a joint is not visible or was not found."""
    confidence: NDArray[np.float64] | None = None
    """(J,) largest soft label of each joint, 0 to 1; None for a prompt."""

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(J,) whether a joint has coordinates."""
        return np.asarray(np.isfinite(self.xy).all(axis=1), np.bool_)

    def outside(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(J,) whether a visible joint is outside a frame of `size` = (H, W)."""
        low, high = np.array([-0.5, -0.5]), np.array([size[1], size[0]]) - 0.5
        return np.asarray(self.visible & ~((self.xy >= low) & (self.xy <= high)).all(axis=1))


@dataclass(frozen=True)
class Joints:
    """Joints of a clip, read from a file."""

    names: tuple[str, ...]
    """One name a joint."""
    xy: NDArray[np.float64]
    """(T, J, 2) x and y in pixels, counted from 0; NaN where a joint is not visible."""
    frames: tuple[int, ...]
    """(T,) frame number of each row, from 0."""
    beyond: bool = False
    """Whether joints may be outside the frame: JHMDB annotates joints that the frame cuts off."""

    def first(self) -> tuple[int, FrameJoints]:
        """Number and joints of the first labelled frame; MaskError when none of its joints is visible."""
        row = int(np.argmin(self.frames))
        given = FrameJoints(self.names, self.xy[row])
        if not given.visible.any():
            raise MaskError(f"no joint is visible in frame {self.frames[row]}, the first with joints; begin with one")
        return self.frames[row], given


def read_joints(path: str | Path) -> Joints:
    """Read joints from JSON or from JHMDB's `joint_positions.mat`.

    JSON has one of these forms; null is a joint that is not visible:

    * {"hand": [x, y], "foot": [x, y], ...}: names and coordinates in frame 0;
    * [[x, y], [x, y], ...]: coordinates in frame 0;
    * [{"frame": 0, "xy": [[x, y], ...], "visible": [true, ...]}, ...]: several frames (BADJA); "visible" may be left out;
    * one such object, or {"names": ["hand", ...], "frames": [such objects]}.

    Coordinates are pixels from 0. Those of a .mat file count from 1.

    Raises:
        MaskError: the file is missing or has another form; the message names it.
        MissingExtraError: a .mat file without scipy.
    """
    path = Path(path)
    if not path.is_file():
        raise MaskError(f"there is no joint file {path}")
    if path.suffix.lower() == ".mat":
        return _read_mat(path)
    try:
        return _from_json(parse_json(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise MaskError(
            f'{path} holds no joints ({reason}); write {{"hand": [x, y], ...}} or a list of '
            '{"frame": 0, "xy": [[x, y], ...], "visible": [...]}, in pixels from 0'
        ) from error


def _read_mat(path: Path) -> Joints:
    loadmat = import_optional("scipy.io", extra="eval").loadmat
    try:
        position = np.asarray(loadmat(path)["pos_img"], np.float64)
    except Exception as error:  # a damaged file makes scipy raise nearly anything
        raise MaskError(
            f"{path} is not a joint_positions.mat: it has no pos_img (2, joints, frames) ({error})"
        ) from error
    if position.ndim == 2:
        position = position[:, :, None]
    if position.ndim != 3 or position.shape[0] != 2 or not 0 < position.shape[1] <= MAX_JOINTS or not position.shape[2]:
        raise MaskError(f"{path}: pos_img is {position.shape}; it must be (2, joints, frames)")
    joints = position.shape[1]
    names = JHMDB_JOINTS if joints == len(JHMDB_JOINTS) else tuple(f"joint{i}" for i in range(joints))
    # MATLAB counts from 1.
    xy = position.transpose(2, 1, 0) - 1
    return Joints(names, np.ascontiguousarray(xy), tuple(range(len(xy))), beyond=True)


def _from_json(value: Any) -> Joints:
    names = None
    if isinstance(value, dict) and "frames" in value:
        names, value = value.get("names"), value["frames"]
    elif isinstance(value, dict) and "xy" in value:
        names, value = value.get("names"), [value]
    elif isinstance(value, dict):
        names, value = list(value), [{"frame": 0, "xy": list(value.values())}] if value else []
    elif isinstance(value, list) and value and (value[0] is None or isinstance(value[0], list)):
        value = [{"frame": 0, "xy": value}]
    if not isinstance(value, list) or not value:
        raise ValueError("no joint in it")
    rows, frames = [], []
    for number, entry in enumerate(value):
        xy = _coordinates(entry["xy"], number)
        visible = np.array(entry.get("visible", [True] * len(xy)), bool)
        if visible.shape != (len(xy),):
            raise ValueError(
                f"entry {number} has {len(xy)} joints and {visible.size} words on whether they are visible"
            )
        xy[~visible] = np.nan
        rows.append(xy)
        frames.append(int(entry.get("frame", number)))
    if len({len(row) for row in rows}) != 1:
        raise ValueError("its frames have different numbers of joints")
    if min(frames) < 0 or len(set(frames)) != len(frames):
        raise ValueError("frames count from 0, each once")
    joints = len(rows[0])
    names = tuple(map(str, names)) if names else tuple(f"joint{i}" for i in range(joints))
    if len(names) != joints or len(set(names)) != joints:
        raise ValueError(f"{len(set(names))} different names for {joints} joints")
    return Joints(names, np.stack(rows), tuple(frames))


def _coordinates(values: Any, number: int) -> NDArray[np.float64]:
    """(J, 2) of a list of [x, y]; null is a joint that is not visible."""
    xy = np.array([[np.nan, np.nan] if p is None else p for p in values], np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise ValueError(f"xy of entry {number} is not a list of [x, y]")
    if len(xy) > MAX_JOINTS:
        raise ValueError(f"it has {len(xy)} joints, at most {MAX_JOINTS} can be followed")
    xy[~np.isfinite(xy).all(axis=1)] = np.nan
    return xy
