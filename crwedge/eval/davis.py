"""DAVIS: propagate the first mask of a sequence and score J and F."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.core.images import size_text
from crwedge.core.masks import VOID, write_mask
from crwedge.eval.contact_sheet import SheetMaker
from crwedge.eval.datasets import Clip
from crwedge.eval.follow import Follower, read_frame
from crwedge.eval.score_folders import davis_protocol, read_ids
from crwedge.eval.scorer import Rule, SequenceScore, SequenceScorer, overall


def score_clip(
    clip: Clip, follower: Follower, rule: Rule, out: Path | None = None, save: bool = False
) -> SequenceScore:
    """Propagate the first mask of a sequence and score it; without a feature cache, with the tracker itself.

    Args:
        clip: the sequence.
        follower: encoder and protocol.
        rule: "2017" propagates and scores each object, "2016" their union.
        out: folder for the contact sheet (`sheets/<sequence>.jpg`).
        save: also write every mask to `masks/<sequence>/`.
    """
    scorer = SequenceScorer(rule)
    sheet = SheetMaker(len(clip.frames))

    def take(number: int, ids: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
        try:
            scorer.feed_frame(ids, truth)
        except MaskError as error:
            raise MaskError(f"{clip.masks[number]}: {error}") from error
        if out is not None and save:
            folder = out / "masks" / clip.name
            folder.mkdir(parents=True, exist_ok=True)
            write_mask(folder / f"{clip.frames[number].stem}.png", ids)
        if out is not None and sheet.wants(number):
            sheet.add_masks(read_frame(clip.frames[number]), ids, truth)

    first = first_mask(clip, rule)
    take(0, first, first)
    cells, times = [], []
    if follower.cache is None:
        for number, (labels, spent) in enumerate(follower.track(clip.frames, first), start=1):
            take(number, labels.ids, true_mask(clip.masks[number], rule))
            cells.append(labels.soft[0].size)
            times.append(spent)
    else:
        for number, ids in enumerate(follower.masks(clip.frames, first), start=1):
            take(number, ids, true_mask(clip.masks[number], rule))
    if out is not None:
        sheet.write(out / "sheets" / f"{clip.name}.jpg")
    cost = {"cells": float(np.mean(cells)), "frame_ms": float(np.median(times))} if times else {}
    return replace(scorer.conclude(), cost=cost)


def first_mask(clip: Clip, rule: Rule) -> NDArray[np.uint8]:
    """True ids (H, W) of the first frame; MaskError when the mask has another size than the frame."""
    first = true_mask(clip.masks[0], rule)
    size = read_frame(clip.frames[0]).shape[:2]
    if first.shape != size:
        raise MaskError(f"{clip.masks[0]} is {size_text(first.shape)} (height x width), its frame {size_text(size)}")
    return first


def true_mask(path: Path, rule: Rule) -> NDArray[np.uint8]:
    """True ids (H, W): void becomes background; with rule "2016" every object becomes object 1."""
    ids = read_ids(path, void=True)
    ids = np.where(ids == VOID, 0, ids).astype(np.uint8)
    return np.asarray(ids > 0, np.uint8) if rule == "2016" else ids


def summary(scores: dict[str, dict[str, Any]], protocol: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """Protocol and scores of a run, as `--json` prints them, from the scores of its sequences."""
    sequences = {name: SequenceScore.from_dict(values) for name, values in scores.items()}
    return {"protocol": {**davis_protocol(rule), **protocol}, **overall(sequences), "sequences": scores}
