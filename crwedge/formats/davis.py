"""DAVIS tree: a palette PNG for each frame, in `Annotations/480p/VIDEO`. It has no names of objects."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from crwedge.core.location import is_hidden, path_key
from crwedge.core.masks import read_label_ids, write_mask
from crwedge.formats.annotation import AnnotatedFrame, Annotation, FormatError, Video, check_ids
from crwedge.formats.numbering import frame_numbers

MASKS = "Annotations/480p"


class DavisWriter:
    """Writes `Annotations/480p/VIDEO/NAME.png`.

    Args:
        folder: to write to.
        video: what is annotated.
    """

    def __init__(self, folder: Path, video: Video) -> None:
        self._folder = folder / MASKS / video.name
        self._size: tuple[int, int] | None = None
        self._folder.mkdir(parents=True, exist_ok=True)

    def add(self, frame: AnnotatedFrame) -> None:
        """One palette PNG."""
        self._size = check_ids(frame.ids, self._size, f"frame {frame.number}")
        write_mask(self._folder / f"{frame.stem}.png", frame.ids)

    def close(self, names: Mapping[int, str]) -> None:
        """Report what the format cannot hold."""
        if names:
            logging.getLogger("crwedge").warning(
                "note: a DAVIS tree cannot hold names of objects; the names are not written"
            )


def read_davis(path: Path, video: str | None = None) -> Annotation:
    """Read one video of a DAVIS tree, of folders `VIDEO/Annotations`, of folders of masks, or a folder of masks itself.

    Args:
        path: the folder.
        video: which of several.

    Raises:
        FormatError: there are no masks, or several videos and none is chosen.
    """
    found = _videos(path)
    if not found:
        raise FormatError(f"{path} holds no masks: it needs Annotations/480p/VIDEO/00000.png, or 00000.png itself")
    name = choose_video(path, list(found), video)
    return annotation_of_masks(Video(name), pngs(found[name]))


def annotation_of_masks(video: Video, files: list[Path], names: Mapping[int, str] | None = None) -> Annotation:
    """An annotation of PNG files, one a frame, named after it."""
    numbered = sorted(zip(frame_numbers(path.stem for path in files), files, strict=True))
    first = read_label_ids(numbered[0][1])

    def frames() -> Iterator[AnnotatedFrame]:
        size = None
        for number, path in numbered:
            ids = read_label_ids(path)
            size = check_ids(ids, size, str(path))
            yield AnnotatedFrame(number, ids, None if path.stem == f"{number:05d}" else path.stem)

    return Annotation(video, (first.shape[0], first.shape[1]), frames, names or {})


def choose_video(path: Path, names: list[str], wanted: str | None) -> str:
    """The name of the only video, or the one that is wanted; FormatError otherwise."""
    if wanted is not None:
        if wanted not in names:
            raise FormatError(f"{path} has no video {wanted}; it has {', '.join(names[:12])}")
        return wanted
    if len(names) != 1:
        raise FormatError(f"{path} holds {len(names)} videos ({', '.join(names[:12])}): choose one with --video NAME")
    return names[0]


def pngs(folder: Path) -> list[Path]:
    """PNG files of a folder in natural order, without hidden ones."""
    return sorted((p for p in folder.iterdir() if p.suffix.lower() == ".png" and not is_hidden(p.name)), key=path_key)


def _videos(root: Path) -> dict[str, Path]:
    if pngs(root):
        # Of VIDEO/Annotations, VIDEO is the name.
        return {root.resolve().parent.name if root.name == "Annotations" else root.resolve().name: root}
    for base in (root / MASKS, root / "Annotations"):
        if base.is_dir():
            return {root.resolve().name: base} if pngs(base) else _subfolders(base)
    return _subfolders(root)


def _subfolders(base: Path) -> dict[str, Path]:
    found = {}
    for folder in sorted(base.iterdir(), key=path_key):
        inside = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
        if folder.is_dir() and not is_hidden(folder.name) and pngs(inside):
            found[folder.name] = inside
    return found
