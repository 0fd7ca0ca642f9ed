"""Picture files that hold several pictures, as films."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.location import Where
from crwedge.core.pictures import image_to_rgb, open_image, white_of


class AnimatedPicture:
    """A picture file of several pictures, decoded by Pillow: animated WebP, PNG and AVIF, TIFF of several pages.

    Its pictures are what those of `Film` are, but for the class.
    """

    def __init__(self, where: Where, name: str | None = None) -> None:
        """Read its header; SourceError when it cannot be read."""
        self.where, self.name = where, str(where) if name is None else name
        self.damaged, self.concealed, self.streams, self.finite, self.origin = 0, 0, 1, True, 0.0
        self.pixel_aspect: Fraction | None = None
        with open_image(where) as image:
            self.promised: int | None = image.n_frames
            self.height, self.width = image.height, image.width
            times = [0.0]
            self._white: float | None = None
            for number in range(image.n_frames):
                image.seek(number)
                # WebP and AVIF tell how long a picture is shown when it is decoded.
                image.load()
                if (white := white_of(image, self.name)) is not None:
                    self._white = max(white, self._white or 0.0)
                times.append(times[-1] + (image.info.get("duration") or 0) / 1e3)
        self._stamped = times[-1] > 0
        self._times = times if self._stamped else [number / 25 for number in range(len(times))]
        self.seconds = self._times[-1]
        self.rate: Fraction | None = (len(times) - 1) / Fraction(self.seconds).limit_denominator(10_000)

    def pictures(self, start: float = 0.0) -> Iterator[Any]:
        """Its pictures, all of them: there is nothing to seek by."""
        with open_image(self.where) as image:
            for number in range(image.n_frames):
                image.seek(number)
                yield Pixels(image_to_rgb(image, self.name, self._white), self._times[number])

    def timed(self, start: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Pictures with their times."""
        yield from zip(self._times, self.pictures(), strict=False)

    def stamps(self) -> list[float]:
        """The times of all pictures."""
        return self._times[:-1]

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> AnimatedPicture:
        """The film itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""


class Pixels:
    """A picture that is decoded already."""

    def __init__(self, pixels: NDArray[np.uint8], time: float) -> None:
        self.pixels, self.time = pixels, time
        self.height, self.width = pixels.shape[:2]
