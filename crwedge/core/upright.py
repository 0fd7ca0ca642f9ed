"""Decoded pictures of films as RGB, the way up in which they are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.animated import Pixels
from crwedge.core.images import resize_frame
from crwedge.core.pictures import check_pixels, shrunk


def to_rgb(picture: Any, short_side: int = 0) -> NDArray[np.uint8]:
    """A decoded picture as RGB uint8 (H, W, 3): turned and mirrored as it is shown, shrunk to `short_side` (0: kept).

    Pixels that are not square stay as they are stored, so that masks fit the frames that other tools write.

    Raises:
        SourceError: it has more pixels than anything that is worked with.
    """
    if isinstance(picture, Pixels):
        return resize_frame(picture.pixels, shrunk(picture.height, picture.width, short_side))
    # The size may change within a film.
    check_pixels(picture.height, picture.width, f"the picture at {picture.time or 0:.2f} s of the film")
    height, width = shrunk(picture.height, picture.width, short_side)
    if (height, width) == (picture.height, picture.width):
        image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
    else:
        small = picture.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
        image = np.asarray(small.to_ndarray(), np.uint8)
    return upright(image, display_matrix(picture))


def display_matrix(picture: Any) -> tuple[int, int, int, int] | None:
    """a, b, c, d of a picture's display matrix: it is shown with (x, y) at (a x + c y, b x + d y); None where it has none."""
    data = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).tolist()
    return a, b, c, d


def upright(image: NDArray[np.uint8], matrix: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """Turn by quarters and mirror (H, W, 3) as a display matrix says."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(b) > abs(a):
        image, x, y = image.transpose(1, 0, 2), c, b
    else:
        x, y = a, d
    return np.ascontiguousarray(image[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1])
