"""The kernels' source and the variants it is compiled in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
KERNELS = ("attention.cu", "frames.cu")
HEADERS = ("portable.cuh", "tensor.cuh")
TENSOR_CHANNELS = (32, 64, 128, 256)
"""Widths of features that the tensor variant is compiled for: a warp keeps 32 queries of all channels in registers."""


@dataclass(frozen=True)
class Variant:
    """One way to compile the kernels."""

    tensor: bool
    """Similarities on tensor cores, for compute capability 8.0 and later; plain loops otherwise."""
    channels: int = 256
    """C, fixed in the tensor variant; the plain one takes any."""
    row_warps: int = 2
    """A tile is 4 x row_warps cells high and 8 wide; 4 reads fewer keys for each query and takes more shared memory."""

    @property
    def defines(self) -> tuple[str, ...]:
        """Options for every compiler."""
        return (
            f"-DCRWEDGE_TENSOR={int(self.tensor)}",
            f"-DCHANNELS={self.channels}",
            f"-DROW_WARPS={self.row_warps}",
        )

    @property
    def threads(self) -> int:
        """Threads of a block of `topk_attention`."""
        return 64 * self.row_warps

    @property
    def tile(self) -> tuple[int, int]:
        """Cells of a tile: (rows, columns)."""
        return 4 * self.row_warps, 8


def choose_variant(capability: tuple[int, int], channels: int, row_warps: int = 4) -> Variant:
    """The variant for a device of this compute capability and features of `channels`."""
    if capability >= (8, 0) and channels in TENSOR_CHANNELS:
        return Variant(True, channels, row_warps)
    return Variant(False, channels, 2)


@lru_cache(maxsize=1)
def source_hash() -> str:
    """SHA-256 of all that the kernels are compiled from."""
    digest = hashlib.sha256()
    for name in (*KERNELS, *HEADERS):
        digest.update(name.encode() + b"\0" + (FOLDER / name).read_bytes() + b"\0")
    return digest.hexdigest()
