"""Which arithmetic is fastest on a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from crwedge.train.run_config import RunConfig

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Without these a processor emulates bfloat16, which takes many times as long as float32."""


def fastest_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """`bfloat16` where the device has instructions for it, else `float32`."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and not _flags().isdisjoint(_BFLOAT16) else "float32"


def resolved(config: RunConfig, device: torch.device) -> RunConfig:
    """The settings with `precision = "auto"` replaced by what is fastest here."""
    return replace(config, precision=fastest_precision(device)) if config.precision == "auto" else config


def _flags() -> set[str]:
    """Instruction sets of the first processor, as Linux names them; empty elsewhere."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
