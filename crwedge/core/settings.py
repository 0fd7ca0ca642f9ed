"""The settings of label propagation and the presets that name whole protocols (design: the field's own values)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from crwedge.core.errors import SettingError

Window = Literal["disc", "square"]
FirstFrame = Literal["global", "restricted"]
TopkOver = Literal["joint", "frame"]
OutputNorm = Literal["none", "minmax"]
Labels = Literal["point", "area"]
Storage = Literal["float32", "float16"]

_CHOICES = {
    "window": get_args(Window),
    "first_frame": get_args(FirstFrame),
    "topk_over": get_args(TopkOver),
    "output_norm": get_args(OutputNorm),
    "labels": get_args(Labels),
    "storage": get_args(Storage),
}


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise SettingError unless `value` is one of `choices`; `what` is the name of the setting."""
    choices = tuple(choices)
    if value not in choices:
        raise SettingError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")


@dataclass(frozen=True)
class PropagationSettings:
    """How labels flow from the context to a frame. Checked on construction."""

    context_length: int = 20
    """m: how many frames before the current one are kept, beside the pinned ones."""
    context_offsets: tuple[int, ...] | None = None
    """Which of the m frames are looked at: (1, 2, 4) is the frame before, the second and the fourth before. None: all."""
    topk: int = 10
    """k: neighbours kept for each target cell."""
    radius: float = 12.0
    """r: a context cell counts when its distance, in feature cells, is below r (disc) or its row and column
    distances are both at most r (square). Infinity means no spatial restriction."""
    temperature: float = 0.07
    """tau of the softmax over the k kept similarities."""
    window: Window = "disc"
    """Shape of the neighbourhood."""
    first_frame: FirstFrame = "global"
    """Whether pinned frames are searched everywhere or in the window too."""
    topk_over: TopkOver = "joint"
    """k over all frames together, or k in each frame and a softmax over all that were kept."""
    prefill: bool = True
    """Whether the m places start as copies of frame 0."""
    output_norm: OutputNorm = "none"
    """`minmax`: each object's upsampled map is stretched to 0..1 before the argmax."""
    labels: Labels = "point"
    """How a mask becomes soft labels of cells: read at points between which it is linear, or as means over the cells'
    areas, in which every object keeps at least one cell."""
    storage: Storage = "float32"
    """Number format of the stored features; similarities are always computed in float32."""
    max_pinned: int = 4
    """How many frames that came with a mask stay in the context. The first is never dropped."""

    def __post_init__(self) -> None:
        """Validate."""
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
        for name, low, high in (("context_length", 1, 1000), ("topk", 1, 1000), ("max_pinned", 1, 100)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SettingError(f"{name} is {value!r}; it must be a whole number from {low} to {high}")
        for name in ("radius", "temperature"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or math.isnan(value) or value <= 0:
                raise SettingError(f"{name} is {value!r}; it must be a number above 0")
        if math.isinf(self.temperature):
            raise SettingError("temperature is infinite; it must be finite")

    @property
    def local(self) -> bool:
        """Whether context frames are searched in a window rather than everywhere."""
        return math.isfinite(self.radius)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite radius becomes null."""
        values = asdict(self)
        if not self.local:
            values["radius"] = None
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PropagationSettings:
        """The inverse of `to_dict`. Unknown names raise SettingError."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingError(f"unknown setting {unknown[0]!r}; known ones are {', '.join(sorted(known))}")
        values = dict(values)
        if "radius" in values and values["radius"] is None:
            values["radius"] = math.inf
        return cls(**values)

    def with_changes(self, **changes: Any) -> PropagationSettings:
        """A copy with every change that is not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


PRESETS: dict[str, PropagationSettings] = {
    # Appendix E and F of the contrastive random walk, and what its published code does at the start.
    "crw": PropagationSettings(),
    # DINO's evaluation: first frame and 7 before, queue starts empty, square window on every frame.
    "dino": PropagationSettings(
        context_length=7,
        topk=5,
        radius=12,
        temperature=0.1,
        window="square",
        first_frame="restricted",
        prefill=False,
        output_norm="minmax",
    ),
    # DINOv3's evaluation. It says nothing of a pre-filled queue; like DINO's it starts empty.
    "dinov3": PropagationSettings(
        context_length=7, topk=5, radius=12, temperature=0.2, first_frame="restricted", prefill=False
    ),
}


def preset(name: str) -> PropagationSettings:
    """The settings of a named protocol. Unknown names raise SettingError."""
    check_choice("preset", name, PRESETS)
    return PRESETS[name]
