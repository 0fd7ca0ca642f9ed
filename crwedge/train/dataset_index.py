"""What training can draw clips from: the list of videos and pictures behind paths, with an index of their durations."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crwedge.core.errors import SourceError
from crwedge.core.files import atomic_write
from crwedge.core.films import VIDEO_SUFFIXES
from crwedge.core.json_text import parse_json
from crwedge.core.location import Location, existing, is_hidden, natural_key, read_lines, repeated_stem, walk_folders
from crwedge.core.pictures import IMAGE_SUFFIXES, is_animated
from crwedge.core.user_folders import cache_home
from crwedge.train.decode import probe_video

INDEX = ".crwedge-index.json"
_VERSION = 2


@dataclass(frozen=True)
class Item:
    """One source of clips."""

    name: str
    """File or folder name, which weights are matched against."""
    files: tuple[Location, ...]
    """One video file, or the pictures of a folder in order, or one photograph."""
    seconds: float
    """0 for a single picture."""
    rate: float
    """Frames a second."""
    video: bool
    """Whether `files` is a video to decode rather than pictures."""

    @property
    def still(self) -> bool:
        """Whether there is only one frame."""
        return self.seconds * self.rate < 1.5


@dataclass(frozen=True)
class DatasetIndex:
    """All items that clips can be drawn from, and the files that cannot be used."""

    items: tuple[Item, ...]
    broken: tuple[tuple[str, str], ...]
    """(path, reason) of each file that was left out."""

    def weights(self, patterns: dict[str, float], length_power: float) -> list[float]:
        """How often each item is drawn, as relative numbers."""
        result = []
        for item in self.items:
            factor = next((value for key, value in patterns.items() if fnmatch.fnmatch(item.name, key)), 1.0)
            result.append(factor * max(item.seconds, 0.04) ** length_power)
        return result


def index_dataset(paths: Iterable[str], folder_rate: float, *, stills: bool = False) -> DatasetIndex:
    """Find every item behind `paths`.

    A folder is searched through, each folder once also where links lead in circles; hidden and system files do not count.
    One that holds pictures directly is one clip of frames in natural order (or, with `stills`, that many photographs);
    where two of them have one name but for the suffix, it is skipped. Masks beside a video, `NAME.png` or
    `NAME_mask.png` of `NAME.mp4`, are not read. A `.txt` lists paths, one a line, relative to
    itself. A `.tar` is a WebDataset shard: its videos are items, and so are its runs of pictures `key.000001.jpg`.
    Durations are kept in an index beside the data.

    Raises:
        SourceError: a path does not exist.
    """
    items: list[Item] = []
    broken: list[tuple[str, str]] = []
    videos: list[Location] = []
    for path in paths:
        for found in _walk(Path(path), stills):
            if isinstance(found, list):
                if (pair := repeated_stem(file.name for file in found)) is not None:
                    broken.append(
                        (str(found[0].parent), f"it holds {pair[0]} and {pair[1]}: one picture a name is needed")
                    )
                    continue
                items += _pictures(found, folder_rate, stills)
            elif found.suffix.lower() == ".tar":
                try:
                    members, pictures = _shard(found, folder_rate, stills)
                except (OSError, tarfile.TarError) as error:
                    broken.append((str(found), f"it is not a readable .tar shard ({error})"))
                    continue
                videos += members
                items += pictures
            elif not stills:
                videos.append(Location(str(found)))
    facts, more = _facts(videos)
    for location in videos:
        if (known := facts.get(str(location))) is not None:
            name = location.name or os.path.basename(location.path)
            items.append(Item(name, (location,), known["seconds"], known["rate"], video=True))
    return DatasetIndex(tuple(items), tuple(broken + more))


def _walk(path: Path, stills: bool) -> Iterator[Path | list[Path]]:
    """Videos and shards one by one, folders of pictures as lists, in an order that does not depend on the disk."""
    suffix = path.suffix.lower()
    if os.path.isdir(path):
        for _, files in walk_folders(path):
            videos = {file.stem for file in files if file.suffix.lower() in VIDEO_SUFFIXES}
            # `dog.png` and `dog_mask.png` beside `dog.mp4` are masks for `crwedge batch`, not footage.
            pictures = [
                file
                for file in files
                if file.suffix.lower() in IMAGE_SUFFIXES and not videos & {file.stem, file.stem.removesuffix("_mask")}
            ]
            if pictures:
                yield pictures
            yield from (file for file in files if file.suffix.lower() in (*VIDEO_SUFFIXES, ".tar"))
    elif suffix in (".txt", ".lst") and os.path.isfile(path):
        for line in read_lines(path):
            if line and not line.startswith("#"):
                yield from _walk(existing(path.parent, line), stills)
    elif os.path.isfile(path):
        yield [path] if suffix in IMAGE_SUFFIXES and (stills or not is_animated(path)) else path
    else:
        raise SourceError(f"there is no {path}; give video files, folders, text lists or .tar shards")


def _pictures(files: list[Path], rate: float, stills: bool) -> list[Item]:
    locations = [Location(str(file)) for file in files]
    if stills or len(files) == 1:
        return [Item(os.path.basename(location.path), (location,), 0.0, rate, video=False) for location in locations]
    return [Item(files[0].parent.name, tuple(locations), len(files) / rate, rate, video=False)]


def _shard(path: Path, rate: float, stills: bool) -> tuple[list[Location], list[Item]]:
    """Videos and pictures of a .tar; members are later read straight from their offsets."""
    videos: list[Location] = []
    groups: dict[str, list[Location]] = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            suffix = os.path.splitext(member.name)[1].lower()
            location = Location(str(path), member.offset_data, member.size, member.name)
            if not member.isfile() or any(is_hidden(part) for part in member.name.split("/") if part != "."):
                continue
            if suffix in VIDEO_SUFFIXES:
                videos.append(location)
            elif suffix in IMAGE_SUFFIXES:
                # `key.000001.jpg` are frames of one clip; `key.jpg` is a photograph.
                key = re.sub(r"[._/]\d+\.\w+$", "", member.name)
                groups.setdefault(key, []).append(location)
    items = []
    for key, files in groups.items():
        files.sort(key=lambda location: natural_key(location.name))
        if stills or len(files) == 1:
            items += [Item(file.name, (file,), 0.0, rate, video=False) for file in files]
        else:
            items.append(Item(key, tuple(files), len(files) / rate, rate, video=False))
    return ([] if stills else videos), items


def _facts(videos: list[Location]) -> tuple[dict[str, dict[str, float]], list[tuple[str, str]]]:
    """Durations by path, and the broken ones, from the indices where a file is unchanged."""
    by_folder: dict[Path, list[Location]] = {}
    for location in videos:
        by_folder.setdefault(Path(location.path).resolve().parent, []).append(location)
    facts: dict[str, dict[str, float]] = {}
    broken: list[tuple[str, str]] = []
    for folder, locations in by_folder.items():
        known = _read_index(folder)
        fresh: dict[str, Any] = {}
        missing = []
        for location in locations:
            key = _key(location)
            entry = known.get(key)
            if entry is not None and entry.get("stamp") == _stamp(location):
                fresh[key] = entry
            else:
                missing.append(location)
        with ThreadPoolExecutor(4) as pool:
            for location, entry in zip(missing, pool.map(_look, missing), strict=True):
                fresh[_key(location)] = entry
        if missing:
            _write_index(folder, {**known, **fresh})
        for location in locations:
            entry = fresh[_key(location)]
            if "reason" in entry:
                broken.append((str(location), entry["reason"]))
            else:
                facts[str(location)] = entry
    return facts, broken


def _look(location: Location) -> dict[str, Any]:
    stamp = _stamp(location)
    if stamp[0] == 0:
        return {"stamp": stamp, "reason": "it is empty"}
    try:
        found = probe_video(location)
    except SourceError as error:
        return {"stamp": stamp, "reason": str(error)}
    return {"stamp": stamp, "seconds": found.seconds, "rate": found.rate}


def _key(location: Location) -> str:
    name = os.path.basename(location.path)
    return f"{name}:{location.name}" if location.name else name


def _stamp(location: Location) -> list[int]:
    try:
        status = os.stat(location.path)
    except OSError:
        return [0, 0]
    return [status.st_size, status.st_mtime_ns]


def cache_folder() -> Path:
    """Where this package keeps what it can make again."""
    return cache_home()


def _index_paths(folder: Path) -> tuple[Path, Path]:
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:24]
    return folder / INDEX, cache_folder() / "index" / f"{name}.json"


def _read_index(folder: Path) -> dict[str, Any]:
    for path in _index_paths(folder):
        try:
            table = parse_json(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(table, dict) and table.get("version") == _VERSION:
            return dict(table["files"])
    return {}


def _write_index(folder: Path, files: dict[str, Any]) -> None:
    """Beside the data; where that may not be written, in the user's cache; where neither can, nowhere."""
    data = json.dumps({"version": _VERSION, "files": files}, indent=0, sort_keys=True).encode()
    for path in _index_paths(folder):
        try:
            if path.parent != folder:
                path.parent.mkdir(parents=True, exist_ok=True)
            elif not folder.stat().st_mode & 0o222:
                # Root can write into a folder that nobody is meant to write into.
                continue
            with atomic_write(path) as file:
                file.write(data)
            return
        except OSError:
            continue
