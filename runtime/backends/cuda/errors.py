"""What can go wrong with a device, each as one line that says how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from crwedge.core.errors import UserError


class DeviceError(UserError):
    """The NVIDIA device, its driver or its compiler cannot be used."""

    code = 0
    """The CUDA driver's number, where it gave one."""

    @property
    def lost(self) -> bool:
        """Whether this process can do nothing more on the device."""
        return self.code in LOST


FORKED = (
    "this process was forked after CUDA began, and CUDA does not survive a fork; open the tracker in the child, or "
    "start the child with multiprocessing's spawn"
)
NO_DRIVER = "libcuda.so.1 is missing: this machine has no NVIDIA driver (install it, or use --engine cpu)"

_RESULTS = {
    2: "out of device memory; use a smaller size or context (--set size=, context-length=), or end other programs on the GPU",
    3: FORKED,
    35: "the NVIDIA driver is too old for this CUDA; update the driver",
    46: "another process uses the GPU exclusively; end that process",
    100: "there is no NVIDIA GPU on this machine (or CUDA_VISIBLE_DEVICES hides it); use --engine cpu",
    101: "there is no NVIDIA GPU with that number",
    209: "the kernels were compiled for another GPU; delete the kernel cache so that they are compiled again",
    214: "the GPU's memory has an error that cannot be corrected (ECC); reset or replace the device",
    218: "the kernels were compiled by a newer CUDA than the driver knows; update the driver",
    222: "the kernels were compiled by a newer CUDA than the driver knows; update the driver",
    700: "a kernel reached outside of its memory, and the device is lost to this process; start again and report it",
    702: "a kernel ran too long and was stopped by the system; the device is lost to this process; start again",
    719: "a kernel failed and the device is lost to this process; start again and report it",
    803: "the NVIDIA driver and its libraries are of different versions; restart the machine",
    999: "the NVIDIA driver reports an unknown failure; restart the machine if it happens again",
}
LOST = frozenset({214, 700, 702, 710, 714, 715, 716, 717, 718, 719})
"""Results after which the process can do nothing more on the device."""


@contextlib.contextmanager
def quiet_when_lost() -> Iterator[None]:
    """For giving things back: the error that lost the device was raised already, and is the one to be read."""
    try:
        yield
    except DeviceError as error:
        if not error.lost:
            raise


def device_error(code: int, doing: str, name: str = "") -> DeviceError:
    """The error for a result of the CUDA driver.

    Args:
        code: the driver's number, not 0.
        doing: what was tried, as a verb with its object.
        name: the driver's own name of the result.
    """
    known = _RESULTS.get(code, f"the NVIDIA driver answered {name or 'an error'} ({code})")
    error = DeviceError(f"cannot {doing}: {known}")
    error.code = code
    return error
