"""Moments of videos for training: what the one reader of films gives, at the times and sizes that clips need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.containers import is_cut_short
from crwedge.core.errors import SourceError
from crwedge.core.films import AnyFilm, open_film
from crwedge.core.location import Location
from crwedge.core.pictures import one_line
from crwedge.core.upright import to_rgb


@dataclass(frozen=True)
class VideoFacts:
    """What the index keeps of a video."""

    seconds: float
    """From the first frame to the end of the last."""
    rate: float
    """Mean frames a second."""
    height: int
    width: int


def probe_video(location: Location) -> VideoFacts:
    """Duration and size, from the header where it says so, else by reading the packets without decoding.

    The header of a file that breaks off promises what is not there, so its packets are read too.

    Raises:
        SourceError: not a readable video with at least one frame.
    """
    with _opened(location) as film:
        rate, seconds = float(film.rate or 25), film.seconds
        if not seconds or not film.width or is_cut_short(location):
            times = film.stamps()
            if not times:
                raise SourceError("it holds no frames")
            seconds = times[-1] - times[0] + 1 / rate
            rate = max(len(times) / seconds, 1e-6)
        return VideoFacts(seconds, rate, film.height, film.width)


def video_frames(location: Location, short_side: int, rate: float) -> Iterator[NDArray[np.uint8]]:
    """Yield the whole video at `rate` frames a second at most: RGB uint8 (H, W, 3), shrunk to `short_side`.

    Raises:
        SourceError: the file cannot be decoded (any further).
    """
    due = 0.0
    with _opened(location) as film:
        for seconds, picture in _decoded(film, 0.0):
            if seconds + 1e-3 >= due:
                due = max(due + 1 / rate, seconds)
                yield to_rgb(picture, short_side)


def video_clip(location: Location, times: Sequence[float], short_side: int) -> list[NDArray[np.uint8]]:
    """The frames that are on display at the given rising times (seconds): RGB uint8 (H, W, 3), shrunk to `short_side`.

    Raises:
        SourceError: nothing can be decoded there.
    """
    wanted = list(times)
    chosen: list[Any] = []
    last: Any = None
    with _opened(location) as film:
        try:
            for seconds, picture in _decoded(film, wanted[0]):
                while len(chosen) < len(wanted) and last is not None and seconds > wanted[len(chosen)] + 1e-4:
                    chosen.append(last)
                last = picture
                if len(chosen) == len(wanted):
                    break
        except SourceError:
            # A file that breaks off shows its last picture until the end of what was asked for.
            if last is None:
                raise
        if last is None:
            raise SourceError("no frame can be decoded")
        chosen += [last] * (len(wanted) - len(chosen))
        pictures: dict[int, NDArray[np.uint8]] = {}
        for picture in chosen:
            if id(picture) not in pictures:
                pictures[id(picture)] = to_rgb(picture, short_side)
        return [pictures[id(picture)] for picture in chosen]


def _opened(location: Location) -> AnyFilm:
    """A film that is decoded by few threads: workers decode side by side."""
    try:
        return open_film(location, threads="SLICE", skip_damaged=True)
    except SourceError as error:
        raise SourceError(str(error).replace(str(location), "it").replace("cannot open it: ", "")) from error


def _decoded(film: AnyFilm, start: float) -> Iterator[tuple[float, Any]]:
    try:
        yield from film.timed(start)
    except SourceError as error:
        raise SourceError(str(error).replace(film.name, "it")) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(one_line(error)) from error
