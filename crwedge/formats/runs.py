"""Masks of single objects as files store them: run lengths and polygons, checked before anything is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.rle import rle_counts
from crwedge.formats.annotation import FormatError
from crwedge.formats.polygons import Points, fill

_FARTHEST = 1e6
"""Coordinates beyond it are not pixels."""


@dataclass(frozen=True)
class BoxRuns:
    """Run lengths along the rows of a box, zeros first: what CVAT writes."""

    left: int
    top: int
    width: int
    height: int
    runs: str
    """Numbers between commas."""

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W); what lies outside the frame is cut off. FormatError where the runs do not fill the box."""
        if not (0 < self.width <= 1 << 16 and 0 < self.height <= 1 << 16):
            raise FormatError(f"a mask has a box of {self.width} x {self.height} pixels")
        flat = alternate(parse_runs(self.runs), self.width * self.height)
        box, mask = flat.reshape(self.height, self.width), np.zeros(size, np.bool_)
        top, left = max(0, self.top), max(0, self.left)
        part = box[top - self.top :, left - self.left :][: max(0, size[0] - top), : max(0, size[1] - left)]
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> BoxRuns:
        """The runs of a mask (H, W) that is not empty."""
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        flat = np.concatenate(([False], box.reshape(-1)))
        edges = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]), [box.size]))
        runs = np.diff(edges).tolist()
        return cls(int(xs[0]), int(ys[0]), box.shape[1], box.shape[0], ", ".join(map(str, runs)))


@dataclass(frozen=True)
class CocoRuns:
    """COCO's run lengths, down the columns, as text or as numbers."""

    value: dict[str, Any]

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W). FormatError where they are of another size or damaged."""
        try:
            found = int(self.value["size"][0]), int(self.value["size"][1])
            counts = self.value["counts"]
            counts = rle_counts(counts) if isinstance(counts, str) else [int(c) for c in counts]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise FormatError(f"a segmentation has damaged run lengths ({error})") from error
        if found != size:
            raise FormatError(
                f"a segmentation is {found[0]}x{found[1]} (height x width), its frame {size[0]}x{size[1]}"
            )
        return alternate(counts, size[0] * size[1]).reshape((size[1], size[0])).T


@dataclass(frozen=True)
class Polygons:
    """Polygons, each filled by the even-odd rule, together one object."""

    points: tuple[Points, ...]

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W)."""
        return fill(self.points, size)


EncodedMask = BoxRuns | CocoRuns | Polygons


def polygon(numbers: Any) -> Points:
    """(n, 2) of x, y, x, y, ...; FormatError where they are not a polygon."""
    try:
        points = np.asarray(numbers, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise FormatError(f"a polygon has coordinates that are not pairs of numbers ({error})") from error
    if len(points) < 3:
        raise FormatError(f"a polygon has {len(points)} points; it needs three")
    if not (np.isfinite(points).all() and (np.abs(points) < _FARTHEST).all()):
        raise FormatError("a polygon has coordinates that are not pixels")
    return points


def parse_runs(text: str) -> list[int]:
    """`3, 5, 7` as numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise FormatError(f"a mask has damaged run lengths ({error})") from error


def alternate(counts: list[int], total: int) -> NDArray[np.bool_]:
    """(total,) of run lengths that begin with zeros; FormatError where they do not add up."""
    if any(count < 0 for count in counts) or sum(counts) != total:
        raise FormatError(f"the run lengths of a mask add up to {sum(counts)} pixels, not {total}: it is damaged")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)
