"""Frames that were decoded once: small uint8 pictures in one flat file, shared by processes through the page cache."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import SettingError, SourceError
from crwedge.core.json_text import parse_json
from crwedge.core.pictures import PictureSequence
from crwedge.train.clips import CachedClips
from crwedge.train.data_config import DataConfig
from crwedge.train.dataset_index import DatasetIndex, Item, cache_folder
from crwedge.train.decode import video_frames
from crwedge.train.workers import LoaderError, ignore_stop_signals

_VERSION = 2
_log = logging.getLogger(__name__)


class MappedFrames:
    """Frames of one video in the flat file of a cache. Pickled by its place in the file, so that a worker maps it too.

    Args:
        path: the flat file.
        offset: of the first byte.
        shape: (n, H, W, 3).
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...]) -> None:
        self._path, self._offset, self._shape = path, offset, shape

    def __len__(self) -> int:
        """Number of frames."""
        return self._shape[0]

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """One frame, RGB uint8 (H, W, 3)."""
        size = int(np.prod(self._shape[1:]))
        start = self._offset + index * size
        return _mapped(self._path)[start : start + size].reshape(self._shape[1:])


@functools.lru_cache(maxsize=4)
def _mapped(path: Path) -> NDArray[np.uint8]:
    # Copy on write: PyTorch warns of arrays that cannot be written.
    return np.memmap(path, np.uint8, "c")


def cached_clips(
    videos: DatasetIndex, images: DatasetIndex, config: DataConfig
) -> tuple[CachedClips, list[tuple[str, str]]]:
    """Decode all items, unless the cache holds them already.

    Args:
        videos: items that clips are drawn from.
        images: photographs.
        config: short side, rate, cache folder.

    Returns:
        The clips, and (path, reason) of files that could not be decoded.

    Raises:
        SettingError: the cache folder cannot be written.
    """
    items = [*videos.items, *images.items]
    folder = (Path(config.cache) if config.cache else cache_folder() / "frames") / _key(items, config)
    if not (folder / "index.json").is_file():
        _fill(folder, items, config)
    try:
        index = parse_json((folder / "index.json").read_bytes())
    except ValueError as error:
        raise SettingError(f"the cache {folder} is damaged ({error}); remove it: it is made again") from error
    path = (folder / "frames.bin").resolve()
    arrays = [
        MappedFrames(path, entry["offset"], tuple(entry["shape"])) if entry["shape"][0] else None
        for entry in index["items"]
    ]
    weights = videos.weights(config.weights, config.length_power)
    count = len(videos.items)
    moving = [
        (array, weight, min(config.memory_rate, item.rate))
        for array, weight, item in zip(arrays[:count], weights, videos.items, strict=True)
        if array is not None and len(array) > 1
    ]
    stills = [array for array in arrays[count:] if array is not None]
    stills += [array for array in arrays[:count] if array is not None and len(array) == 1]
    clips = CachedClips([m[0] for m in moving], [m[1] for m in moving], [m[2] for m in moving], stills, config)
    return clips, [(entry["name"], entry["reason"]) for entry in index["items"] if entry["reason"]]


def _key(items: list[Item], config: DataConfig) -> str:
    """Names what is cached: the files with their sizes and times, and how they were decoded."""
    state = hashlib.sha256(repr((_VERSION, config.short_side, config.memory_rate, config.memory_frames)).encode())
    for item in items:
        for location in item.files:
            try:
                status = Path(location.path).stat()
            except OSError:
                continue
            state.update(repr((str(location), status.st_size, status.st_mtime_ns)).encode())
    return state.hexdigest()[:24]


def _fill(folder: Path, items: list[Item], config: DataConfig) -> None:
    """Decode into a folder beside `folder`, and rename it when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise SettingError(f"the cache {folder.parent} cannot be written ({error.strerror}); choose another") from error
    entries: list[dict[str, object]] = []
    offset, said = 0, time.monotonic()
    try:
        jobs = [(item, config.short_side, config.memory_rate, config.memory_frames) for item in items]
        workers = max(1, config.workers)
        with open(staging / "frames.bin", "wb") as file, _pool(workers) as pool:
            for item, (frames, reason) in zip(items, pool.map(_decode, jobs), strict=True):
                entries.append({"name": item.name, "offset": offset, "shape": list(frames.shape), "reason": reason})
                file.write(frames.tobytes())
                offset += frames.size
                if time.monotonic() - said > 5 or len(entries) == len(items):
                    said = time.monotonic()
                    _log.info("caching frames in memory: %d of %d files", len(entries), len(items))
            if offset == 0:
                file.write(b"\0")
        (staging / "index.json").write_text(json.dumps({"version": _VERSION, "items": entries}), encoding="utf-8")
        if not (folder / "index.json").is_file():
            staging.rename(folder)
    except BrokenProcessPool as error:
        raise LoaderError("a process that decodes frames was ended from outside; start the run again") from error
    except OSError as error:
        raise SettingError(
            f"the frames cannot be cached in {folder.parent} ({error.strerror}); free some space or lower short_side, "
            "memory_rate or memory_frames"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=ignore_stop_signals)


def _decode(job: tuple[Item, int, float, int]) -> tuple[NDArray[np.uint8], str]:
    """All frames (n, H, W, 3) to cache of an item, or none and the reason. Runs in a process of its own."""
    item, side, rate, limit = job
    frames: list[NDArray[np.uint8]] = []
    try:
        if not item.video:
            step = max(1, round(item.rate / rate))
            chosen = item.files[::step][: limit or None]
            pictures = PictureSequence(chosen)
            frames = [pictures.read(number, side) for number in range(len(chosen))]
        else:
            for frame in video_frames(item.files[0], side, rate):
                frames.append(frame)
                if len(frames) == limit:
                    break
    except SourceError as error:
        if not frames:
            return np.empty((0, 1, 1, 3), np.uint8), str(error)
    same = [frame for frame in frames if frame.shape == frames[0].shape]
    if not same:
        return np.empty((0, 1, 1, 3), np.uint8), "no frame can be decoded"
    return np.stack(same), ""
