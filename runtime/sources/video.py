"""Video files, cameras and network streams, decoded by FFmpeg's libraries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SourceError
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame


class VideoSource(Closing):
    """A video file, a pipe, a camera or a network stream (PyAV).

    Args:
        url: what FFmpeg opens.
        name: what errors call it, without credentials.
        live: whether frames come by themselves; then damaged packets are skipped, and reading gives up after `patience`.
        options: of FFmpeg.
        form: FFmpeg's name of the format, where it cannot be guessed.
        patience: seconds without data from a live source that end it.
        hwaccel: a decoder of this machine, such as `cuda` or `vaapi`; software where it is absent.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        live: bool,
        options: dict[str, str] | None = None,
        form: str | None = None,
        patience: float = 10.0,
        hwaccel: str | None = None,
    ) -> None:
        """Open it; SourceError when it is missing, unreadable or without pictures."""
        import av

        self.name, self.live = name, live
        self.damaged = 0
        """Packets of a live source that could not be decoded."""
        extra: dict[str, Any] = {}
        if hwaccel is not None:
            from av.codec.hwaccel import HWAccel

            extra["hwaccel"] = HWAccel(device_type=hwaccel, allow_software_fallback=True)
        timeout = (max(10.0, patience), patience) if live else None
        try:
            self._container = av.open(url, format=form, options=options or {}, timeout=timeout, **extra)
        except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
            raise SourceError(f"cannot open {name}: {reason(error)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{name} has no pictures (no video stream)")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "NONE" if live else "AUTO"
        rate = self._stream.average_rate
        self.fps = float(rate) if rate else None
        self.length = self._stream.frames or None
        self.finite = bool(self._container.duration)
        """Whether it says how long it is."""
        self._busy = threading.Lock()
        self._closing = False

    def __iter__(self) -> Iterator[Frame]:
        """Yield every frame, upright.

        Raises:
            SourceError: after the last good frame, when the file is damaged or shorter than it says.
        """
        import av

        index = 0
        pictures = self._pictures()
        try:
            while (picture := self._next(pictures)) is not None:
                yield Frame(_upright(picture), index, None if picture.time is None else float(picture.time))
                index += 1
        except (av.error.FFmpegError, OSError) as error:
            if self._closing:
                return
            what = "was lost" if self.live else "is damaged"
            raise SourceError(f"{self.name} {what} after {index} frames: {reason(error)}") from error
        if self._closing:
            return
        if index == 0:
            raise SourceError(f"{self.name} holds no readable frame")
        if self.length is not None and index < self.length and not self.live:
            raise SourceError(f"{self.name} is cut short: it says {self.length} frames and holds {index}")

    def close(self) -> None:
        """Close the file or device; a thread that reads from it just now closes it when it is done."""
        self._closing = True
        if self._busy.acquire(blocking=False):
            try:
                self._container.close()
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
                    self._container.close()

    def _pictures(self) -> Iterator[Any]:
        import av

        if not self.live:
            yield from self._container.decode(self._stream)
            return
        for packet in self._container.demux(self._stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                # What a lossy network leaves of a packet; the next key frame makes the picture whole.
                self.damaged += 1


def _upright(picture: Any) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
    turns = round(getattr(picture, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def reason(error: Exception) -> str:
    """An error in a few words; FFmpeg's own end with the address, which may hold a password."""
    return getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0].split(": '")[0]
