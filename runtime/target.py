"""A target: painted frames of one run, kept in a file, that start other videos with the same objects.

The file is in the safetensors format: `picture.N` (H, W, 3) RGB uint8 and `mask.N` (H, W) ids of each frame, and a JSON text
with the names of the objects. Features are computed from the pictures with the encoder of the run that reads the file, so
that a file made with one encoder serves all encoders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.described import described
from crwedge.core.errors import UserError
from crwedge.core.images import resize_frame
from crwedge.core.json_text import parse_json
from crwedge.core.masks import VOID, object_ids, resize_mask
from crwedge.core.pictures import shrunk
from crwedge.core.tensors import TensorFileError, read_tensors, write_tensors

FORMAT = "crwedge-target-1"
TARGET_SUFFIX = ".target"
"""Usual end of the names of such files; where a mask is expected too, it tells them apart."""
MOST_FRAMES = 4
"""Frames of one target: the first painted one is always kept, and the last ones after it."""
SHORT_SIDE = 480
"""Pictures are shrunk to this shorter side."""
_MOST_PIXELS = 4096 * 4096
_LONGEST_NAME = 200


class TargetError(UserError):
    """A target file is damaged, or no target."""


@described
@dataclass(frozen=True, eq=False)
class TargetFrame:
    """A frame that a person painted."""

    pixels: NDArray[np.uint8]
    """RGB uint8 (H, W, 3)."""
    mask: NDArray[np.uint8]
    """(H, W) ids, 0 background, 255 void."""


@described
@dataclass(frozen=True, eq=False)
class Target:
    """What to look for: one or several objects in a few painted frames."""

    frames: tuple[TargetFrame, ...]
    """At least one; the first is the one that the run began with."""
    names: Mapping[int, str]
    """Name of each object id of the frames."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all frames, in rising order."""
        return tuple(sorted({i for frame in self.frames for i in object_ids(frame.mask)}))


def small_frame(pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> TargetFrame:
    """A painted frame, RGB uint8 (H, W, 3) with ids (H, W), at the size that a target keeps."""
    size = shrunk(pixels.shape[0], pixels.shape[1], SHORT_SIDE)
    small = mask if mask.shape == size else resize_mask(mask, size)
    return TargetFrame(np.ascontiguousarray(resize_frame(pixels, size)), np.ascontiguousarray(small))


def write_target(path: str | Path, target: Target) -> None:
    """Write a target whole or not at all, replacing the file.

    Raises:
        OSError: the file cannot be written.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for number, frame in enumerate(target.frames):
        tensors[f"picture.{number}"], tensors[f"mask.{number}"] = frame.pixels, frame.mask
    facts = {"names": {str(i): name for i, name in target.names.items()}, "frames": len(target.frames)}
    write_tensors(Path(path), tensors, {"format": FORMAT, "target": json.dumps(facts)})


def read_target(path: str | Path) -> Target:
    """Read a target.

    Raises:
        TargetError: the file is missing, damaged or no target.
    """
    try:
        tensors, words = read_tensors(Path(path))
    except TensorFileError as error:
        raise TargetError(f"{str(error).removesuffix('; remove it')}; make it with --save-target") from error
    if words.get("format") != FORMAT:
        raise TargetError(
            f"{path} is not a target of this version ({words.get('format')!r}); make it with --save-target"
        )
    try:
        return _target(tensors, parse_json(words["target"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise TargetError(
            f"the target {path} is damaged ({type(error).__name__}: {error}); make it again with --save-target"
        ) from error


def _target(tensors: Mapping[str, NDArray[Any]], facts: Any) -> Target:
    """A target of what a file holds; ValueError, KeyError or TypeError where it does not fit together."""
    count = facts["frames"]
    if not isinstance(count, int) or not 1 <= count <= MOST_FRAMES:
        raise ValueError(f"it has {count!r} frames")
    frames = []
    for number in range(count):
        pixels, mask = tensors[f"picture.{number}"], tensors[f"mask.{number}"]
        if pixels.dtype != np.uint8 or mask.dtype != np.uint8 or pixels.shape != (*mask.shape, 3) or mask.ndim != 2:
            raise ValueError(f"picture and mask {number} do not fit together")
        if not 0 < mask.size <= _MOST_PIXELS or min(mask.shape) < 8:
            raise ValueError(f"picture {number} is of {mask.shape[0]}x{mask.shape[1]} pixels")
        frames.append(TargetFrame(pixels, mask))
    names = {int(i): str(name)[:_LONGEST_NAME] for i, name in facts["names"].items()}
    target = Target(tuple(frames), names)
    if not target.ids:
        raise ValueError("it shows no object")
    return replace(target, names={i: names.get(i, str(i)) for i in target.ids})


def join_targets(targets: Sequence[Target], used: Sequence[int] = ()) -> tuple[list[Target], dict[int, str]]:
    """Give each object of several targets an id of its own.

    Ids stay as they are where nothing before uses them; others get the lowest free id.

    Args:
        targets: in order of preference.
        used: ids of other objects.

    Returns:
        The targets with their new ids, and the name of each id.

    Raises:
        TargetError: there are more than 254 objects.
    """
    joined: list[Target] = []
    names: dict[int, str] = {}
    for target in targets:
        table, taken = np.arange(256, dtype=np.uint8), {*used, *names}
        for i in target.ids:
            new = i if i not in taken else next((n for n in range(1, VOID) if n not in taken | set(target.ids)), None)
            if new is None:
                raise TargetError("the targets hold more than 254 objects together; give fewer")
            table[i] = new
            taken.add(new)
            names[new] = target.names.get(i, str(i))
        frames = tuple(replace(frame, mask=table[frame.mask]) for frame in target.frames)
        joined.append(Target(frames, {int(table[i]): target.names.get(i, str(i)) for i in target.ids}))
    return joined, names
