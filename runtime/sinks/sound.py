"""The sound of a film, copied beside the pictures of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crwedge.core.films import file_url

_CODECS = ("aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus")
"""What players expect in an mp4."""


class SoundCopy:
    """Packets of the first sound of a file, as they are, in step with the pictures.

    Args:
        path: the film that the sound is of.
        output: an open container, to which nothing was written yet.
    """

    def __init__(self, path: Path, output: Any) -> None:
        import av

        self._input: Any = None
        self._packets: Any = iter(())
        self._waiting: Any = None
        try:
            self._input = av.open(file_url(path), mode="r")
            found = [
                s for s in self._input.streams.audio if s.codec_context is not None and s.codec_context.name in _CODECS
            ]
            if found:
                self._stream = output.add_stream_from_template(found[0])
                self._packets = self._input.demux(found[0])
        except (av.error.FFmpegError, OSError, ValueError):
            # The pictures are what counts; a film without readable sound is silent.
            self._packets = iter(())

    def until(self, output: Any, seconds: float, origin: float) -> None:
        """Write the packets from `origin` to `seconds`, both in time of the film."""
        import av

        while True:
            try:
                packet = self._waiting or next(self._packets, None)
            except (av.error.FFmpegError, OSError):
                packet = None
            self._waiting = None
            if packet is None:
                self._packets = iter(())
                return
            if packet.pts is None or packet.dts is None:
                continue
            at = float(packet.pts * packet.time_base)
            if at > seconds:
                self._waiting = packet
                return
            if at < origin:
                continue
            shift = round(origin / float(packet.time_base))
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = self._stream
            output.mux(packet)

    def close(self) -> None:
        """Close the film."""
        if self._input is not None:
            self._input.close()
