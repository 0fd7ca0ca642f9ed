"""One frame from whatever a program has: an array, a Pillow image, the path of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crwedge.core.images import check_frame
from crwedge.core.pictures import image_to_rgb, read_picture

if TYPE_CHECKING:
    from PIL import Image

PixelsLike: TypeAlias = "NDArray[np.uint8] | Image.Image | str | Path"


def pixels_of(item: Any) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3), C-contiguous, of an array of that form, a Pillow image of any mode or the path of a picture.

    Raises:
        SourceError: it is another thing, or cannot be read.
    """
    if isinstance(item, str | Path):
        return read_picture(Path(item))
    if hasattr(item, "convert"):  # a Pillow image; Pillow itself need not be imported to know
        item = image_to_rgb(item, "the picture")
    return check_frame(item)
