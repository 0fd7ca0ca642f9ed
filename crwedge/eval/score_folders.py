"""Score folders of masks."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError, SourceError
from crwedge.core.images import size_text
from crwedge.core.masks import VOID, read_label_ids
from crwedge.core.pictures import open_image
from crwedge.eval.boundary import TOLERANCE
from crwedge.eval.datasets import chosen, mask_folders, pngs
from crwedge.eval.scorer import Rule, SequenceScore, SequenceScorer, overall


@dataclass(frozen=True)
class FolderScore:
    """Score of a folder of masks."""

    rule: Rule
    sequences: dict[str, SequenceScore]
    missing_sequences: tuple[str, ...]
    left_out: dict[str, tuple[str, ...]]
    """True masks without a prediction, by sequence, in the sequences that were scored; they are left out of the score."""
    extra: dict[str, tuple[str, ...]]
    """Predictions without a true mask, by sequence; they are not scored."""
    extra_sequences: tuple[str, ...] = ()
    """Sequences with predictions and no true masks."""

    @property
    def missing_frames(self) -> int:
        """How many true masks of the scored sequences have no prediction."""
        return sum(map(len, self.left_out.values()))

    @property
    def partial(self) -> bool:
        """Whether anything was missing."""
        return bool(self.missing_sequences) or self.missing_frames > 0

    def notes(self) -> list[str]:
        """Skipped frames and predictions that were not scored, one line per sequence."""
        lines = [f"{name}: no predictions; skipped" for name in self.missing_sequences]
        lines += [
            f"{name}: {len(frames)} frames without a prediction are skipped: {_listed(frames)}"
            for name, frames in self.left_out.items()
        ]
        lines += [
            f"{name}: {len(frames)} predictions have no true mask and are not scored: {_listed(frames)}"
            for name, frames in self.extra.items()
        ]
        return lines + [f"{name}: predictions without true masks; not scored" for name in self.extra_sequences]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as `crwedge eval masks --json` prints them."""
        protocol: dict[str, Any] = {
            **davis_protocol(self.rule),
            "sequences": len(self.sequences),
            "partial": self.partial,
        }
        if self.partial:
            protocol["missing"] = {"sequences": list(self.missing_sequences), "frames": self.missing_frames}
            protocol["left_out"] = {name: list(frames) for name, frames in self.left_out.items()}
        if self.extra or self.extra_sequences:
            protocol["without_truth"] = {
                "sequences": list(self.extra_sequences),
                "frames": {name: list(frames) for name, frames in self.extra.items()},
            }
        scores = {name: score.to_dict() for name, score in self.sequences.items()}
        return {"protocol": protocol, **overall(self.sequences), "sequences": scores}


def davis_protocol(rule: Rule) -> dict[str, Any]:
    """The protocol of a DAVIS score."""
    return {
        "benchmark": "davis",
        "rule": rule,
        "objects": "each id of the first true mask" if rule == "2017" else "all ids together as one object",
        "scored_frames": "all but the first and the last",
        "boundary_tolerance": TOLERANCE,
    }


def score_folders(
    predicted: Path,
    truth: Path,
    rule: Rule = "2017",
    partial: bool = False,
    sequences: Iterable[str] = (),
    workers: int = 2,
) -> FolderScore:
    """Score every sequence of `truth`.

    Args:
        predicted: `<sequence>/00000.png` ..., or the PNG files of a single sequence.
        truth: the same, or a tree with the true masks (`crwedge.eval.datasets.mask_folders`).
        rule: "2017" or "2016".
        partial: skip frames and sequences without a prediction instead of raising.
        sequences: names to keep; all when empty.
        workers: number of threads; each scores one sequence at a time.

    Raises:
        SourceError: a folder is missing or holds no masks.
        MaskError: a mask is missing, no palette PNG, of another size, or holds an id above 254; the file is named.
    """
    theirs, ours = mask_folders(truth), mask_folders(predicted)
    if "" in theirs or "" in ours:
        if len(theirs) != 1 or len(ours) != 1:
            raise MaskError(f"{predicted} and {truth} do not match: one holds a single sequence, the other several")
        (folder,), (true_folder,) = ours.values(), theirs.values()
        name = truth.resolve().parent.name if truth.name == "Annotations" else truth.resolve().name
        theirs, ours = {name: true_folder}, {name: folder}
    names = chosen(theirs, sequences, truth)
    missing = tuple(name for name in names if name not in ours)
    if missing and (not partial or len(missing) == len(names)):
        raise MaskError(
            f"there are no masks for the sequence {missing[0]} ({predicted / missing[0]})"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; choose with --sequences, or score what is there with --partial"
        )
    names = [name for name in names if name not in missing]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        futures = [pool.submit(_score_folder, ours[name], theirs[name], rule, partial) for name in names]
        try:
            results = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return FolderScore(
        rule,
        {name: score for name, (score, _, _) in zip(names, results, strict=True)},
        missing,
        {name: absent for name, (_, absent, _) in zip(names, results, strict=True) if absent},
        {name: extra for name, (_, _, extra) in zip(names, results, strict=True) if extra},
        tuple(name for name in ours if name not in theirs),
    )


def read_ids(path: Path, void: bool) -> NDArray[np.uint8]:
    """Read a mask of a benchmark: a palette PNG, or a grey PNG that has only the values 0 and 255.

    Args:
        path: the file.
        void: whether the id 255 (void) is allowed, as in true masks.

    Raises:
        MaskError: naming the file.
    """
    if not path.is_file():
        raise MaskError(f"the mask {path} is missing")
    try:
        with open_image(path) as image:
            mode, form = image.mode, image.format
    except SourceError as error:
        raise MaskError(str(error)) from error
    if form != "PNG":
        raise MaskError(f"{path} is {form}, not PNG: masks must be stored without loss")
    ids = read_label_ids(path)
    if mode not in ("P", "1") and ids.max() > 1:
        raise MaskError(
            f"{path} is a grey PNG with the value {int(ids.max())}; masks are palette PNG (value = object id), "
            "or grey with only 0 and 255"
        )
    if mode not in ("P", "1") and ids.max() == 1 and not _is_binary(path):
        raise MaskError(f"{path} is a grey PNG with the value 1; masks are palette PNG, or grey with only 0 and 255")
    if not void and bool((ids == VOID).any()):
        raise MaskError(f"{path} holds the id 255, which is void; objects are 1 to 254")
    return ids


def _is_binary(path: Path) -> bool:
    with open_image(path) as image:
        return image.getextrema() in ((0, 255), (255, 255))


def _score_folder(
    predicted: Path, truth: Path, rule: Rule, partial: bool
) -> tuple[SequenceScore, tuple[str, ...], tuple[str, ...]]:
    """The score of one sequence, the true masks without a prediction, and the predictions without a true mask."""
    scorer = SequenceScorer(rule)
    true_paths = {path.name: path for path in pngs(truth)}
    paths = {path.name: path for path in pngs(predicted)}
    absent = tuple(name for name in true_paths if name not in paths)
    extra = tuple(name for name in paths if name not in true_paths)
    if absent and extra:
        # Scored by their common names they would be compared with masks of other frames.
        raise MaskError(
            f"the names of {predicted} and {truth} do not match: {extra[0]} has no true mask, and {absent[0]} has no "
            "prediction; name each mask after its frame"
        )
    if absent and not partial:
        raise MaskError(f"the mask {predicted / absent[0]} is missing; score what is there with --partial")
    for name, true_path in true_paths.items():
        true_mask = read_ids(true_path, void=True)
        path = paths.get(name)
        mask = None if path is None else read_ids(path, void=False)
        if mask is not None and mask.shape != true_mask.shape:
            raise MaskError(
                f"{path} is {size_text(mask.shape)} (height x width), the true mask "
                f"{size_text(true_mask.shape)}: write masks of the frame's own size"
            )
        try:
            scorer.feed_frame(mask, true_mask)
        except MaskError as error:
            raise MaskError(f"{true_path}: {error}") from error
    return scorer.conclude(), absent, extra


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
