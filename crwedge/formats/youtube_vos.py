"""YouTube-VOS: a palette PNG for each frame in `Annotations/VIDEO`, and `meta.json` with the objects' categories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crwedge.core.masks import object_ids, write_mask
from crwedge.formats.annotation import UNNAMED, AnnotatedFrame, Annotation, FormatError, Video, check_ids
from crwedge.formats.davis import annotation_of_masks, choose_video, pngs
from crwedge.formats.json_file import read_json
from crwedge.formats.spools import Spools

META = "meta.json"


class YouTubeVosWriter:
    """Writes `Annotations/VIDEO/NAME.png` and `meta.json`.

    Args:
        folder: to write to.
        video: what is annotated.
    """

    def __init__(self, folder: Path, video: Video) -> None:
        self._root, self._video = folder, video
        self._folder = folder / "Annotations" / video.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._size: tuple[int, int] | None = None
        self._frames = Spools(folder)

    def add(self, frame: AnnotatedFrame) -> None:
        """One palette PNG."""
        self._size = check_ids(frame.ids, self._size, f"frame {frame.number}")
        write_mask(self._folder / f"{frame.stem}.png", frame.ids)
        for i in object_ids(frame.ids):
            self._frames.add(i, json.dumps(frame.stem) + "\n")

    def close(self, names: Mapping[int, str]) -> None:
        """Write `meta.json`: objects, categories, and the frames in which each object is."""
        with (self._root / META).open("wb") as file:
            file.write(f'{{"videos": {{{json.dumps(self._video.name)}: {{"objects": {{'.encode())
            for n, i in enumerate(self._frames.ids):
                category = json.dumps(names.get(i) or UNNAMED)
                file.write(f'{"," if n else ""}\n"{i}": {{"category": {category}, "frames": [\n'.encode())
                with (self._root / f".{META}.part").open("w+b") as part:
                    self._frames.copy(i, part)
                    part.seek(0)
                    for m, line in enumerate(part):
                        file.write((b",\n" if m else b"") + line.rstrip(b"\n"))
                file.write(b"\n]}")
            file.write(b"\n}}}}\n")
        (self._root / f".{META}.part").unlink(missing_ok=True)


def read_youtube_vos(path: Path, video: str | None = None) -> Annotation:
    """Read one video of a YouTube-VOS folder.

    Args:
        path: the folder that holds `meta.json`.
        video: which of several.

    Raises:
        FormatError: `meta.json` is damaged, masks are missing, or several videos are there and none is chosen.
    """
    data = read_json(path / META)
    videos = data.get("videos") if isinstance(data, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise FormatError(f'{path / META} lists no videos; it needs {{"videos": {{NAME: {{"objects": ...}}}}}}')
    name = choose_video(path, list(videos), video)
    folder = path / "Annotations" / name
    if Path(name).name != name or not folder.is_dir() or not (files := pngs(folder)):
        raise FormatError(f"the masks of {name} are missing: there are no PNG files in {folder}")
    objects: dict[str, Any] = videos[name].get("objects", {}) if isinstance(videos[name], dict) else {}
    names = {}
    for key, facts in objects.items():
        category = facts.get("category") if isinstance(facts, dict) else None
        if key.isdecimal() and len(key) < 16 and isinstance(category, str) and category != UNNAMED:
            names[int(key)] = category
    return annotation_of_masks(Video(name), files, names)
