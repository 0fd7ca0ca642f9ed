"""Pictures: one file, a folder, a glob."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from crwedge.core.errors import SourceError
from crwedge.core.images import size_text
from crwedge.core.location import path_key, repeated_stem
from crwedge.core.pictures import PictureSequence, check_stems
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame


class ImageSource(Closing):
    """Pictures of one size, in natural order of their names (2 before 10).

    Frames carry the names of their files, so that masks can be called the same. Pictures of several folders that share
    names are numbered instead.

    Args:
        paths: the files, in any order.
        name: what errors call them.

    Raises:
        SourceError: a folder holds one name twice, as `1.jpg` and `1.png`.
    """

    live = False
    fps: float | None = None
    pixel_aspect = None

    def __init__(self, paths: list[Path], name: str) -> None:
        """Sizes are checked as the pictures are read."""
        self.name = name
        self.paths = sorted(paths, key=path_key)
        check_stems(self.paths)
        self.length: int | None = len(paths)
        self._named = repeated_stem(path.name for path in self.paths) is None
        self._pictures = PictureSequence(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        """Yield every picture."""
        return self.frames(range(len(self.paths)))

    def frames(self, numbers: range) -> Iterator[Frame]:
        """Yield the pictures of these numbers."""
        size: tuple[int, ...] | None = None
        for index in numbers:
            path, image = self.paths[index], self._pictures.read(index)
            if size is not None and image.shape != size:
                raise SourceError(
                    f"{path} is {size_text(image.shape)} (height x width), the pictures before it {size_text(size)}; "
                    "a folder must hold one size"
                )
            size = image.shape
            yield Frame(image, index, name=self.name_of(index), time=time.time())

    def name_of(self, number: int) -> str | None:
        """Name of a picture's file without the suffix; None where several have one name."""
        return self.paths[number].stem if self._named else None
