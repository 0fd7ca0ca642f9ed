"""Facts about a Jetson: board, JetPack, power mode, clocks, temperature and watts, from the board's files."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

_JETPACK = {"36.3": "6.0", "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1", "38.2": "7.0"}
"""JetPack version of each known Jetson Linux release."""


@dataclass(frozen=True)
class JetsonFacts:
    """Everything that is None could not be read."""

    board: str
    """The board's own name."""
    linux: str | None = None
    """Jetson Linux (L4T) release, `36.4.3`."""
    jetpack: str | None = None
    """JetPack that goes with it."""
    power_mode: str | None = None
    """Name of the power mode, `MAXN`."""
    gpu_mhz: int | None = None
    """Clock of the GPU now."""
    gpu_max_mhz: int | None = None
    """The most it may reach in this power mode."""
    cpu_mhz: int | None = None
    """Clock of the first processor now."""
    cuda: str | None = None
    """CUDA toolkit."""
    tensorrt: str | None = None
    """TensorRT libraries."""
    temperature_c: float | None = None
    """The hottest zone."""
    watts: float | None = None
    """Watts that the whole board draws at present."""

    def lines(self) -> list[str]:
        """One line for each fact that is known, for `crwedge doctor`."""
        units = {"gpu_mhz": " MHz", "gpu_max_mhz": " MHz", "cpu_mhz": " MHz", "temperature_c": " C", "watts": " W"}
        found = [(item.name, getattr(self, item.name)) for item in fields(self)]
        return [
            f"jetson {name.removesuffix('_mhz').removesuffix('_c').replace('_', ' ')}: {value}{units.get(name, '')}"
            for name, value in found
            if value is not None
        ]


def read_jetson(root: Path = Path("/")) -> JetsonFacts | None:
    """The facts of the Jetson whose files stand under `root`, or None where it is not a Jetson."""
    board = _text(root / "proc/device-tree/model")
    release = _text(root / "etc/nv_tegra_release")
    if release is None and not (board and "jetson" in board.lower()):
        return None
    linux = _linux(release)
    gpu = next(iter(sorted((root / "sys/class/devfreq").glob("*gpu*"))), None) or next(
        iter(sorted((root / "sys/class/devfreq").glob("*.g[pv]*"))), None
    )
    return JetsonFacts(
        board=board or "unknown Jetson",
        linux=linux,
        jetpack=_jetpack(linux),
        power_mode=_power_mode(root),
        gpu_mhz=_scaled(gpu and gpu / "cur_freq", 1e6),
        gpu_max_mhz=_scaled(gpu and gpu / "max_freq", 1e6),
        cpu_mhz=_scaled(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e3),
        cuda=_cuda(root),
        tensorrt=_tensorrt(root),
        temperature_c=_hottest(root),
        watts=board_watts(root),
    )


def board_watts(root: Path = Path("/")) -> float | None:
    """What the board draws now, in watts, from its power monitor; None where it has none.

    The monitor has a line for the board's input (VDD_IN, or VIN_SYS_5V0 and the like on others), in millivolts and
    milliamperes; lines inside the board are parts of it and are not added.
    """
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for label in sorted(monitor.glob("in*_label")):
            if (_text(label) or "").upper().startswith(("VDD_IN", "VIN")):
                number = label.name[2:-6]
                volts, amperes = _number(monitor / f"in{number}_input"), _number(monitor / f"curr{number}_input")
                if volts is not None and amperes is not None:
                    return round(volts * amperes / 1e6, 3)
    return None


def _text(path: Path | None) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n") if path else None
    except OSError:
        return None


def _number(path: Path | None) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None


def _scaled(path: Path | None, unit: float) -> int | None:
    value = _number(path)
    return None if value is None else round(value / unit)


def _linux(release: str | None) -> str | None:
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release or "")
    return f"{found[1]}.{found[2]}" if found else None


def _jetpack(linux: str | None) -> str | None:
    known = [prefix for prefix in _JETPACK if linux and f"{linux}.".startswith(f"{prefix}.")]
    return _JETPACK[max(known, key=len)] if known else None


def _power_mode(root: Path) -> str | None:
    # nvpmodel keeps the number of the mode in one file and what the numbers mean in another.
    found = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    if not found:
        return None
    number = int(found[1])
    table = _text(root / "etc/nvpmodel.conf") or ""
    for mode in re.finditer(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", table):
        if int(mode[1]) == number:
            return mode[2]
    return f"mode {number}"


def _cuda(root: Path) -> str | None:
    found = re.search(
        r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', _text(root / "usr/local/cuda/version.json") or ""
    )
    return found[1] if found else None


def _tensorrt(root: Path) -> str | None:
    names = sorted(path.name for path in (root / "usr/lib/aarch64-linux-gnu").glob("libnvinfer.so.*.*.*"))
    return names[-1].removeprefix("libnvinfer.so.") if names else None


def _hottest(root: Path) -> float | None:
    zones = [_number(path) for path in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    known = [zone / 1000 for zone in zones if zone is not None]
    return max(known) if known else None
