"""Frames that were decoded once: small uint8 pictures in one flat file, shared by processes through the page cache."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.pictures import PictureSequence
from crwedge.train.clips import HeldClips
from crwedge.train.config import TrainConfig
from crwedge.train.decode import video_frames
from crwedge.train.items import Catalogue, Item, cache_folder

_VERSION = 2


def held_clips(
    videos: Catalogue,
    images: Catalogue,
    config: TrainConfig,
    report: Callable[[int, int], None] = lambda done, all: None,
) -> tuple[HeldClips, list[tuple[str, str]]]:
    """Decode all items (or find them in the cache) and hold them.

    Args:
        videos: items that clips are drawn from.
        images: photographs.
        config: short side, rate, cache folder.
        report: called with items done and items in all.

    Returns:
        The clips, and (path, reason) of files that could not be decoded.

    Raises:
        SettingError: the cache folder cannot be written.
    """
    items = [*videos.items, *images.items]
    folder = (Path(config.cache) if config.cache else cache_folder() / "frames") / _key(items, config)
    if not (folder / "index.json").is_file():
        _fill(folder, items, config, report)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    flat = np.memmap(folder / "frames.bin", np.uint8, "c")
    arrays: list[NDArray[np.uint8] | None] = []
    for entry in index["items"]:
        shape = entry["shape"]
        stop = entry["offset"] + int(np.prod(shape))
        # A plain view: pickling a memmap to a worker would copy the file.
        arrays.append(flat[entry["offset"] : stop].reshape(shape) if shape[0] else None)
    weights = videos.weights(config.weights, config.length_power)
    count = len(videos.items)
    held = [
        (array, weight, min(config.memory_rate, item.rate))
        for array, weight, item in zip(arrays[:count], weights, videos.items, strict=True)
        if array is not None and len(array) > 1
    ]
    stills = [array for array in arrays[count:] if array is not None]
    stills += [array for array in arrays[:count] if array is not None and len(array) == 1]
    clips = HeldClips([h[0] for h in held], [h[1] for h in held], [h[2] for h in held], stills, config)
    return clips, [(entry["name"], entry["reason"]) for entry in index["items"] if entry["reason"]]


def _key(items: list[Item], config: TrainConfig) -> str:
    """Names what is held: the files with their sizes and times, and how they were decoded."""
    state = hashlib.sha256(repr((_VERSION, config.short_side, config.memory_rate, config.memory_frames)).encode())
    for item in items:
        for location in item.files:
            try:
                status = Path(location.path).stat()
            except OSError:
                continue
            state.update(repr((str(location), status.st_size, status.st_mtime_ns)).encode())
    return state.hexdigest()[:24]


def _fill(folder: Path, items: list[Item], config: TrainConfig, report: Callable[[int, int], None]) -> None:
    """Decode into a folder beside `folder`, and rename it when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise SettingError(f"the cache {folder.parent} cannot be written ({error.strerror}); choose another") from error
    entries: list[dict[str, object]] = []
    offset = 0
    try:
        jobs = [(item, config.short_side, config.memory_rate, config.memory_frames) for item in items]
        workers = max(1, config.workers)
        context = multiprocessing.get_context("spawn")
        with open(staging / "frames.bin", "wb") as file, ProcessPoolExecutor(workers, mp_context=context) as pool:
            for item, (frames, reason) in zip(items, pool.map(_decode, jobs), strict=True):
                entries.append({"name": item.name, "offset": offset, "shape": list(frames.shape), "reason": reason})
                file.write(frames.tobytes())
                offset += frames.size
                report(len(entries), len(items))
            if offset == 0:
                file.write(b"\0")
        (staging / "index.json").write_text(json.dumps({"version": _VERSION, "items": entries}), encoding="utf-8")
        if not (folder / "index.json").is_file():
            staging.rename(folder)
    except OSError as error:
        raise SettingError(
            f"the frames cannot be held in {folder.parent} ({error.strerror}); free some space or lower short_side, "
            "memory_rate or memory_frames"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _decode(job: tuple[Item, int, float, int]) -> tuple[NDArray[np.uint8], str]:
    """All frames (n, H, W, 3) to hold of an item, or none and the reason. Runs in a process of its own."""
    item, side, rate, most = job
    frames: list[NDArray[np.uint8]] = []
    try:
        if not item.video:
            step = max(1, round(item.rate / rate))
            chosen = item.files[::step][: most or None]
            pictures = PictureSequence(chosen)
            frames = [pictures.read(number, side) for number in range(len(chosen))]
        else:
            for frame in video_frames(item.files[0], side, rate):
                frames.append(frame)
                if len(frames) == most:
                    break
    except SourceError as error:
        if not frames:
            return np.empty((0, 1, 1, 3), np.uint8), str(error)
    same = [frame for frame in frames if frame.shape == frames[0].shape]
    if not same:
        return np.empty((0, 1, 1, 3), np.uint8), "no frame can be decoded"
    return np.stack(same), ""
