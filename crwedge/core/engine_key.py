"""The key of a built engine, and the check whether it fits a device and a frame."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from crwedge.core.errors import BundleError, SettingError

Size = tuple[int, int]

MODULES = ("tensorrt", "tensorrt_rtx")
"""Python modules that build and run engines; their API is the same."""
ANY_DEVICE = "any"
"""Compute capability of an engine that was built without a GPU, for all devices that tensorrt_rtx supports."""

_MIN_SIDE, _MAX_SIDE = 16, 8192


@dataclass(frozen=True)
class Profile:
    """Frame sizes (H, W) of an engine: smallest, optimal and largest. The batch is 1."""

    min: Size
    opt: Size
    max: Size

    def __post_init__(self) -> None:
        """Validate."""
        for size in (self.min, self.opt, self.max):
            if len(size) != 2 or not all(isinstance(s, int) and _MIN_SIDE <= s <= _MAX_SIDE for s in size):
                raise SettingError(
                    f"{size!r} is not a frame size; give HEIGHTxWIDTH, sides from {_MIN_SIDE} to {_MAX_SIDE}"
                )
        if any(not low <= opt <= high for low, opt, high in zip(self.min, self.opt, self.max, strict=True)):
            raise SettingError(f"the profile {self} is not in order; each side needs min <= opt <= max")

    def __str__(self) -> str:
        """`480x854`, or `240x320-480x854-1080x1920` for a range."""
        return _text(self.opt) if self.fixed else "-".join(map(_text, (self.min, self.opt, self.max)))

    @property
    def fixed(self) -> bool:
        """Whether the profile has a single size."""
        return self.min == self.opt == self.max

    def holds(self, size: Size) -> bool:
        """Whether the engine takes frames of `size` = (H, W)."""
        return all(low <= s <= high for low, s, high in zip(self.min, size, self.max, strict=True))

    @classmethod
    def of(cls, size: Size) -> Profile:
        """The profile of a single size."""
        return cls(size, size, size)


@dataclass(frozen=True)
class EngineKey:
    """The values that must be equal for an engine to be loaded."""

    onnx_sha256: str
    """Hash of the graph that the engine was built from."""
    module: str
    """`tensorrt` or `tensorrt_rtx`."""
    version: str
    """Full version of that module."""
    compute_capability: str
    """`8.7`, or `any`."""
    precision: str
    """float32, float16 or int8, as in the graph."""
    profile: Profile

    @property
    def name(self) -> str:
        """File name without suffix, of `engines/<name>.engine` and `engines/<name>.json`."""
        parts = (self.module, self.version, f"cc{self.compute_capability}", self.precision, str(self.profile))
        return "-".join((*(re.sub(r"[^A-Za-z0-9.x_-]", "_", part) for part in parts), self.onnx_sha256[:16]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EngineKey:
        """The inverse of `to_dict`; BundleError when a value is missing or of another type."""
        try:
            sizes = {name: (int(h), int(w)) for name, (h, w) in values["profile"].items()}
            words = {
                name: values[name] for name in ("onnx_sha256", "module", "version", "compute_capability", "precision")
            }
            if not all(isinstance(word, str) for word in words.values()):
                raise ValueError("a field is not text")
            return cls(**words, profile=Profile(**sizes))
        except (AttributeError, KeyError, TypeError, ValueError, SettingError) as error:
            raise BundleError(f"the description of the engine is damaged ({error}); build the engine again") from error


def mismatch(found: EngineKey, wanted: EngineKey, size: Size | None = None) -> str | None:
    """Why the engine `found` cannot be used in place of `wanted`; None when it can.

    Args:
        found: key of the engine on disk.
        wanted: key for this graph and device; its profile is compared only when `size` is None.
        size: (H, W) of the frame; any profile that includes it fits.
    """
    again = "build one here with `crwedge export --engine " + wanted.module.replace("_", "-") + "`"
    if found.onnx_sha256 != wanted.onnx_sha256:
        return f"it was built from another encoder.onnx; {again}"
    if found.module != wanted.module:
        return f"it was built by {found.module}, this is {wanted.module}; {again}"
    if found.version != wanted.version:
        return f"it was built by {found.module} {found.version}, this machine has {wanted.version}; {again}"
    if found.compute_capability not in (wanted.compute_capability, ANY_DEVICE):
        return (
            f"it was built for a GPU of compute capability {found.compute_capability}, this one has "
            f"{wanted.compute_capability}; {again}"
        )
    if found.precision != wanted.precision:
        return f"its precision is {found.precision}, the bundle's is {wanted.precision}; {again}"
    if size is not None and not found.profile.holds(size):
        return f"it takes frames of {found.profile}, not {_text(size)}; {again} --size {_text(size)}, or set that size"
    if size is None and found.profile != wanted.profile:
        return f"it was built for frames of {found.profile}, not {wanted.profile}; {again} and --size"
    return None


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
