"""Where label maps go: a folder of palette PNG, an overlay video, JSON Lines, a window."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from crwedge.core.errors import SinkError
from crwedge.core.labels import LabelMap
from crwedge.core.masks import encode_rle, write_mask
from crwedge.core.need import need
from crwedge.runtime.draw import overlay


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


class _Closing:
    """What all sinks share. Nothing is created before the first write, so a run that fails at once leaves nothing."""

    name: str

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to finish."""

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(f"cannot write {self.name}: {error.strerror or error}")


class PngSink(_Closing):
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


class JsonLinesSink(_Closing):
    """One line a frame: index, pts, COCO run lengths of each id. Every line is handed to the system at once."""

    def __init__(self, path: Path) -> None:
        """Nothing is created yet."""
        self.path, self.name = path, str(path)
        self._file: IO[str] | None = None

    def write(self, labels: LabelMap) -> None:
        """One line."""
        objects = {str(i): encode_rle(labels.ids == i) for i in labels.object_ids}
        line = json.dumps({"index": labels.index, "pts": labels.pts, "objects": objects}, separators=(",", ":"))
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w", encoding="utf-8")
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class VideoSink(_Closing):
    """Frames with their objects tinted, as fragmented mp4: playable up to the last fragment if the process dies."""

    def __init__(self, path: Path, fps: float) -> None:
        """Nothing is created yet."""
        self.path, self.name, self.fps = path, str(path), fps
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)

    def write(self, labels: LabelMap) -> None:
        """One frame; SinkError when the label map carries no frame or another size."""
        import av

        if labels.frame is None:
            raise SinkError(f"cannot draw {self.name}: the label map carries no frame")
        try:
            if self._container is None:
                self._open(labels.frame.shape[0], labels.frame.shape[1])
            if labels.frame.shape[:2] != self._size:
                raise SinkError(f"cannot write {self.name}: the frame's size changed in mid-stream")
            # Codecs for players need even sides; the last row or column of an odd frame is left out.
            picture = overlay(labels.frame, labels.ids)[: self._stream.height, : self._stream.width]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = labels.index
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
        self._stream.height, self._stream.width = height // 2 * 2, width // 2 * 2
        self._stream.pix_fmt = "yuv420p"
        # A key frame each second: at most that much is lost when the power goes.
        self._stream.gop_size = max(1, round(self.fps))
        if codec == "libx264":
            self._stream.options = {"preset": "veryfast", "crf": "20", "tune": "zerolatency"}
        else:
            self._stream.bit_rate = 4_000_000


class WindowSink(_Closing):
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
            self._cv2.imshow("crwedge", overlay(labels.frame, labels.ids)[..., ::-1])
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


def open_sink(target: str | Path, fps: float | None = None, overwrite: bool = True) -> MaskSink:
    """Open a sink by its name.

    Args:
        target: `*.mp4`, `*.jsonl`, `window`, or a folder.
        fps: frames a second of a video; 25 when unknown.
        overwrite: whether results that stand there may be replaced.

    Raises:
        SinkError: it cannot be written, or results stand there.
    """
    if str(target) == "window":
        return WindowSink()
    path = Path(target)
    suffix = path.suffix.lower()
    if suffix in (".mp4", ".jsonl"):
        if path.is_dir():
            raise SinkError(f"{path} is a folder, not a file")
        if path.exists() and not overwrite:
            raise SinkError(f"{path} exists; choose another --out or give --overwrite")
        _check_writable(path)
        return VideoSink(path, fps or 25.0) if suffix == ".mp4" else JsonLinesSink(path)
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
    import os

    folder = path if path.is_dir() else path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"cannot write {path}: {folder} is not a folder that may be written to")
