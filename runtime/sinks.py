"""Where label maps go: a folder of palette PNG, an overlay video, JSON Lines, a window."""

from __future__ import annotations

import itertools
import json
import os
import stat
import sys
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from crwedge.core.errors import SinkError
from crwedge.core.images import resize_frame
from crwedge.core.joints import FrameJoints
from crwedge.core.labels import LabelMap
from crwedge.core.masks import encode_rle, write_mask
from crwedge.core.need import need
from crwedge.runtime.closing import Closing
from crwedge.runtime.draw import draw

_TICKS = 90_000
"""Ticks a second of a video whose frames keep their own time stamps."""


class MaskSink(Protocol):
    """A context manager that takes label maps in order."""

    name: str

    def write(self, labels: LabelMap) -> None:
        """Take one; SinkError when it cannot be written."""
        ...

    def close(self) -> None:
        """Finish what was begun."""
        ...

    def __enter__(self) -> MaskSink:
        """The sink itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        ...


class _Sink(Closing):
    """What all sinks share. Nothing is created before the first write, so a run that fails at once leaves nothing."""

    name: str

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(f"cannot write {self.name}: {error.strerror or error}")


class PngSink(_Sink):
    """`00000.png`, `00001.png`, ... in a folder; each is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Nothing is created yet."""
        self.folder, self.name = folder, str(folder)

    def write(self, labels: LabelMap) -> None:
        """One palette PNG, value = object id."""
        try:
            if labels.index == 0 or not self.folder.is_dir():
                self.folder.mkdir(parents=True, exist_ok=True)
            write_mask(self.folder / f"{labels.index:05d}.png", labels.ids)
        except OSError as error:
            raise self._failed(error) from error


class JsonLinesSink(_Sink):
    """One line a frame: index, pts, COCO run lengths of each id. Every line is handed to the system at once.

    Args:
        path: the file; None for standard output.
        resume_at: keep the lines of the frames before this one, which stand there already.
    """

    def __init__(self, path: Path | None, resume_at: int | None = None) -> None:
        """Nothing is created yet."""
        self.path, self.name = path, "standard output" if path is None else str(path)
        self._resume_at = resume_at
        self._file: int | None = None
        self._end = 0

    def write(self, labels: LabelMap) -> None:
        """One line. A disk that fills up leaves whole lines only; BrokenPipeError when the reader of a pipe is gone."""
        data = (json.dumps(frame_facts(labels), separators=(",", ":")) + "\n").encode()
        if self.path is None:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        try:
            if self._file is None:
                self._file = self._open(self.path)
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
            self._end += len(data)
        except OSError as error:
            if self._file is not None and stat.S_ISREG(os.fstat(self._file).st_mode):
                os.ftruncate(self._file, self._end)
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._resume_at is None or not path.is_file():
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        with path.open("rb") as file:
            for line in file:
                # A kill may have cut the last line; lines from the snapshot on are written again.
                if not line.endswith(b"\n") or json.loads(line)["index"] >= self._resume_at:
                    break
                self._end += len(line)
        descriptor = os.open(path, os.O_WRONLY)
        os.ftruncate(descriptor, self._end)
        os.lseek(descriptor, self._end, os.SEEK_SET)
        return descriptor


def frame_facts(labels: LabelMap) -> dict[str, Any]:
    """What a line of JSON says of a frame: index, pts and frame number of the source, and each object's RLE.

    `states` and `confidence` are there when they are known. Where joints are followed, `joints` stands in place of all
    three: by name, x and y in pixels of the frame and the confidence, or null for one that is not to be found.
    """
    facts: dict[str, Any] = {"index": labels.index, "pts": labels.pts}
    if labels.source_index is not None:
        facts["frame"] = labels.source_index
    if labels.joints is not None:
        facts["joints"] = joint_facts(labels.joints)
        return facts
    facts["objects"] = {str(i): encode_rle(labels.ids == i) for i in labels.object_ids}
    if labels.states:
        facts["states"] = {str(i): state for i, state in labels.states.items()}
    if labels.confidence:
        facts["confidence"] = {str(i): round(value, 4) for i, value in labels.confidence.items()}
    return facts


def joint_facts(joints: FrameJoints) -> dict[str, dict[str, float] | None]:
    """By name: x and y in pixels, rounded to hundredths, and the confidence; null for a joint without a place."""
    trust = joints.confidence if joints.confidence is not None else [None] * len(joints.names)
    facts: dict[str, dict[str, float] | None] = {}
    for name, (x, y), seen, value in zip(joints.names, joints.xy, joints.visible, trust, strict=True):
        place = {"x": round(float(x), 2), "y": round(float(y), 2)}
        known = {} if value is None else {"confidence": round(float(value), 4)}
        facts[name] = {**place, **known} if seen else None
    return facts


class VideoSink(_Sink):
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


class WindowSink(_Sink):
    """A window on the screen; closing it or pressing q or Escape ends the stream."""

    name = "window"

    def __init__(self) -> None:
        """MissingExtraError without OpenCV."""
        self._cv2 = need("cv2", extra="window")
        self._shown = False

    def write(self, labels: LabelMap) -> None:
        """Show one frame; raises StopStream when the person closes the window."""
        if labels.frame is None:
            raise SinkError("cannot draw into a window: the label map carries no frame")
        try:
            self._cv2.imshow("crwedge", draw(labels.frame, labels)[..., ::-1])
            key = self._cv2.waitKey(1) & 0xFF
            closed = self._shown and self._cv2.getWindowProperty("crwedge", self._cv2.WND_PROP_VISIBLE) < 1
        except self._cv2.error as error:
            raise SinkError("cannot open a window: no screen, or an OpenCV without one (opencv-python has)") from error
        self._shown = True
        if closed or key in (27, ord("q")):
            raise StopStream

    def close(self) -> None:
        """Close the window."""
        if self._shown:
            self._cv2.destroyAllWindows()
            self._shown = False


class StopStream(Exception):  # noqa: N818 - no error: a person asked for the end
    """Raised by a sink to end the stream in good order."""


def open_sink(
    target: str | Path,
    fps: float | None = None,
    overwrite: bool = True,
    resume_at: int | None = None,
    timed: bool = False,
) -> MaskSink:
    """Open a sink by its name.

    Args:
        target: `*.mp4`, `*.jsonl`, `-` (JSON Lines on standard output), `mqtt://host/topic`, `window`, or a folder.
        fps: frames a second of a video; 25 when unknown.
        overwrite: whether results that stand there may be replaced.
        resume_at: go on with results that stand there, from this frame on. A video cannot be gone on with: a new one
            with a number in its name is begun.
        timed: show the frames of a video at their own time stamps.

    Raises:
        SinkError: it cannot be written, or results stand there.
    """
    if str(target) == "window":
        return WindowSink()
    if str(target) == "-":
        return JsonLinesSink(None)
    if str(target).startswith(("mqtt://", "mqtts://")):
        from crwedge.runtime.mqtt import MqttSink

        return MqttSink(str(target))
    path = Path(target)
    suffix = path.suffix.lower()
    overwrite = overwrite or resume_at is not None
    if suffix == ".mp4" and resume_at is not None:
        path = _next_free(path)
    if suffix in (".mp4", ".jsonl"):
        if path.is_dir():
            raise SinkError(f"{path} is a folder, not a file")
        if path.exists() and not overwrite:
            raise SinkError(f"{path} exists; choose another --out or give --overwrite")
        _check_writable(path)
        return VideoSink(path, fps or 25.0, timed) if suffix == ".mp4" else JsonLinesSink(path, resume_at)
    if suffix and not path.is_dir():
        raise SinkError(f"--out {target}: no output of kind {suffix}; give a folder, *.mp4, *.jsonl or window")
    if path.exists() and not path.is_dir():
        raise SinkError(f"{path} is a file, not a folder")
    if path.is_dir() and not overwrite and any(path.glob("[0-9]*.png")):
        raise SinkError(f"{path} already holds masks; choose another --out or give --overwrite")
    _check_writable(path)
    return PngSink(path)


def _check_writable(path: Path) -> None:
    """Refuse early what cannot be written; the nearest folder that exists decides."""
    folder = path if path.is_dir() else path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"cannot write {path}: {folder} is not a folder that may be written to")


def _next_free(path: Path) -> Path:
    """`o.mp4`, or `o-1.mp4`, `o-2.mp4`, ...: the first that does not exist."""
    names = itertools.chain((path,), (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(1)))
    return next(name for name in names if not name.exists())
