"""Label maps drawn over the frames, as a film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from crwedge.core.errors import SinkError
from crwedge.core.films import file_url
from crwedge.core.images import resize_frame
from crwedge.core.labels import LabelMap
from crwedge.runtime.sinks.base import Sink
from crwedge.runtime.sinks.draw import draw
from crwedge.runtime.sinks.sound import SoundCopy

_TICKS = 90_000
"""Ticks a second of a video whose frames keep their own time stamps."""
_SLOWEST, _FASTEST = Fraction(1, 86_400), Fraction(1000)
"""Frames a second that an encoder is told; others are shown at their times all the same."""


class VideoSink(Sink):
    """Frames with their objects tinted or joints drawn, as fragmented mp4: playable to its last fragment if the process dies.

    Args:
        path: the file.
        fps: frames a second, where the frames' own time stamps are not used.
        timed: show each frame at its own time, so that a video with dropped frames is as long as what was filmed.
        pixel_aspect: width of a pixel over its height.
        sound: the film whose sound is copied; None for none.
        backwards: time stamps fall.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        timed: bool = False,
        *,
        pixel_aspect: Fraction | None = None,
        sound: Path | None = None,
        backwards: bool = False,
    ) -> None:
        """Nothing is created yet."""
        self.path, self.name, self.timed, self.pixel_aspect = path, str(path), timed, pixel_aspect
        self.rate = min(max(Fraction(fps).limit_denominator(100_000), _SLOWEST), _FASTEST)
        self._clock = _FrameClock(1 / float(self.rate), -1 if backwards else 1)
        self._sound_of = None if backwards else sound
        self._sound: SoundCopy | None = None
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._count = 0

    def write(self, labels: LabelMap) -> None:
        """One frame, scaled to the first one's size; SinkError when the label map carries no frame."""
        import av

        if labels.frame is None:
            raise SinkError(f"cannot draw {self.name}: the label map carries no frame")
        try:
            if self._container is None:
                # A frame without a stamp has no time of its own to be shown at.
                self.timed = self.timed and labels.pts is not None
                self._open(labels.frame.shape[0], labels.frame.shape[1])
            # Codecs for players need even sides; the last row or column of an odd frame is left out.
            drawn = resize_frame(draw(labels.frame, labels), self._size)
            frame = av.VideoFrame.from_ndarray(drawn[: self._stream.height, : self._stream.width], format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=self._colours)
            base = self._stream.codec_context.time_base
            seconds = self._clock(labels.pts) if self.timed else None
            frame.pts = self._count if seconds is None else round(seconds / base)
            frame.time_base = base
            self._count += 1
            if self._sound is not None and seconds is not None:
                self._sound.until(self._container, seconds + self._clock.origin, self._clock.origin)
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"cannot write {self.name}: {getattr(error, 'strerror', None) or error}") from error

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        import av

        if self._container is None:
            return
        try:
            if self._sound is not None:
                self._sound.close()
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"cannot finish {self.name}: {getattr(error, 'strerror', None) or error}") from error
        finally:
            self._container = None

    def _open(self, height: int, width: int) -> None:
        import av

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # flush_packets hands every fragment to the system at once, zerolatency keeps no frames back in the encoder.
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container = av.open(file_url(self.path, "wb"), "w", format="mp4", options=flags)
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._stream = self._container.add_stream(codec, rate=self.rate)
        self._size = (height, width)
        context = self._stream.codec_context
        context.time_base = Fraction(1, _TICKS) if self.timed else 1 / self.rate
        self._stream.height, self._stream.width = height // 2 * 2, width // 2 * 2
        self._stream.pix_fmt = "yuv420p"
        # Players guess the colours of a film without tags by its size, and guess differently.
        large = height >= 720
        self._colours = "ITU709" if large else "ITU601"
        context.color_range = 1
        context.colorspace, context.color_primaries, context.color_trc = (1, 1, 1) if large else (6, 6, 6)
        if self.pixel_aspect is not None:
            context.sample_aspect_ratio = self.pixel_aspect
        # A key frame each second: at most that much is lost when the power goes.
        self._stream.gop_size = max(1, round(float(self.rate)))
        if codec == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        else:
            self._stream.bit_rate = 4_000_000
        if self._sound_of is not None and self.timed:
            self._sound = SoundCopy(self._sound_of, self._container)


class _FrameClock:
    """When frames are shown: at their own times, each later than the one before.

    One falling stamp is an error of that frame. If the next one falls too, the stamps have restarted, and they continue
    from there.
    """

    def __init__(self, step: float, direction: int) -> None:
        self.origin = 0.0
        self._step, self._direction = step, direction
        self._shift: float | None = None
        self._last = 0.0
        self._behind = 0

    def __call__(self, pts: float | None) -> float:
        if self._shift is None:
            assert pts is not None
            self.origin = pts
            self._shift = -self._direction * pts
            return 0.0
        seconds = self._last + self._step if pts is None else self._direction * pts + self._shift
        self._behind = self._behind + 1 if seconds < self._last - 2 / _TICKS else 0
        if self._behind > 1:
            self._shift += self._last + self._step - seconds
            seconds, self._behind = self._last + self._step, 0
        self._last = max(seconds, self._last + 1 / _TICKS)
        return self._last
