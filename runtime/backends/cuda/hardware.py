"""What is built into this machine, driver or not."""

from __future__ import annotations

import os
from pathlib import Path

_NVIDIA = "0x10de"
"""NVIDIA's number on the PCI bus."""
_TEGRA = "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu"
"""Devices of a Jetson's GPU, which is on no PCI bus."""


def nvidia_gpu(root: Path = Path("/")) -> bool:
    """Whether there is an NVIDIA GPU, as far as Linux tells; `root` is where its file systems begin."""
    if any(os.path.exists(root / name.lstrip("/")) for name in _TEGRA):
        return True
    for device in root.glob("sys/bus/pci/devices/*"):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _NVIDIA and kind.startswith("0x03"):  # a display or 3D controller
            return True
    return False
