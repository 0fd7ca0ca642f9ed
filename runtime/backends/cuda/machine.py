"""Which driver a machine's GPU is used through."""

from __future__ import annotations

from crwedge.core.errors import MissingExtraError
from crwedge.runtime.backends.cuda.driver import Driver
from crwedge.runtime.backends.cuda.libcuda import LibCuda
from crwedge.runtime.backends.cuda.pycuda_driver import PyCuda


def open_driver(device: int = 0) -> Driver:
    """The first GPU, through PyCUDA where it is installed, else through libcuda.so.1 alone.

    Raises:
        DeviceError: one line that says why there is none.
    """
    try:
        return PyCuda(device)
    except MissingExtraError:
        return LibCuda(device)
