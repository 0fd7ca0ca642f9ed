"""Find the clips of a benchmark on disk: frames and, for each frame, its true mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crwedge.core.errors import SourceError
from crwedge.core.location import is_hidden, path_key, read_lines
from crwedge.core.pictures import list_pictures
from crwedge.eval.scorer import Rule


@dataclass(frozen=True)
class Clip:
    """One sequence. Frames and masks have the same order; a frame's mask has its file name, but for the suffix."""

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]

    def first(self, count: int | None) -> Clip:
        """The clip cut to its first `count` frames."""
        return self if count is None else Clip(self.name, self.frames[:count], self.masks[:count])


def davis_clips(root: Path, rule: Rule = "2017", sequences: Iterable[str] = ()) -> list[Clip]:
    """The sequences of a DAVIS tree, by name.

    Three forms are known: DAVIS's own (`JPEGImages/480p/<sequence>`, `Annotations/480p/<sequence>`, the list in
    `ImageSets/<year>/val.txt`), a plain one (`<sequence>/JPEGImages`, `<sequence>/Annotations`), and one such sequence.

    Args:
        root: the folder.
        rule: which year's list of sequences to take, where there are lists.
        sequences: names to keep; all of them when empty.

    Raises:
        SourceError: no such tree, a listed sequence or the mask of a frame is missing; the message names the path.
    """
    if not root.is_dir():
        raise SourceError(f"there is no folder {root}")
    clips: dict[str, tuple[Path, Path]] = {}
    if (root / "JPEGImages").is_dir() and (root / "Annotations").is_dir():
        if list_pictures(root / "JPEGImages"):
            clips[root.name] = root / "JPEGImages", root / "Annotations"
        else:
            clips = _standard(root, rule, tuple(sequences))
    else:
        for folder in subfolders(root):
            if (folder / "JPEGImages").is_dir():
                clips[folder.name] = folder / "JPEGImages", folder / "Annotations"
    if not clips:
        raise SourceError(
            f"{root} is not a DAVIS tree: it needs JPEGImages/480p, Annotations/480p and ImageSets, or folders "
            "SEQUENCE/JPEGImages and SEQUENCE/Annotations"
        )
    return [_clip(name, *clips[name]) for name in chosen(clips, sequences, root)]


def mask_folders(root: Path) -> dict[str, Path]:
    """Folders of masks by sequence: `<sequence>/*.png`, `<sequence>/Annotations/*.png`, or DAVIS's own tree.

    A folder that holds PNG files itself is a single sequence, under the empty name.
    """
    if not root.is_dir():
        raise SourceError(f"there is no folder {root}")
    if pngs(root):
        return {"": root}
    if (root / "Annotations").is_dir():
        return mask_folders(_resolution(root / "Annotations"))
    found = {}
    for folder in subfolders(root):
        inside = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
        if pngs(inside):
            found[folder.name] = inside
    if not found:
        raise SourceError(f"{root} holds no masks: it needs SEQUENCE/00000.png, or 00000.png for a single sequence")
    return found


def chosen(known: Iterable[str], wanted: Iterable[str], root: Path) -> list[str]:
    """The names to take, in order; SourceError names one that is not there."""
    known, wanted = list(known), list(wanted)
    for name in wanted:
        if name not in known:
            raise SourceError(f"{root} has no sequence {name!r}; it has {', '.join(known[:12])}")
    return wanted or known


def pngs(folder: Path) -> list[Path]:
    """PNG files of a folder in natural order, without hidden ones."""
    return sorted((p for p in folder.iterdir() if p.suffix.lower() == ".png" and not is_hidden(p.name)), key=path_key)


def subfolders(root: Path) -> list[Path]:
    """Folders below `root` in natural order, without hidden and system ones."""
    return sorted((path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)), key=path_key)


def _standard(root: Path, rule: Rule, wanted: tuple[str, ...]) -> dict[str, tuple[Path, Path]]:
    frames, masks = _resolution(root / "JPEGImages"), _resolution(root / "Annotations")
    names = list(wanted)
    if not names:
        lists = [root / "ImageSets" / folder / "val.txt" for folder in ((rule,) if rule == "2017" else (rule, "480p"))]
        for path in lists:
            if path.is_file():
                names = _listed(path)
                break
        else:
            raise SourceError(f"{lists[0]} is missing: it lists the sequences (or name them with --sequences)")
    for name in names:
        for folder in (frames / name, masks / name):
            if not folder.is_dir():
                raise SourceError(f"the sequence {name} is missing: there is no folder {folder}")
    return {name: (frames / name, masks / name) for name in names}


def _resolution(folder: Path) -> Path:
    """DAVIS keeps a folder for each resolution; 480p is the one that is scored."""
    return folder / "480p" if (folder / "480p").is_dir() else folder


def _listed(path: Path) -> list[str]:
    """Names of a list file: one a line, or DAVIS 2016's pairs `/JPEGImages/480p/<sequence>/00000.jpg ...`."""
    names: dict[str, None] = {}
    for line in read_lines(path):
        word = line.split()[0] if line.split() else ""
        if word:
            names[word.strip("/").split("/")[-2] if "/" in word.strip("/") else word] = None
    if not names:
        raise SourceError(f"{path} lists no sequence")
    return list(names)


def _clip(name: str, frames: Path, masks: Path) -> Clip:
    found = list_pictures(frames)
    if not found:
        raise SourceError(f"{frames} holds no frames")
    expected = [masks / f"{frame.stem}.png" for frame in found]
    for path in expected:
        if not path.is_file():
            raise SourceError(f"the true mask {path} is missing")
    return Clip(name, tuple(found), tuple(expected))
