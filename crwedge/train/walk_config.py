"""Settings of the nodes and of the walk over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described


@described
@dataclass(frozen=True)
class WalkConfig(Checked):
    """Nodes and walk."""

    table: ClassVar[str] = "walk"

    nodes: Literal["patches", "map"] = "patches"
    """`patches`: cut and encoded one by one (the paper). `map`: cells of one feature map (appendix C)."""
    patch_size: int = bounded(64, min=1)
    """Side of a patch in pixels."""
    patch_stride: int = bounded(32, min=1)
    """Distance of patches in pixels."""
    map_crop: int = bounded(0, min=-1)
    """Cells left out at each border of a feature map; -1: as many as can see the border."""
    temperature: float = bounded(0.07, above=0)
    """tau of the transitions."""
    cross_clip_negatives: bool = False
    """Whether the nodes of the batch's other clips are negatives of the step between two views."""
    edge_dropout: float = bounded(0.1, min=0, max=1)
    """Share of the edges cut, in each direction."""
