"""Label maps drawn over the frames, as a film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from crwedge.core.errors import SinkError
from crwedge.core.images import resize_frame
from crwedge.core.labels import LabelMap
from crwedge.runtime.sinks.base import Sink
from crwedge.runtime.sinks.draw import draw

_TICKS = 90_000
"""Ticks a second of a video whose frames keep their own time stamps."""


class VideoSink(Sink):
    """Frames with their objects tinted or joints drawn, as fragmented mp4: playable to its last fragment if the process dies.

    Args:
        path: the file.
        fps: frames a second, where the frames' own time stamps are not used.
        timed: show each frame at its own time, so that a video with dropped frames is as long as what was filmed.
    """

    def __init__(self, path: Path, fps: float, timed: bool = False) -> None:
        """Nothing is created yet."""
        self.path, self.name, self.fps, self.timed = path, str(path), fps, timed
        self._origin: float | None = None
        self._last = -1
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)

    def write(self, labels: LabelMap) -> None:
        """One frame, scaled to the first one's size; SinkError when the label map carries no frame."""
        import av

        if labels.frame is None:
            raise SinkError(f"cannot draw {self.name}: the label map carries no frame")
        try:
            if self._container is None:
                self._open(labels.frame.shape[0], labels.frame.shape[1])
            # Codecs for players need even sides; the last row or column of an odd frame is left out.
            drawn = resize_frame(draw(labels.frame, labels), self._size)
            frame = av.VideoFrame.from_ndarray(drawn[: self._stream.height, : self._stream.width], format="rgb24")
            frame.pts, frame.time_base = self._time(labels), self._stream.codec_context.time_base
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"cannot write {self.name}: {getattr(error, 'strerror', None) or error}") from error

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        import av

        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"cannot finish {self.name}: {getattr(error, 'strerror', None) or error}") from error
        finally:
            self._container = None

    def _time(self, labels: LabelMap) -> int:
        """When to show it, in ticks of the stream; always later than the one before."""
        if not self.timed or labels.pts is None:
            return self._rise(self._last + 1)
        if self._origin is None:
            self._origin = labels.pts
        return self._rise(round((labels.pts - self._origin) * _TICKS))

    def _rise(self, ticks: int) -> int:
        self._last = max(ticks, self._last + 1)
        return self._last

    def _open(self, height: int, width: int) -> None:
        import av

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # flush_packets hands every fragment to the system at once, zerolatency keeps no frames back in the encoder.
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container = av.open(str(self.path), "w", format="mp4", options=flags)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        rate = Fraction(self.fps).limit_denominator(1001)
        self._stream = self._container.add_stream(codec, rate=rate)
        self._size = (height, width)
        self._stream.codec_context.time_base = Fraction(1, _TICKS) if self.timed else 1 / rate
        self._stream.height, self._stream.width = height // 2 * 2, width // 2 * 2
        self._stream.pix_fmt = "yuv420p"
        # A key frame each second: at most that much is lost when the power goes.
        self._stream.gop_size = max(1, round(self.fps))
        if codec == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        else:
            self._stream.bit_rate = 4_000_000
