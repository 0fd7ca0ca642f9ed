"""Settings of label propagation, and presets of published protocols."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described
from crwedge.core.errors import SettingError

Window = Literal["disc", "square"]
FirstFrame = Literal["global", "restricted"]
TopkOver = Literal["joint", "frame"]
OutputNorm = Literal["none", "minmax"]
Labels = Literal["point", "area"]
Spacing = Literal["last", "spread"]
Storage = Literal["float32", "float16"]


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise SettingError unless `value` is one of `choices`; `what` is the name of the setting."""
    choices = tuple(choices)
    if value not in choices:
        raise SettingError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")


@described
@dataclass(frozen=True)
class PropagationSettings(Checked):
    """How a frame is labelled from its context. Validated on construction."""

    context_length: int = bounded(20, min=1, max=1000)
    """m: number of previous frames in the context, beside the pinned ones."""
    topk: int = bounded(10, min=1, max=1000)
    """k: neighbours of each target cell."""
    radius: float = bounded(12.0, above=0, infinite=True)
    """r, in feature cells: a context cell is searched when its distance is below r (disc), or its row and column
    distances are both at most r (square). Infinity: every cell is searched."""
    temperature: float = bounded(0.07, above=0)
    """tau of the softmax over the k kept similarities."""
    window: Window = "disc"
    """Shape of the neighbourhood."""
    first_frame: FirstFrame = "global"
    """Whether pinned frames are searched everywhere, or in the neighbourhood only."""
    topk_over: TopkOver = "joint"
    """`joint`: k neighbours over all context frames together. `frame`: k in each frame, and one softmax over all of them."""
    prefill: bool = True
    """Whether the context starts with m copies of frame 0."""
    output_norm: OutputNorm = "none"
    """`minmax`: each channel's upsampled map is scaled to 0..1 before the argmax."""
    storage: Storage = "float32"
    """Type of the stored features; similarities are always computed in float32."""
    max_pinned: int = bounded(4, min=1, max=100)
    """Largest number of pinned frames: frames with a prompt, which stay in the context. The first is never dropped."""
    context_spacing: Spacing = "last"
    """`last`: the context is the last m frames. `spread`: m of the last frames whose ages are near 1, 2, 4, 8, ..."""
    labels: Labels = "point"
    """How a mask becomes soft labels of cells. `point`: resized linearly. `area`: the mean over each cell's area, where
    every object keeps at least one cell."""
    label_scale: int = bounded(1, min=1, max=8)
    """Labels along each side of a cell: with 2 each cell has four, and borders are finer than the features."""
    cells: int | None = bounded(None, min=64, max=1_000_000)
    """Largest number of cells (8 x 8 pixels) computed for a frame: a region that follows the objects. None: whole frames."""
    margin: int | None = bounded(None, min=1, max=100)
    """Cells around the objects in that region. None: 4 of 1600 cells, growing with the root of the budget."""
    drop_specks: bool = False
    """Whether small parts of an object that are far from its large ones are removed from the output. The context keeps them."""
    guided: bool = False
    """Whether borders in the output follow the colours of the frame (joint bilateral upsampling). The context never sees it."""

    @property
    def region_margin(self) -> int:
        """Cells around the objects."""
        return self.margin or max(2, round(4 * math.sqrt((self.cells or 0) / 1600)))

    @property
    def local(self) -> bool:
        """Whether the radius is finite."""
        return math.isfinite(self.radius)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite radius becomes null."""
        values = asdict(self)
        if not self.local:
            values["radius"] = None
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PropagationSettings:
        """The inverse of `to_dict`; SettingError for unknown names."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SettingError(f"unknown setting {unknown[0]!r}; choose one of {', '.join(sorted(known))}")
        values = dict(values)
        if "radius" in values and values["radius"] is None:
            values["radius"] = math.inf
        return cls(**values)

    def with_changes(self, **changes: Any) -> PropagationSettings:
        """A copy with the changes that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


PRESETS: dict[str, PropagationSettings] = {
    # Appendix E and F of the contrastive random walk; the prefilled context is that of its published code.
    "crw": PropagationSettings(),
    # DINO's evaluation: the first frame and 7 previous ones, no prefill, a square neighbourhood in every frame.
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
    # For cameras and small machines: a region that follows the objects at their own resolution, within a budget of cells, and
    # a short context that reaches far back.
    "edge": PropagationSettings(
        context_length=7,
        radius=12,
        first_frame="restricted",
        context_spacing="spread",
        labels="area",
        label_scale=2,
        cells=1600,
        drop_specks=True,
        guided=True,
    ),
    # DINOv3's evaluation. The paper does not mention a prefill; as in DINO's there is none here.
    "dinov3": PropagationSettings(
        context_length=7, topk=5, radius=12, temperature=0.2, first_frame="restricted", prefill=False
    ),
}


def preset(name: str) -> PropagationSettings:
    """The settings of a preset; SettingError for an unknown name."""
    check_choice("preset", name, PRESETS)
    return PRESETS[name]
