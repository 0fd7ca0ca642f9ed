"""Pictures: one file, a folder, a glob."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.core.images import size_text
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class ImageSource(Closing):
    """Pictures of one size, in natural order of their names (2 before 10)."""

    live = False
    fps: float | None = None

    def __init__(self, paths: list[Path], name: str) -> None:
        """Sizes are checked as the pictures are read."""
        self.name = name
        self.paths = sorted(paths, key=lambda path: natural_key(path.name))
        self.length: int | None = len(paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every picture."""
        size: tuple[int, ...] | None = None
        for index, path in enumerate(self.paths):
            image = read_image(path)
            if size is not None and image.shape != size:
                raise SourceError(
                    f"{path} is {size_text(image.shape)} (height x width), the pictures before it {size_text(size)}; "
                    "a folder must hold one size"
                )
            size = image.shape
            yield Frame(image, index)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """A picture as RGB uint8 (H, W, 3), upright; SourceError when it cannot be read."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise SourceError(f"{path} cannot be read as a picture ({error})") from error


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts frame2 before frame10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
