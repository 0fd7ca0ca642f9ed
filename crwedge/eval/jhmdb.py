"""JHMDB: propagate the joints of the first frame and score PCK."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crwedge.core.errors import MaskError, SourceError
from crwedge.core.joints import read_joints
from crwedge.core.keypoints import SIGMA, STRONGEST, soft_to_joints
from crwedge.core.location import read_lines
from crwedge.core.pictures import list_pictures
from crwedge.core.prompts import KeypointPrompt
from crwedge.eval.contact_sheet import SheetMaker
from crwedge.eval.datasets import chosen, subfolders
from crwedge.eval.follow import Follower, read_frame
from crwedge.eval.pck import SIZE_SHARE, PoseScore, PoseScorer, pck

SIZE = (320, 320)
"""(H, W) that frames are computed at."""
CONTEXT = 7
"""Frames of context in the paper's protocol for pose."""


@dataclass(frozen=True)
class PoseClip:
    """Frames and the file with their joints."""

    name: str
    frames: tuple[Path, ...]
    joints: Path

    def first(self, count: int | None) -> PoseClip:
        """The clip cut to its first `count` frames."""
        return self if count is None else PoseClip(self.name, self.frames[:count], self.joints)


def pose_clips(root: Path, sequences: Iterable[str] = (), joints: Path | None = None) -> list[PoseClip]:
    """The clips of a tree.

    Forms: folders with frames (in `JPEGImages`, `frames` or the folder itself) and `joint_positions.mat` or
    `joints.json`; one such folder; and JHMDB's own tree (`Rename_Images/<class>/<clip>`,
    `joint_positions/<class>/<clip>`), where `splits/<class>_test_split1.txt`, if it exists, lists the test clips.

    Args:
        root: the folder.
        sequences: names to keep; all when empty.
        joints: joint file of a single clip, if it is not in its folder.

    Raises:
        SourceError: no such tree; the message names what is missing.
    """
    if not root.is_dir():
        raise SourceError(f"there is no folder {root}")
    clips: dict[str, PoseClip] = {}
    if (root / "Rename_Images").is_dir():
        clips = _standard(root)
    else:
        for folder in [root, *subfolders(root)]:
            clip = _plain(folder, joints if folder == root else None)
            if clip is not None:
                clips[clip.name] = clip
    if not clips:
        raise SourceError(
            f"{root} holds no clip with joints: it needs CLIP/JPEGImages and CLIP/joint_positions.mat (or "
            "joints.json), or JHMDB's own Rename_Images and joint_positions"
        )
    return [clips[name] for name in chosen(clips, sequences, root)]


def score_clip(clip: PoseClip, follower: Follower, out: Path | None = None) -> PoseScore:
    """Propagate the joints of the first labelled frame and score the labelled frames after it.

    Joints that are not visible in the first frame are not scored.
    """
    joints = read_joints(clip.joints)
    truth = dict(zip(joints.frames, joints.xy, strict=True))
    if min(truth) >= len(clip.frames):
        raise MaskError(f"{clip.joints} labels no frame of {clip.name}")
    try:
        start, first = joints.first()
    except MaskError as error:
        raise MaskError(f"{clip.joints}: {error}") from error
    given = first.xy
    frames = clip.frames[start:]
    shape = read_frame(frames[0]).shape
    size = shape[0], shape[1]
    scorer, sheet = PoseScorer(joints.names), SheetMaker(len(frames))
    if out is not None and sheet.wants(0):
        sheet.add_joints(read_frame(frames[0]), given, given)
    for number, soft in enumerate(follower.soft(frames, KeypointPrompt(first, size)), start=1):
        predicted, _ = soft_to_joints(soft, size)
        true = truth.get(start + number)
        if true is not None:
            scorer.feed_frame(predicted, np.where(first.visible[:, None], true, np.nan), start + number)
        if out is not None and sheet.wants(number):
            sheet.add_joints(read_frame(frames[number]), predicted, true)
    if out is not None:
        sheet.write(out / "sheets" / f"{clip.name}.jpg")
    return scorer.conclude()


def pose_protocol() -> dict[str, Any]:
    """The protocol of a PCK score."""
    return {
        "benchmark": "jhmdb",
        "labels": f"Gaussians of {SIGMA} cells",
        "readout": f"weighted mean of the {STRONGEST} strongest cells",
        "normalised_by": f"{SIZE_SHARE} x diagonal of the box around the true joints, in the clip's own pixels",
        "scored_frames": "every labelled frame after the first labelled one",
        "pooling": "all joints of all clips together",
    }


def summary(scores: dict[str, dict[str, Any]], protocol: dict[str, Any]) -> dict[str, Any]:
    """Protocol and scores of a run, as `--json` prints them, from the scores of its clips."""
    errors = [PoseScore.from_dict(values).errors.ravel() for values in scores.values()]
    total = pck(np.concatenate(errors)) if errors else {}
    return {"protocol": {**pose_protocol(), **protocol}, "PCK": total, "sequences": scores}


def _plain(folder: Path, joints: Path | None) -> PoseClip | None:
    found = [joints] if joints else [folder / "joint_positions.mat", folder / "joints.json"]
    existing = [path for path in found if path.is_file()]
    if joints and not existing:
        raise SourceError(f"there is no joint file {joints}")
    for place in (folder / "JPEGImages", folder / "frames", folder):
        if existing and place.is_dir() and list_pictures(place):
            return PoseClip(folder.resolve().name, tuple(list_pictures(place)), existing[0])
    if existing:
        raise SourceError(f"{folder} has {existing[0].name} but no frames (.jpg or .png, in JPEGImages or beside it)")
    return None


def _standard(root: Path) -> dict[str, PoseClip]:
    clips = {}
    for path in sorted((root / "joint_positions").glob("*/*/joint_positions.mat")):
        action, name = path.parts[-3], path.parts[-2]
        split = root / "splits" / f"{action}_test_split1.txt"
        if split.is_file():
            lines = (line.split() for line in read_lines(split))
            if name not in {line[0].removesuffix(".avi") for line in lines if len(line) > 1 and line[1] == "2"}:
                continue
        frames = root / "Rename_Images" / action / name
        if not frames.is_dir() or not list_pictures(frames):
            raise SourceError(f"{path} has no frames: {frames} is missing or empty")
        clips[name] = PoseClip(name, tuple(list_pictures(frames)), path)
    return clips
