"""The camera on a Jetson's ribbon cable, through the GStreamer elements that NVIDIA ships with the board."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping

import numpy as np

from crwedge.core.errors import SourceError
from crwedge.runtime.closing import Closing
from crwedge.runtime.sources.frame import Frame
from crwedge.runtime.sources.uri import camera_size

CAMERA = "nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),{caps} ! nvvidconv"
"""The pipeline up to plain memory; the image processor of the board does the work."""


class CsiSource(Closing):
    """Raw pictures from a `gst-launch-1.0` of its own, so that a driver that hangs can be ended.

    Args:
        number: of the sensor.
        options: `size` (height x width, 720x1280 by default) and `fps` (30).
        camera: the pipeline up to plain memory.
    """

    live = True
    length: int | None = None

    def __init__(self, number: str, options: Mapping[str, str], camera: str = CAMERA) -> None:
        """Start the pipeline; SourceError when the tools are missing."""
        launch = shutil.which("gst-launch-1.0")
        if launch is None:
            raise SourceError("csi:// needs gst-launch-1.0: apt-get install gstreamer1.0-tools")
        height, width = camera_size(options.get("size", "720x1280"))
        rate = float(options.get("fps", "30"))
        self.name, self._shape = f"csi://{number}", (height, width, 4)
        self.fps: float | None = rate
        caps = f"width={width},height={height},framerate={round(rate * 1000)}/1000"
        pipeline = f"{camera.format(number=number, caps=caps)} ! video/x-raw,format=RGBA ! fdsink fd=1"
        command = [launch, "-q", *pipeline.replace("!", " ! ").split()]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames, stamped with the time of their arrival."""
        assert self._process.stdout is not None
        size, index, start = int(np.prod(self._shape)), 0, time.monotonic()
        while len(data := self._process.stdout.read(size)) == size:
            image = np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(self._shape)[..., :3])
            yield Frame(image, index, time.monotonic() - start, time=time.time())
            index += 1
        if index == 0:
            raise SourceError(f"{self.name} delivers no picture; is a camera attached? (try gst-launch-1.0 directly)")

    def close(self) -> None:
        """End the pipeline."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
