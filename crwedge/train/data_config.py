"""Settings of the data: what clips are drawn from, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from crwedge.core.checked import Checked, bounded
from crwedge.core.described import described
from crwedge.core.errors import SettingError


@described
@dataclass(frozen=True)
class DataConfig(Checked):
    """What clips are drawn from, and how."""

    table: ClassVar[str] = "data"

    videos: tuple[str, ...] = ()
    """Video files, folders of them, folders of frames, text lists of paths, WebDataset .tar shards, in any mix.
    Shards may be URIs that fsspec reads (s3://bucket/shards), and are kept in the folder `shards` of the cache."""
    images: tuple[str, ...] = ()
    """Photographs or folders of them, for clips made of one picture."""
    synthetic: Literal["", "scenes", "noise"] = ""
    """Rendered scenes, or videos of noise (a control of appendix C), in place of files."""
    weights: dict[str, float] = field(default_factory=dict)
    """How often files are drawn: file name pattern (`surveillance*`) -> factor, the first that fits."""
    length_power: float = 0.0
    """A video is drawn in proportion to its duration to this power: 0 all alike, 1 every second alike."""
    folder_rate: float = bounded(24.0, above=0)
    """Frames a second of folders of frames."""
    in_memory: bool = False
    """Decode once, at `memory_rate`, and keep the small frames instead of decoding clips when they are needed."""
    memory_rate: float = bounded(8.0, above=0)
    """Frames a second that are kept."""
    memory_frames: int = bounded(0, min=0)
    """Most frames of a video that are kept, from its start on; 0 keeps all."""
    cache: str = ""
    """Folder of the kept frames, for this run and the next; by default under ~/.cache/crwedge."""
    short_side: int = bounded(256, min=0)
    """Frames are decoded to this short side, in pixels (never enlarged)."""
    workers: int = bounded(2, min=0)
    """Processes that decode and cut; 0 does it in the training process."""
    clip_length: int = bounded(4, min=1)
    """T: frames of a clip. 1 needs `views.mode = "own"`: the walk goes from one view of a frame to another."""
    batch: int = bounded(4, min=1)
    """Clips a step, over all machines."""
    frame_rates: tuple[float, ...] = bounded((8.0,), above=0, infinite=True)
    """Frames a second of the clips, one drawn for each (2, 4, 8, 30); inf repeats one frame."""
    stills: float = bounded(0.0, min=0, max=1)
    """Share of the clips that are one picture repeated."""
    reverse: float = bounded(0.0, min=0, max=1)
    """Share of the clips that run backwards."""

    def __post_init__(self) -> None:
        """Check."""
        super().__post_init__()
        if not self.frame_rates:
            raise SettingError("data.frame_rates is empty; it needs one number at least, such as [8.0]")
