"""The reader of all pictures: folders in natural order, every depth and mode as RGB uint8, errors of one line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import CrwedgeError, SourceError
from crwedge.core.images import resize_frame
from crwedge.core.location import (
    Where,
    is_file_or_lost,
    is_hidden,
    open_bytes,
    path_key,
    path_of,
    repeated_stem,
)

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".bw", ".dds", ".dib", ".icb", ".im", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg"),
    *(".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".ras", ".rgb"),
    *(".rgba", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm", ".xpm"),
)
"""Names of the pictures that Pillow decodes."""
MAX_PIXELS = 89_000_000
"""Larger pictures are refused: a file of a few kilobytes can claim any size."""

_WHITES = (255, 1023, 4095, 16383, 65535)
"""The largest value of 8, 10, 12, 14 and 16 bits, which cameras store in 16."""
_FLOAT_WHITES = (1.0, 255.0, 65535.0)
_ANIMATED = ("WEBP", "PNG", "TIFF", "AVIF", "GIF")
"""Formats of which several pictures in one file are a film; in others they are previews or depth maps."""
_PHOTOMETRIC = 262
"""Tag of TIFF: what a value means."""


def list_pictures(folder: Path) -> list[Path]:
    """Pictures of a folder in natural order, without hidden and system files.

    Raises:
        SourceError: the names of two pictures differ only in the suffix.
    """
    found = sorted((p for p in folder.iterdir() if is_picture(p) and is_file_or_lost(p)), key=path_key)
    check_stems(found)
    return found


def check_stems(paths: Sequence[Path]) -> None:
    """SourceError when the names of two pictures of a folder differ only in the suffix: one is a mask, or a copy."""
    folders: dict[Path, list[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path.name)
    for folder, names in folders.items():
        if (pair := repeated_stem(names)) is not None:
            raise SourceError(
                f"{folder} holds {pair[0]} and {pair[1]}: a folder of frames needs one picture a name; "
                f"move one kind away, or name the other ({folder}/*{os.path.splitext(pair[0])[1]})"
            )


def is_picture(path: Path) -> bool:
    """Whether its name is that of a picture, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path.name)


def is_animated(where: Where) -> bool:
    """Whether a picture file holds a film: an animated WebP, PNG, AVIF or GIF, or a TIFF of several pages."""
    try:
        with open_image(where) as image:
            return _is_film(image)
    except SourceError:
        return False


def begins_as_picture(where: Where) -> bool:
    """Whether a file, whatever it is called, begins like a kind of picture that may be animated and that Pillow decodes."""
    if not os.path.isfile(path_of(where)):
        # The first bytes of a pipe are lost to its next reader.
        return False
    try:
        with open_bytes(where) as file:
            head = file.read(12)
    except OSError:
        return False
    webp = head[:4] == b"RIFF" and head[8:] == b"WEBP"
    return webp or head[4:] in (b"ftypavif", b"ftypavis") or head[:4] in (b"\x89PNG", b"II*\0", b"MM\0*")


def read_picture(where: Where, short_side: int = 0, white: float | None = None) -> NDArray[np.uint8]:
    """A picture as RGB uint8 (H, W, 3), upright by its EXIF orientation.

    Alpha is dropped, grey is repeated. 16 bit and float pictures are scaled to 8 bit by their white.

    Args:
        where: the file, or a stretch of one.
        short_side: shrink to this shorter side; 0 keeps the size.
        white: the value of white of 16 bit and float pictures; by default the least of the usual ones that holds this
            picture's values. A sequence has one white: see `PictureSequence`.

    Raises:
        SourceError: it cannot be read, is animated, too large, or has values beyond `white`.
    """
    with open_image(where) as image:
        if _is_film(image):
            raise SourceError(f"{where} is animated: give it as a film of its own, or split it into pictures")
        if short_side and image.format == "JPEG":
            # JPEGs are decoded at a fraction of their size, which is several times faster.
            image.draft(None, (2 * short_side, 2 * short_side))
        frame = image_to_rgb(image, str(where), white)
    return resize_frame(frame, shrunk(frame.shape[0], frame.shape[1], short_side))


class PictureSequence:
    """The pictures of a clip, read with one white.

    Args:
        files: in order.
    """

    def __init__(self, files: Sequence[Where]) -> None:
        self.files = files
        self._white: float | None = None
        self._looked = False

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int, short_side: int = 0) -> NDArray[np.uint8]:
        """Picture number `index` as `read_picture` gives it."""
        if not self._looked:
            self._white, self._looked = self._find_white(), True
        return read_picture(self.files[index], short_side, self._white)

    def _find_white(self) -> float | None:
        """The largest white of a few pictures spread over the clip; None where pictures have 8 bit."""
        found: list[float] = []
        for index in np.unique(np.linspace(0, len(self.files) - 1, 5).astype(int)):
            try:
                with open_image(self.files[index]) as image:
                    if (white := white_of(image, str(self.files[index]))) is None:
                        return None
                    found.append(white)
            except SourceError:
                # It is told of when it is its turn.
                continue
        return max(found, default=None)


@lru_cache(maxsize=256)
def sequence_of(files: tuple[Where, ...]) -> PictureSequence:
    """The sequence of these files; cached."""
    return PictureSequence(files)


def shrunk(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(H, W) with the shorter side at most `short_side`; 0 keeps the size."""
    short = min(height, width)
    if not short_side or short <= short_side:
        return height, width
    return round(height * short_side / short), round(width * short_side / short)


def image_to_rgb(image: Any, name: str, white: float | None = None) -> NDArray[np.uint8]:
    """A Pillow picture as RGB uint8 (H, W, 3), upright; see `read_picture`."""
    from PIL import ImageOps

    # TIFF: 0 is white. Pillow turns 8 bit round, and no others.
    inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0
    image = ImageOps.exif_transpose(image)
    limit = white_of(image, name)
    if limit is None:
        return np.array(image.convert("RGB"))
    values = np.asarray(image)
    white = limit if white is None else white
    if limit > white:
        raise SourceError(
            f"{name} has values up to {values.max():g}, the pictures beside it up to {white:g}: scale all to 8 bit"
        )
    grey = np.rint(values.astype(np.float32) * np.float32(255 / white)).astype(np.uint8)
    if inverted:
        grey = 255 - grey
    return np.repeat(grey[..., None], 3, axis=2)


@contextmanager
def open_image(where: Where) -> Iterator[Any]:
    """A Pillow picture; every error of opening and of decoding within the block is one line.

    Pillow's readers raise whatever the damage leads to: ValueError, struct.error, IndexError and others.

    Raises:
        SourceError: the file is missing, no picture, damaged or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Not by its name: Pillow maps uncompressed TIFF files into memory then, and gets those that are turned wrong.
        with open_bytes(where) as file:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(file)
            with image:
                check_pixels(image.height, image.width, str(where))
                yield image
    except CrwedgeError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise SourceError(f"{where} has more than {MAX_PIXELS // 10**6} million pixels; shrink it first") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{where} cannot be read as a picture: {_unknown(where)}") from error
    except Exception as error:
        raise SourceError(f"{where} cannot be read as a picture ({one_line(error, str(where))})") from error


def _unknown(where: Where) -> str:
    if os.path.getsize(path_of(where)) == 0:
        return "it is empty"
    return "its format is unknown, or its beginning is damaged; save it as PNG or JPEG"


def check_pixels(height: int, width: int, name: str) -> None:
    """SourceError when a picture or film is larger than the limit."""
    if height * width > MAX_PIXELS:
        raise SourceError(
            f"{name} is {height}x{width} (height x width): more than {MAX_PIXELS // 10**6} million pixels; shrink it first"
        )


def one_line(error: BaseException, name: str = "") -> str:
    """An error in one line of plain words."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).replace(repr(name), "it").split())[:200]


def _is_film(image: Any) -> bool:
    return image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1


def white_of(image: Any, name: str) -> float | None:
    """The least of the usual whites that holds a picture's values; None where it has 8 bit.

    Raises:
        SourceError: its values are beyond all of them.
    """
    if not (image.mode == "F" or image.mode.startswith("I")):
        return None
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if np.isnan(low):
        raise SourceError(f"{name} has pixels that are not numbers (NaN): replace them first, for example by 0")
    whites: tuple[float, ...] = _FLOAT_WHITES if values.dtype.kind == "f" else _WHITES
    if not (low >= 0 and high <= whites[-1]):
        raise SourceError(
            f"{name} has values from {low:g} to {high:g}; a frame is 8 or 16 bit, or float from 0 to 1: scale it first"
        )
    return next(white for white in whites if high <= white)
