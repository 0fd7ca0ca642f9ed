"""Keypoints as labels: joints drawn as Gaussians on the feature grid, and read back from soft labels.

A set of joints is (J, 2) float64, x then y in pixels from 0, where a whole number is a pixel's centre; a joint that
is not visible is NaN.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.need import need

SIGMA = 0.5
"""Spread of a drawn joint, in feature cells (design, JHMDB protocol)."""
STRONGEST = 3
"""How many cells a joint is read from."""

JHMDB_JOINTS = (
    "neck", "belly", "face", "right_shoulder", "left_shoulder", "right_hip", "left_hip", "right_elbow", "left_elbow",
    "right_knee", "left_knee", "right_wrist", "left_wrist", "right_ankle", "left_ankle",
)  # fmt: skip


@dataclass(frozen=True)
class Joints:
    """Joints of one clip as a file gave them."""

    names: tuple[str, ...]
    """One name a joint."""
    xy: NDArray[np.float64]
    """(T, J, 2) x and y in pixels, counted from 0; NaN where a joint is not visible."""
    frames: tuple[int, ...]
    """(T,) number of the frame that each row belongs to, from 0."""


def read_joints(path: str | Path) -> Joints:
    """Read joints from JSON or from JHMDB's `joint_positions.mat`.

    JSON is a list of {"frame", "xy": [[x, y], ...], "visible": [...]} (BADJA; "visible" may be left out), one such
    object, a plain list of [x, y] for frame 0, or {"names": [...], "frames": [that list]}. Coordinates are pixels
    from 0. The .mat file counts pixels from 1, centre on the whole number.

    Raises:
        MaskError: the file is missing or of another form, with its name.
        MissingExtraError: a .mat file without scipy.
    """
    path = Path(path)
    if not path.is_file():
        raise MaskError(f"there is no joint file {path}")
    if path.suffix == ".mat":
        return _read_mat(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return _from_json(value)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise MaskError(
            f'{path} holds no joints ({error}); write a list of {{"frame": 0, "xy": [[x, y], ...], "visible": [...]}}'
        ) from error


def joints_to_soft(
    joints: NDArray[np.float64], size: tuple[int, int], grid: tuple[int, int], sigma: float = SIGMA
) -> NDArray[np.float32]:
    """Draw joints as Gaussians on the feature grid.

    Args:
        joints: (J, 2) x, y in pixels; NaN for a joint that is not visible, whose channel stays 0.
        size: (H, W) of the frame in pixels.
        grid: (h, w) of the features.
        sigma: spread in cells.

    Returns:
        (J + 1, h, w) float32: channel 0 is what the joints leave of 1, each joint's peak is 1 at its exact place.
    """
    h, w = grid
    soft = np.zeros((len(joints) + 1, h, w), np.float32)
    # A cell is one unit of the grid; its centre, like a pixel's, lies half a unit in.
    cell = (joints + 0.5) * (np.array([w, h]) / np.array([size[1], size[0]]))
    visible = np.isfinite(cell).all(axis=1)
    ys, xs = np.arange(h) + 0.5, np.arange(w) + 0.5
    y_part = np.exp(-((ys[None, :] - cell[visible, 1, None]) ** 2) / (2 * sigma**2))
    x_part = np.exp(-((xs[None, :] - cell[visible, 0, None]) ** 2) / (2 * sigma**2))
    soft[1:][visible] = y_part[:, :, None] * x_part[:, None, :]
    soft[0] = np.clip(1 - soft[1:].sum(axis=0), 0, 1)
    return soft


def soft_to_joints(
    soft: NDArray[np.float32], size: tuple[int, int], strongest: int = STRONGEST
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read joints from soft labels: the mean place of the strongest cells, weighted by their values.

    Args:
        soft: (J + 1, h, w); channel 0, the background, is left out.
        size: (H, W) of the frame in pixels.
        strongest: how many cells to average over.

    Returns:
        joints (J, 2) x, y in pixels, NaN where a channel is empty, and their strength (J,), the largest value of
        each channel.
    """
    channels, h, w = soft.shape
    flat = np.asarray(soft[1:], np.float64).reshape(channels - 1, h * w)
    strongest = min(strongest, h * w)
    cells = np.argpartition(flat, h * w - strongest, axis=1)[:, h * w - strongest :]
    weight = np.maximum(np.take_along_axis(flat, cells, axis=1), 0)
    total = weight.sum(axis=1)
    weight /= np.where(total > 0, total, 1)[:, None]
    x = ((cells % w + 0.5) * weight).sum(axis=1) * (size[1] / w) - 0.5
    y = ((cells // w + 0.5) * weight).sum(axis=1) * (size[0] / h) - 0.5
    joints = np.stack([x, y], axis=1)
    joints[total <= 0] = np.nan
    return joints, flat.max(axis=1)


def _read_mat(path: Path) -> Joints:
    loadmat = need("scipy.io", extra="eval").loadmat
    try:
        position = np.asarray(loadmat(path)["pos_img"], np.float64)
    except Exception as error:  # a damaged file makes scipy raise nearly anything
        raise MaskError(
            f"{path} is no joint_positions.mat: pos_img (2, joints, frames) is not to be had ({error})"
        ) from error
    if position.ndim == 2:
        position = position[:, :, None]
    if position.ndim != 3 or position.shape[0] != 2:
        raise MaskError(f"{path}: pos_img is {position.shape}; it must be (2, joints, frames)")
    joints = position.shape[1]
    names = JHMDB_JOINTS if joints == len(JHMDB_JOINTS) else tuple(f"joint{i}" for i in range(joints))
    # MATLAB counts pixels from 1.
    xy = position.transpose(2, 1, 0) - 1
    return Joints(names, np.ascontiguousarray(xy), tuple(range(len(xy))))


def _from_json(value: Any) -> Joints:
    names = None
    if isinstance(value, dict) and "frames" in value:
        names, value = value.get("names"), value["frames"]
    elif isinstance(value, dict):
        names, value = value.get("names"), [value]
    elif isinstance(value, list) and value and isinstance(value[0], list):
        value = [{"frame": 0, "xy": value}]
    if not isinstance(value, list) or not value:
        raise ValueError("no frame in it")
    rows, frames = [], []
    for number, entry in enumerate(value):
        xy = np.array([[np.nan, np.nan] if p is None else p for p in entry["xy"]], np.float64)
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise ValueError(f"xy of entry {number} is not a list of [x, y]")
        visible = np.array(entry.get("visible", [True] * len(xy)), bool)
        if len(visible) != len(xy):
            raise ValueError(
                f"entry {number} has {len(xy)} joints and {len(visible)} words on whether they are visible"
            )
        xy[~visible] = np.nan
        rows.append(xy)
        frames.append(int(entry.get("frame", number)))
    if len({len(row) for row in rows}) != 1:
        raise ValueError("its frames have different numbers of joints")
    joints = len(rows[0])
    names = tuple(map(str, names)) if names else tuple(f"joint{i}" for i in range(joints))
    if len(names) != joints:
        raise ValueError(f"{len(names)} names for {joints} joints")
    return Joints(names, np.stack(rows), tuple(frames))
