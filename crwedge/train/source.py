"""From settings to a source of clips, with the complaints about data that one line can settle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from crwedge.core.errors import SourceError
from crwedge.train.clips import ClipSource, FileClips, noise_clips, scene_clips
from crwedge.train.config import TrainConfig
from crwedge.train.items import Catalogue, catalogue
from crwedge.train.store import held_clips

NO_DATA = (
    "there is nothing to learn from: give video files, folders of videos or frames, a .txt list of them, or WebDataset "
    ".tar shards, such as `crwedge train clips/`; `crwedge train --demo` trains on rendered scenes"
)


def open_clips(
    config: TrainConfig,
    *,
    rank: int = 0,
    world: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
    listed: Callable[[Catalogue, Catalogue], None] = lambda videos, images: None,
) -> tuple[ClipSource, list[tuple[str, str]]]:
    """The clips that a configuration asks for, and (path, reason) of the files left out.

    `report` is told how many files are held in memory, `listed` what there is, before any of it is decoded.
    With several processes each reads its own share of the shards, where there are enough of them.

    Raises:
        SourceError: there is nothing to draw clips from.
    """
    if config.synthetic == "scenes":
        return scene_clips(config), []
    if config.synthetic == "noise":
        return noise_clips(config), []
    if not config.videos and not config.images:
        raise SourceError(NO_DATA)
    videos = catalogue(config.videos, config.folder_rate)
    images = catalogue(config.images, config.folder_rate, stills=True)
    broken = [*videos.broken, *images.broken]
    if videos.items or images.items:
        listed(videos, images)
    videos, images = _own_shards(videos, rank, world), _own_shards(images, rank, world)
    source: ClipSource
    if config.in_memory:
        source, more = held_clips(videos, images, config, report)
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


def _own_shards(found: Catalogue, rank: int, world: int) -> Catalogue:
    """Items of this process's shards; all items where shards are fewer than processes, or none."""
    shards = sorted({item.files[0].path for item in found.items if item.files[0].name})
    if world == 1 or len(shards) < world:
        return found
    mine = set(shards[rank::world])
    kept = tuple(item for item in found.items if not item.files[0].name or item.files[0].path in mine)
    return replace(found, items=kept)
