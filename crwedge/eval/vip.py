"""VIP: propagate the semantic parts of the first frame and score the mean IoU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError, SourceError
from crwedge.core.images import size_text
from crwedge.core.location import read_lines
from crwedge.core.masks import VOID, read_label_ids
from crwedge.core.pictures import list_pictures
from crwedge.eval.contact_sheet import SheetMaker
from crwedge.eval.datasets import Clip, chosen, davis_clips
from crwedge.eval.follow import Follower, read_frame
from crwedge.eval.iou import PartsScore, PartsScorer, mean_iou

SIZE = (560, 560)
"""(H, W) that frames are computed at."""
CONTEXT = 4
"""Context length of the paper's protocol for parts."""
CLASSES = 20


def vip_clips(root: Path, sequences: Iterable[str] = ()) -> list[Clip]:
    """The clips of a tree.

    VIP's own form is `Images/<clip>`, `Annotations/Category_ids/<clip>`, `lists/val_videos.txt`; the plain one is
    `<clip>/JPEGImages` and `<clip>/Annotations`, or one such clip.

    Raises:
        SourceError: no such tree, or a mask is missing; the message names the path.
    """
    if not (root / "Images").is_dir():
        return davis_clips(root, "2017", sequences)
    listed = root / "lists" / "val_videos.txt"
    if not listed.is_file():
        raise SourceError(f"{listed} is missing: it lists the clips")
    names = [name for line in read_lines(listed) for name in line.split()]
    clips = []
    for name in chosen(names, sequences, root):
        frames, masks = root / "Images" / name, root / "Annotations" / "Category_ids" / name
        for folder in (frames, masks):
            if not folder.is_dir():
                raise SourceError(f"the clip {name} is missing: there is no folder {folder}")
        found = list_pictures(frames)
        paths = [masks / f"{frame.stem}.png" for frame in found]
        absent = next((path for path in paths if not path.is_file()), None)
        if absent or not found:
            raise SourceError(f"the true mask {absent} is missing" if absent else f"{frames} holds no frames")
        clips.append(Clip(name, tuple(found), tuple(paths)))
    return clips


def score_clip(
    clip: Clip, follower: Follower, classes: int = CLASSES, ignored: tuple[int, ...] = (VOID,), out: Path | None = None
) -> PartsScore:
    """Propagate the parts of the first mask and score every other frame.

    Args:
        clip: frames and true masks; class 0 is the background.
        follower: encoder and protocol.
        classes: number of classes, 0 included.
        ignored: true ids that are not scored. They are propagated, but each of their pixels gets the next best class.
        out: folder for the contact sheet.
    """
    scorer, sheet = PartsScorer(classes, ignored), SheetMaker(len(clip.frames))
    first = true_parts(clip.masks[0], read_frame(clip.frames[0]).shape)
    if not np.any((first > 0) & (first < classes)):
        raise MaskError(f"{clip.masks[0]} shows no class from 1 to {classes - 1}")
    if out is not None and sheet.wants(0):
        sheet.add_masks(read_frame(clip.frames[0]), first, first)
    for number, ids in enumerate(follower.masks(clip.frames, first, hidden=ignored), start=1):
        truth = true_parts(clip.masks[number], (*first.shape, 3))
        scorer.feed_frame(ids, truth, number)
        if out is not None and sheet.wants(number):
            sheet.add_masks(read_frame(clip.frames[number]), ids, truth)
    if out is not None:
        sheet.write(out / "sheets" / f"{clip.name}.jpg")
    return scorer.conclude()


def true_parts(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """True classes (H, W) of a frame of `shape`; MaskError names a file of another size."""
    ids = read_label_ids(path)
    if ids.shape != shape[:2]:
        raise MaskError(f"{path} is {size_text(ids.shape)} (height x width), its frame {size_text(shape)}")
    return ids


def summary(
    scores: dict[str, dict[str, Any]], protocol: dict[str, Any], classes: int, ignored: tuple[int, ...]
) -> dict[str, Any]:
    """Protocol and scores of a run, as `--json` prints them, from the scores of its clips."""
    total = sum(
        (PartsScore.from_dict(values).confusion for values in scores.values()), np.zeros((classes, classes + 1))
    )
    fixed = {
        "benchmark": "vip",
        "classes": classes,
        "ignored": list(ignored),
        "scored_frames": "all but the first, at their own size",
        "pooling": "pixels of all clips together, mean over the classes that appear",
    }
    return {"protocol": {**fixed, **protocol}, "mIoU": mean_iou(total.astype(np.int64)), "sequences": scores}
