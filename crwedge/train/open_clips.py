"""From settings to a source of clips, with the complaints about data that one line can settle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from crwedge.core.errors import SourceError
from crwedge.core.remote import local_shards
from crwedge.core.user_folders import cache_home
from crwedge.train.clips import ClipSource, FileClips, noise_clips, scene_clips
from crwedge.train.data_config import DataConfig
from crwedge.train.dataset_index import DatasetIndex, index_dataset
from crwedge.train.frame_cache import cached_clips

NO_DATA = (
    "there is nothing to learn from: give video files, folders of videos or frames, a .txt list of them, or WebDataset "
    ".tar shards, such as `crwedge train clips/`; `crwedge train --demo` trains on rendered scenes"
)


@dataclass(frozen=True)
class Data:
    """What stands behind the paths of a configuration."""

    videos: DatasetIndex
    images: DatasetIndex
    shared: bool = False
    """Whether these are the shards of one process alone, because remote ones were shared out before they were fetched."""

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.videos.items or self.images.items)


def index_data(config: DataConfig, rank: int = 0, world: int = 1) -> Data:
    """Find all videos and pictures; nothing where clips are synthetic.

    Args:
        config: settings of the data.
        rank: this process, which fetches its own part of remote shards.
        world: number of processes.

    Raises:
        SourceError: there are no paths, or one does not exist.
    """
    if config.synthetic:
        return Data(DatasetIndex((), ()), DatasetIndex((), ()))
    if not config.videos and not config.images:
        raise SourceError(NO_DATA)
    folder = Path(config.cache or cache_home()) / "shards"
    videos, shared = local_shards(config.videos, folder, rank, world)
    images, images_shared = local_shards(config.images, folder, rank, world)
    return Data(
        index_dataset(videos, config.folder_rate),
        index_dataset(images, config.folder_rate, stills=True),
        shared or images_shared,
    )


def open_clips(
    config: DataConfig, seed: int = 0, data: Data | None = None, *, rank: int = 0, world: int = 1
) -> tuple[ClipSource, list[tuple[str, str]]]:
    """The clips that a configuration asks for, and (path, reason) of the files left out.

    Args:
        config: settings of the data.
        seed: of synthetic clips.
        data: what `index_data` found; None looks for it.
        rank: this process; each reads its own shards, where there are at least as many as processes.
        world: number of processes.

    Raises:
        SourceError: there is nothing to draw clips from.
    """
    if config.synthetic == "scenes":
        return scene_clips(config, seed), []
    if config.synthetic == "noise":
        return noise_clips(config, seed), []
    data = index_data(config, rank, world) if data is None else data
    broken = [*data.videos.broken, *data.images.broken]
    part = (0, 1) if data.shared else (rank, world)
    videos, images = _own_shards(data.videos, *part), _own_shards(data.images, *part)
    source: ClipSource
    if config.in_memory:
        source, more = cached_clips(videos, images, config)
        broken += more
        moving, pictures = bool(source.videos), bool(source.images)
    else:
        source = FileClips(videos, images, config)
        moving = any(not item.still for item in videos.items)
        pictures = bool(images.items) or any(item.still for item in videos.items)
    if not moving and not pictures:
        found = (
            f"{len(broken)} files, none of which can be read ({broken[0][0]}: {broken[0][1]})" if broken else "no files"
        )
        raise SourceError(f"no videos and no pictures in {', '.join((*config.videos, *config.images))}: {found}")
    return source, broken


def _own_shards(found: DatasetIndex, rank: int, world: int) -> DatasetIndex:
    """Items of this process's shards; all items where shards are fewer than processes, or none."""
    shards = sorted({item.files[0].path for item in found.items if item.files[0].name})
    if world == 1 or len(shards) < world:
        return found
    mine = set(shards[rank::world])
    kept = tuple(item for item in found.items if not item.files[0].name or item.files[0].path in mine)
    return replace(found, items=kept)
