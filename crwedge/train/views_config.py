"""Settings of the views that are cut from frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described
from crwedge.core.errors import SettingError


@described
@dataclass(frozen=True)
class ViewsConfig(Checked):
    """How views are cut from frames, and what is done to them."""

    table: ClassVar[str] = "views"

    mode: Literal["shared", "own"] = "shared"
    """`shared`: one cut for all frames of a clip. `own`: every frame has its own, and frame 1 has two."""
    size: int = bounded(256, min=1)
    """S: side of the square that is cut from a frame, in pixels."""
    scale: tuple[float, float] = bounded((1.0, 1.0), above=0, max=1, rising=True)
    """Area of the cut, as a share of the largest square."""
    inner_scale: tuple[float, float] = bounded((0.5, 1.0), above=0, max=1, rising=True)
    """The same for frames 2..T with their own views."""
    ratio: float = bounded(1.0, min=1)
    """Width to height of the cut, from 1/ratio to ratio."""
    rotation: float = 0.0
    """Largest turn, in degrees either way."""
    shift: float = bounded(0.3, min=0)
    """Own views lie around the first one: how far, as a share of its side."""
    colour: float = bounded(0.0, min=0, max=1)
    """Strength of the jitter of brightness, contrast and saturation."""
    cutmix: float = bounded(0.0, min=0, max=1)
    """Own views: share of a view, at most, that boxes of another frame cover. Covered cells do not count; those beside them
    have to be known by themselves, whatever lies around."""
    warp: float = bounded(0.0, min=0, max=1)
    """Own views: strength of a smooth random warp of each view, as a share of the distance between its control points."""
    objects: int = bounded(0, min=0, max=200)
    """Own views: parts of other frames that move over each clip by themselves, and are followed."""
    object_area: float = bounded(0.25, above=0, max=1)
    """Share of the first view, at most, that each of them takes."""
    motion_blur: float = bounded(0.0, min=0, max=1)
    """Own views: share of the views and of the objects in them that are blurred along a line."""
    blur: float = bounded(0.0, min=0, max=1)
    """Share of the frames that are blurred (a control of appendix C)."""

    def __post_init__(self) -> None:
        """Check, also what depends on the mode."""
        super().__post_init__()
        if self.mode == "shared" and (self.cutmix or self.warp or self.objects or self.motion_blur):
            raise SettingError('cutmix, warp, objects and motion_blur need views.mode = "own"')
