"""Power that a measurement draws: watts of the board or of the GPU, where a sensor is there."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from crwedge.runtime.ops.jetson import board_watts

ROOT = Path("/")
"""Where the board's files stand."""
_EVERY = 0.1
"""Seconds between two readings; the sensors themselves are not faster."""


@dataclass(frozen=True)
class Sensor:
    """A power sensor."""

    of: str
    """What they are the watts of: `board` (everything, as a Jetson tells it) or `GPU`."""
    read: Callable[[], float | None]


def find_sensor(on_gpu: bool) -> Sensor | None:
    """The board's monitor, else the NVIDIA GPU's if the work runs on it, else None: nothing is estimated."""
    root = ROOT
    if board_watts(root) is not None:
        return Sensor("board", lambda: board_watts(root))
    read = _gpu_reader() if on_gpu else None
    return None if read is None or read() is None else Sensor("GPU", read)


class Meter:
    """Reads a sensor in its own thread while the `with` block runs.

    Args:
        sensor: what is read; None reads nothing.
        every: seconds between two readings; there is one more at the end.
    """

    def __init__(self, sensor: Sensor | None, every: float = _EVERY) -> None:
        self.sensor, self._every = sensor, every
        self._readings: list[float] = []
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._seconds = 0.0

    def __enter__(self) -> Meter:
        self._begin = time.perf_counter()
        if self.sensor is not None:
            self._thread = threading.Thread(target=self._run, name="crwedge-power", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seconds = time.perf_counter() - self._begin
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def report(self, frames: int) -> dict[str, float | int | str]:
        """Mean watts, joules a frame and what they are of; empty where nothing could be read."""
        if self.sensor is None or not self._readings:
            return {}
        watts = sum(self._readings) / len(self._readings)
        return {
            "watts": round(watts, 3),
            "joules_a_frame": round(watts * self._seconds / frames, 4),
            "power_of": self.sensor.of,
            "power_readings": len(self._readings),
        }

    def _run(self) -> None:
        assert self.sensor is not None
        last = False
        while not last:
            # The reading at the end is taken too, so that a short measurement has one of its own.
            last = self._done.wait(self._every)
            watts = self.sensor.read()
            if watts is not None:
                self._readings.append(watts)


def _gpu_reader() -> Callable[[], float | None] | None:
    """Watts of the first GPU that CUDA names, from the management library that comes with NVIDIA's driver."""
    from crwedge.runtime.backends.cuda.errors import DeviceError
    from crwedge.runtime.backends.cuda.nvidia import bus_id

    try:
        nvml = ctypes.CDLL(os.environ.get("CRWEDGE_NVML", "libnvidia-ml.so.1"))
        place = bus_id()
        device = ctypes.c_void_p()
        # CUDA and this library number GPUs differently; their places on the bus are the same.
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByPciBusId_v2(place.encode(), ctypes.byref(device)):
            return None
        usage = nvml.nvmlDeviceGetPowerUsage
    except (OSError, AttributeError, DeviceError):
        return None

    def read() -> float | None:
        milliwatts = ctypes.c_uint()
        return None if usage(device, ctypes.byref(milliwatts)) else milliwatts.value / 1e3

    return read
