"""Masks as polygons and back.

Coordinates are x, y in pixels; pixel (row, column) covers [column, column + 1] x [row, row + 1]. The outline of a mask runs
through the middles of the pixel sides between inside and outside. It keeps sqrt(2) / 4 = 0.354 away from the centre of every
pixel, so an outline that is simplified by less than that has the same pixel centres inside: `fill` gives back the same mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""(n, 2) x and y; closed, the first point is not repeated."""
TOLERANCE = 0.3
"""Pixels by which an outline may be simplified. The rest, up to 0.354, is left for rounding in files."""

_RIGHT = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(dy, dx) of the next pixel along the top, right, bottom and left side, when a pixel is walked around clockwise."""
_MIDDLES = ((0.0, 0.5), (0.5, 1.0), (1.0, 0.5), (0.5, 0.0))
"""(dy, dx) of the middle of each of these sides."""


def rings(mask: NDArray[np.bool_]) -> list[Points]:
    """Outlines of a mask (H, W), not simplified: clockwise around parts, counter-clockwise around holes.

    Pixels that touch at a corner alone are different parts.
    """
    inside = np.pad(np.asarray(mask, np.bool_), 1)
    width, count = inside.shape[1], inside.size
    flat = inside.reshape(-1)
    pixels = np.flatnonzero(flat)
    following: dict[int, int] = {}
    # Side d of pixel p is edge d * count + p. It leads on around the same pixel, to the neighbour ahead, or into the corner.
    for d, (dy, dx) in enumerate(_RIGHT):
        out_y, out_x = _RIGHT[(d - 1) % 4]
        beside = pixels + (out_y * width + out_x)
        edge = pixels[~flat[beside]]
        ahead = edge + (dy * width + dx)
        corner = ahead + (out_y * width + out_x)
        after = np.where(
            ~flat[ahead],
            (d + 1) % 4 * count + edge,
            np.where(~flat[corner], d * count + ahead, (d - 1) % 4 * count + corner),
        )
        following.update(zip((d * count + edge).tolist(), after.tolist(), strict=True))
    found = []
    while following:
        first, at = next(iter(following.items()))
        del following[first]
        ring = [first]
        while at != first:
            ring.append(at)
            at = following.pop(at)
        side, pixel = np.divmod(np.array(ring), count)
        middles = np.array(_MIDDLES)[side]
        y, x = pixel // width - 1 + middles[:, 0], pixel % width - 1 + middles[:, 1]
        found.append(np.stack((x, y), axis=1))
    return found


def parts(mask: NDArray[np.bool_], tolerance: float = TOLERANCE) -> list[Points]:
    """One polygon for each part of a mask (H, W); its holes are joined to the outline by a line that is passed twice.

    `fill` of the polygons is the mask, as long as `tolerance` is below 0.354.
    """
    found = rings(mask)
    areas = [signed_area(ring) for ring in found]
    outer = [i for i, area in enumerate(areas) if area > 0]
    joined = {i: simplify(found[i], tolerance) for i in outer}
    for hole in (i for i, area in enumerate(areas) if area < 0):
        around = [i for i in outer if areas[i] > -areas[hole] and contains(found[i], found[hole][0])]
        home = min(around, key=lambda i: areas[i])
        joined[home] = join(joined[home], simplify(found[hole], tolerance))
    return list(joined.values())


def one_polygon(mask: NDArray[np.bool_], tolerance: float = TOLERANCE) -> Points:
    """All of a mask (H, W) as one polygon: parts and holes are joined by lines that are passed twice."""
    found = parts(mask, tolerance)
    polygon = found[0]
    for part in found[1:]:
        polygon = join(polygon, part)
    return polygon


def join(a: Points, b: Points) -> Points:
    """Two polygons as one: there and back between their nearest points."""
    distances = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    i, j = np.unravel_index(int(distances.argmin()), distances.shape)
    return np.concatenate((a[: i + 1], b[j:], b[: j + 1], a[i:]))


def simplify(ring: Points, tolerance: float) -> Points:
    """A ring with fewer points (Ramer, Douglas and Peucker): those left out are within `tolerance` of the new ring."""
    if len(ring) < 4:
        return ring
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    closed = np.concatenate((ring, ring[:1]))
    keep = np.zeros(len(closed), np.bool_)
    keep[[0, far, len(ring)]] = True
    waiting = [(0, far), (far, len(ring))]
    while waiting:
        low, high = waiting.pop()
        if high - low < 2:
            continue
        distance = _distance(closed[low + 1 : high], closed[low], closed[high])
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = low + 1 + worst
            keep[middle] = True
            waiting += [(low, middle), (middle, high)]
    return closed[:-1][keep[:-1]]


def fill(polygons: Sequence[Points], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of the pixels whose centres lie in any of the polygons, each by the even-odd rule."""
    height, width = size
    mask = np.zeros(size, np.bool_)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        # Both directions of a line give the same numbers, so that a line that is passed twice leaves nothing.
        swap = (start[:, 1] > end[:, 1])[:, None]
        low, high = np.where(swap, end, start), np.where(swap, start, end)
        first = np.clip(np.ceil(low[:, 1] - 0.5), 0, height).astype(np.int64)
        last = np.clip(np.ceil(high[:, 1] - 0.5), 0, height).astype(np.int64)
        count = last - first
        edge = np.repeat(np.arange(len(polygon)), count)
        if not len(edge):
            continue
        row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        (xa, ya), (xb, yb) = low[edge].T, high[edge].T
        x = xa + (row + 0.5 - ya) * ((xb - xa) / (yb - ya))
        column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
        mask |= (np.cumsum(crossings, axis=1)[:, :-1] & 1).astype(np.bool_)
    return mask


def signed_area(ring: Points) -> float:
    """Area of a ring, positive when it is clockwise on the screen."""
    (x, y), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    return float((x * y1 - x1 * y).sum() / 2)


def contains(ring: Points, point: Points) -> bool:
    """Whether a point (2,) lies in a ring."""
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    crosses = (y0 > point[1]) != (y1 > point[1])
    at = x0[crosses] + (point[1] - y0[crosses]) * (x1[crosses] - x0[crosses]) / (y1[crosses] - y0[crosses])
    return bool(np.count_nonzero(at > point[0]) % 2)


def _distance(points: Points, a: Points, b: Points) -> NDArray[np.float64]:
    """Of points (n, 2) to the line from a to b, in pixels."""
    along = b - a
    length = float(along @ along)
    share = np.clip((points - a) @ along / length, 0, 1) if length else np.zeros(len(points))
    x, y = (points - a - share[:, None] * along).T
    return np.asarray(np.hypot(x, y), np.float64)
