"""Which videos there are, and the mask of each: from folders, files, or one table."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crwedge.batch.listing import Listing, absolute, list_folder
from crwedge.batch.row import Row, check_names, name_of
from crwedge.batch.storage import is_remote
from crwedge.batch.table import TABLES, read_table
from crwedge.core.errors import SettingError, SourceError
from crwedge.core.films import VIDEO_SUFFIXES
from crwedge.core.location import existing, read_lines
from crwedge.core.pictures import IMAGE_SUFFIXES
from crwedge.core.remote import filesystem
from crwedge.runtime.sources.uri import file_path, redact

_MASK_FOLDER = "masks"


_NO_MASK = "it has no mask"


def plan_rows(sources: Sequence[str], masks: str | None = None, target: str | None = None) -> list[Row]:
    """Find the videos and their masks.

    Args:
        sources: folders, which are searched through; videos; folders of frames; lists of paths (`*.txt`); or tables of
            videos (`*.csv`, `*.tsv`, `*.jsonl`), whose relative paths start at their own folder.
        masks: folder of the masks. By default masks lie beside the videos, or in a folder `masks` among them.
        target: a target that is searched in the videos without a mask.

    Returns:
        One row a video. A video without a mask or target has a row that says so.

    Raises:
        UserError: there is no video, none has a mask, two have one name, or a table has a mistake.
    """
    if not sources:
        raise SettingError("there is nothing to follow: give a folder, videos, or a table of them (*.csv, *.jsonl)")
    rows: list[Row] = []
    mask_listing = list_folder(masks) if masks is not None else None
    for source in sources:
        rows += _rows_of(source, mask_listing)
    if target is not None:
        rows = [_with_target(row, target) for row in rows]
    if not rows:
        raise SourceError(f"there is no video in {', '.join(sources)}")
    if all(row.problem for row in rows):
        raise SettingError(f"no video can be followed; {rows[0].video}: {rows[0].problem}")
    check_names(rows)
    return rows


def _with_target(row: Row, target: str) -> Row:
    if row.mask or (row.problem and not row.problem.startswith(_NO_MASK)):
        return row
    return replace(row, mask=absolute(target, Path()), problem="")


def select_rows(rows: Sequence[Row], patterns: Sequence[str]) -> list[Row]:
    """The rows whose names match one of the patterns (`*` and `?`); all rows without a pattern.

    Raises:
        SettingError: a pattern matches no name.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(row.name, pattern) for row in rows):
            raise SettingError(f"--only {pattern!r} matches none of {len(rows)} videos, such as {rows[0].name}")
    return [row for row in rows if not patterns or any(fnmatch.fnmatchcase(row.name, p) for p in patterns)]


def _rows_of(source: str, masks: Listing | None) -> list[Row]:
    suffix = Path(source).suffix.lower()
    if suffix in TABLES:
        return read_table(source)
    if is_remote(source):
        system, path = filesystem(source)
        if system.isdir(path):
            return _rows_of_folder(list_folder(source), masks)
        if not system.exists(path):
            raise SourceError(f"there is no file or folder {redact(source)}")
        folder, _, file = source.rpartition("/")
        beside = Listing(folder, tuple(name.rsplit("/", 1)[-1] for name in system.ls(path.rpartition("/")[0], False)))
        return [_row(beside, file, masks, beside if masks is None else None)]
    local = Path(file_path(source))
    if local.is_dir():
        return _rows_of_folder(list_folder(source), masks)
    if suffix in (".txt", ".lst") and local.is_file():
        lines = [line for line in read_lines(local) if line and not line.startswith("#")]
        named = [line if is_remote(line) else str(existing(local.parent, line)) for line in lines]
        return [row for line in named for row in _rows_of(line, masks)]
    if not local.is_file():
        raise SourceError(f"there is no file or folder {source}")
    folder = absolute(str(local.parent), Path.cwd())
    beside = Listing(folder, tuple(entry.name for entry in os.scandir(folder) if entry.is_file()))
    return [_row(beside, local.name, masks, beside if masks is None else None)]


def _rows_of_folder(listing: Listing, masks: Listing | None) -> list[Row]:
    """Videos of a folder: films, and folders that hold frames."""
    folders = listing.folders()
    beside = listing if masks is None else None
    if masks is None and any(name.split("/")[0] == _MASK_FOLDER for name in folders):
        masks = Listing(listing.path(_MASK_FOLDER), tuple(_below(listing, _MASK_FOLDER)))
    if masks is not None and masks.root.startswith(f"{listing.root}/"):
        inner = masks.root[len(listing.root) + 1 :]
        folders = {name: files for name, files in folders.items() if not f"{name}/".startswith(f"{inner}/")}
    if set(folders) == {""} and not any(_is_film(name) for name in folders[""]):
        # The folder is itself a folder of frames; its mask lies beside it.
        parent, _, own = listing.root.rpartition("/")
        around = Listing(parent, tuple(n for n in (f"{own}.png", f"{own}_mask.png") if (Path(parent) / n).is_file()))
        frames = tuple(name for name in folders[""] if _is_picture(name))
        return [_row(Listing(parent, ()), own, masks, around if beside else None, frames)] if frames else []
    rows = []
    for folder, names in folders.items():
        films = [name for name in names if _is_film(name)]
        prefix = f"{folder}/" if folder else ""
        rows += [_row(listing, f"{prefix}{name}", masks, beside) for name in films]
        if films or not folder or any(other.startswith(prefix) and other != folder for other in folders):
            continue
        frames = tuple(name for name in names if _is_picture(name))
        if not frames or _twin(folder, "Annotations", "JPEGImages") in folders:
            continue
        if (painted := _twin(folder, "JPEGImages", "Annotations")) in folders:
            rows.append(_row(listing, folder, Listing(listing.path(painted), tuple(folders[painted])), None, frames))
        else:
            rows.append(_row(listing, folder, masks, beside, frames))
    return rows


def _below(listing: Listing, folder: str) -> list[str]:
    return [name[len(folder) + 1 :] for name in listing.files if name.startswith(f"{folder}/")]


def _twin(folder: str, part: str, other: str) -> str | None:
    """The folder of a tree of DAVIS that belongs to this one: `JPEGImages` and `Annotations` change places."""
    parts = folder.split("/")
    return "/".join(other if p == part else p for p in parts) if part in parts else None


def _row(
    listing: Listing, video: str, masks: Listing | None, beside: Listing | None, frames: tuple[str, ...] = ()
) -> Row:
    """The row of one video, with the one mask that its name points to."""
    stem = video if frames else os.path.splitext(video)[0]
    name, path = name_of("/".join(p for p in stem.split("/") if p != "JPEGImages")), listing.path(video)
    found = _masks_of(stem, beside) + _masks_of(stem, masks)
    if not found:
        base = stem.rsplit("/", 1)[-1]
        return Row(name, path, problem=f"{_NO_MASK}: save one beside it as {base}.png or {base}_mask.png")
    if len(found) > 1:
        both = " and ".join(mask for mask, _ in found)
        return Row(name, path, problem=f"it has two masks, {both}: keep one, or give a table with a column mask")
    mask, numbered = found[0]
    start = _start_of(mask, frames) if numbered else 0
    if start is None:
        return Row(name, path, problem=f"{mask} is not named after a frame: rename it, or give a table with start")
    return Row(name, path, mask, {"start": start} if start else {})


def _masks_of(stem: str, listing: Listing | None) -> list[tuple[str, bool]]:
    """Masks of a video, and whether they are called as the frame that they belong to."""
    if listing is None:
        return []
    known = set(listing.files)
    found = [(listing.path(name), False) for name in (f"{stem}.png", f"{stem}_mask.png") if name in known]
    if found:
        return found
    inner = [name for name in listing.files if name.startswith(f"{stem}/") and name.endswith(".png")]
    if "JPEGImages" in stem.split("/"):
        inner = [name for name in listing.files if name.endswith(".png")]
    return [(listing.path(inner[0]), True)] if inner else []


def _start_of(mask: str, frames: tuple[str, ...]) -> int | None:
    """Number of the frame that a mask belongs to by its name; None where it has the name of none."""
    stem = os.path.splitext(mask.rsplit("/", 1)[-1])[0]
    if not frames:
        return int(stem) if stem.isdecimal() else None
    stems = [os.path.splitext(name)[0] for name in frames]
    return stems.index(stem) if stem in stems else None


def _is_film(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
