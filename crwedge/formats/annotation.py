"""Common parts of all annotation formats: the frames of one video with their objects."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.pictures import check_pixels

UNNAMED = "object"
"""The class of objects without a name, in formats where each object needs one."""
MOST_OBJECTS = 254
"""Object ids are 1 to 254."""


class FormatError(UserError):
    """An annotation cannot be read, or cannot be expressed in a format."""


@dataclass(frozen=True)
class Video:
    """The video that is annotated."""

    name: str = "video"
    """A name that is fit for a file."""
    fps: float | None = None
    """Frames a second, where known."""
    suffix: str = ".jpg"
    """Of the files of its frames."""

    def __post_init__(self) -> None:
        """Names come from untrusted files and become names of folders."""
        kept = "".join(c if c.isalnum() or c in "-_. " else "_" for c in self.name).strip(" .")
        object.__setattr__(self, "name", kept[:100] or "video")
        if not re.fullmatch(r"\.\w{1,10}", self.suffix):
            object.__setattr__(self, "suffix", ".jpg")


@dataclass(frozen=True)
class AnnotatedFrame:
    """One frame. An object without a pixel is outside; a frame that does not come is not annotated."""

    number: int
    """In the video, from 0."""
    ids: NDArray[np.uint8]
    """(H, W) object ids, 0 background, 255 void."""
    name: str | None = None
    """Of the frame's file without the suffix, where it has one."""
    time: float | None = None
    """Time stamp in seconds, where known."""

    def __post_init__(self) -> None:
        """Refuse names that are paths."""
        if self.name is not None and (not self.name or len(self.name) > 200 or not set(self.name).isdisjoint("/\\\0")):
            raise FormatError(f"frame {self.number} is called {self.name[:60]!r}, which is not a valid file name")

    @property
    def stem(self) -> str:
        """Name of the frame's file without the suffix: its own, or its number."""
        return self.name if self.name is not None else f"{self.number:05d}"


@dataclass(frozen=True)
class Annotation:
    """The tracks of one video."""

    video: Video
    size: tuple[int, int]
    """(H, W) of the frames in pixels."""
    frames: Callable[[], Iterator[AnnotatedFrame]]
    """Gives the frames in rising order of their numbers; may be called again."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Names of the objects that have one."""


class Writer(Protocol):
    """Writes one format into a folder."""

    def add(self, frame: AnnotatedFrame) -> None:
        """Write a frame; frames come in rising order of their numbers."""
        ...

    def close(self, names: Mapping[int, str]) -> None:
        """Write the rest.

        Args:
            names: of the objects that have one.
        """
        ...


def check_size(height: int, width: int, name: str) -> tuple[int, int]:
    """(H, W); FormatError where a side is missing, UserError where there are too many pixels."""
    if height < 1 or width < 1:
        raise FormatError(f"{name} does not say how large its frames are (height {height}, width {width})")
    check_pixels(height, width, name)
    return height, width


def check_ids(ids: NDArray[np.uint8], size: tuple[int, int] | None, where: str) -> tuple[int, int]:
    """The size of a frame's ids; FormatError where it differs from the frames before it, `size`."""
    found = ids.shape[0], ids.shape[1]
    if size is not None and found != size:
        raise FormatError(
            f"{where} is {found[0]}x{found[1]} (height x width), the frames before it {size[0]}x{size[1]}: "
            "an annotation has frames of one size"
        )
    return found


class Canvas:
    """Paints the objects of one frame after the other, and counts pixels that belong to several.

    Args:
        size: (H, W).
        name: of the file, for messages.
    """

    def __init__(self, size: tuple[int, int], name: str) -> None:
        self.size, self.name, self.overlaps = size, name, 0

    def paint(self, shapes: list[tuple[int, NDArray[np.bool_]]]) -> NDArray[np.uint8]:
        """Ids (H, W) of masks (H, W) with their ids; where they overlap the later one lies on top."""
        ids = np.zeros(self.size, np.uint8)
        for object_id, mask in shapes:
            self.overlaps += int(np.count_nonzero(ids[mask] != 0))
            ids[mask] = object_id
        return ids

    def report(self) -> None:
        """Report how ambiguous parts were read."""
        if self.overlaps:
            logging.getLogger("crwedge").warning(
                "note: %s: %s pixels belong to several objects; the later object is on top",
                self.name,
                f"{self.overlaps:,}",
            )
