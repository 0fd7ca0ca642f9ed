"""Video files, cameras and network streams, decoded by FFmpeg's libraries."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from crwedge.core.errors import SourceError
from crwedge.core.films import AnyFilm, open_film
from crwedge.core.upright import to_rgb
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame


class VideoSource(Closing):
    """A video file, a pipe, a camera or a network stream (PyAV).

    Args:
        url: a local file as a Path; text is what FFmpeg opens.
        name: what errors call it, without credentials.
        live: whether frames come by themselves; then damaged packets are skipped, reading gives up after `patience`, and
            frames are stamped by the clock: what cameras and their servers stamp is often invented.
        options: of FFmpeg.
        form: FFmpeg's name of the format, where it cannot be guessed.
        patience: seconds without data from a live source that end it.
        hwaccel: a decoder of this machine, such as `cuda` or `vaapi`; software where it is absent.
        stream: which of several video streams, from 0.
        skip_damaged: pass over packets of a file that cannot be decoded.
    """

    def __init__(
        self,
        url: str | Path,
        name: str,
        *,
        live: bool,
        options: dict[str, str] | None = None,
        form: str | None = None,
        patience: float = 10.0,
        hwaccel: str | None = None,
        stream: int | None = None,
        skip_damaged: bool = False,
    ) -> None:
        """Open it; SourceError when it is missing, unreadable or without pictures."""
        self.name, self.live = name, live
        extra: dict[str, Any] = {}
        if hwaccel is not None:
            from av.codec.hwaccel import HWAccel

            extra["hwaccel"] = HWAccel(device_type=hwaccel, allow_software_fallback=True)
        timeout = (max(10.0, patience), patience) if live else None
        self._open = partial(
            open_film,
            url,
            name,
            stream=stream or 0,
            threads="NONE" if live else "AUTO",
            skip_damaged=live or skip_damaged,
            format=form,
            options=options or {},
            timeout=timeout,
            **extra,
        )
        self._film: AnyFilm = self._open()
        if self._film.streams > 1 and stream is None:
            logging.getLogger("crwedge").warning(
                "note: %s has %d video streams; the first is read (#stream=1 takes the second)",
                name,
                self._film.streams,
            )
        self.path = url if isinstance(url, Path) else None
        """The file, where it is one."""
        self.fps = float(self._film.rate) if self._film.rate else None
        self.length = self._film.promised
        self.pixel_aspect = self._film.pixel_aspect
        """Width of a pixel over its height, where it is not square."""
        self.finite = self._film.finite
        """Whether its length is known."""
        self._busy = threading.Lock()
        self._closing = False

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded and were skipped."""
        return self._film.damaged

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame, upright.

        Raises:
            SourceError: after the last good frame, when the file is damaged or its end is missing.
        """
        index, begin = 0, time.monotonic()
        pictures = self._film.pictures()
        try:
            while (picture := self._next(pictures)) is not None:
                pts = None if picture.time is None else float(picture.time)
                now = time.monotonic() - begin
                yield Frame(to_rgb(picture), index, now if self.live else pts, time=time.time())
                index += 1
        except SourceError as error:
            if self._closing:
                return
            if self.live:
                raise SourceError(f"{self.name} was lost: {error}") from error
            raise
        if self._closing:
            return
        if index == 0:
            raise SourceError(f"{self.name} holds no readable frame")
        if not self.live:
            self._tell_of_damage()

    def _tell_of_damage(self) -> None:
        log = logging.getLogger("crwedge")
        if self.damaged:
            log.warning("note: %s: %d damaged packets were skipped", self.name, self.damaged)
        if self._film.concealed:
            log.warning("note: %s: %d frames are damaged; the decoder filled them in", self.name, self._film.concealed)

    def reopened(self) -> AnyFilm:
        """The film once more, to be read in another order; SourceError as when it was opened."""
        return self._open()

    def close(self) -> None:
        """Close the file or device; a thread that reads from it just now closes it when it is done."""
        self._closing = True
        if self._busy.acquire(blocking=False):
            try:
                self._film.close()
            finally:
                self._busy.release()

    def _next(self, pictures: Iterator[Any]) -> Any:
        """The next picture, or None at the end; the container is never closed under the decoder's feet."""
        with self._busy:
            if self._closing:
                return None
            try:
                return next(pictures, None)
            finally:
                if self._closing:
                    self._film.close()
