"""NVIDIA's driver library itself, asked for the few things that PyCUDA cannot answer."""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache

from crwedge.runtime.backends.cuda.errors import LOST, NO_DRIVER, DeviceError, device_error


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(os.environ.get("CRWEDGE_LIBCUDA", "libcuda.so.1"))
    except OSError as error:
        raise DeviceError(NO_DRIVER) from error


def missing() -> str | None:
    """Why this machine has no NVIDIA driver, or None when it has one. CUDA is not started."""
    try:
        _library()
    except DeviceError as error:
        return str(error)
    return None


def start() -> None:
    """Start CUDA in this process. DeviceError with the driver's own number when it cannot: PyCUDA's errors have none."""
    if code := _library().cuInit(0):
        raise device_error(code, "start CUDA")


def lost_device(doing: str) -> DeviceError | None:
    """The error that lost the current context's device, if one has: the driver repeats it at every call."""
    code = _library().cuCtxSynchronize()
    return device_error(code, doing) if code in LOST else None


def bus_id(device: int = 0) -> str:
    """Where a GPU is on the PCI bus, by which other libraries of NVIDIA know it too."""
    start()
    handle, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    if code := _library().cuDeviceGet(ctypes.byref(handle), device):
        raise device_error(code, f"open GPU {device}")
    if code := _library().cuDeviceGetPCIBusId(text, len(text), handle):
        raise device_error(code, "ask where the GPU is")
    return text.value.decode()
