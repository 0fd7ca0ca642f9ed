"""Quick scores of the encoder while it is trained: by the labels of a short clip, or without labels on footage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from crwedge.core.errors import SettingError
from crwedge.core.images import resize_frame
from crwedge.core.labels import region_iou
from crwedge.core.masks import object_ids, read_mask, resize_mask
from crwedge.core.pictures import PictureSequence, list_pictures, shrunk
from crwedge.core.scene import render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.cycle.footage import read_clips
from crwedge.cycle.score import CycleScore, CycleSettings, cycle_score
from crwedge.model.encoder import Encoder
from crwedge.train.objective import autocast

# A shortened protocol: enough to see whether features improve, seconds instead of minutes.
SETTINGS = PropagationSettings(context_length=4, topk=10, radius=12, temperature=0.05, first_frame="restricted")

_FOOTAGE_CLIPS = 8


@dataclass(frozen=True)
class LabelledClip:
    """A clip with its masks."""

    frames: list[NDArray[np.uint8]]
    """Each (H, W, 3) RGB."""
    masks: list[NDArray[np.uint8]]
    """Each (H, W) ids."""

    def score(self, encoder: Encoder, precision: str = "float32") -> float:
        """Mean J over objects and frames of propagating the first mask; the first and the last frame are left out."""
        from crwedge.runtime.propagation.propagate import propagate_masks

        ids = object_ids(self.masks[0])
        features = (frame_features(encoder, frame, precision) for frame in self.frames)
        found = list(propagate_masks(features, self.masks[0], settings=SETTINGS, workers=torch.get_num_threads()))
        scores = [region_iou(ours, truth, ids) for ours, truth in zip(found, self.masks, strict=True)]
        return float(np.mean(scores[1:-1]))


@dataclass(frozen=True)
class Footage:
    """Clips without labels."""

    clips: list[list[NDArray[np.uint8]]]
    """Each T frames (H, W, 3) RGB."""

    def score(self, encoder: Encoder, precision: str = "float32") -> CycleScore:
        """Cycle consistency, as `crwedge check` measures it."""
        return cycle_score(TorchEngine(encoder, precision), self.clips, workers=torch.get_num_threads())


class TorchEngine:
    """An encoder in PyTorch behind the interface of engines.

    Args:
        encoder: in evaluation mode.
        precision: `float32` or `bfloat16`.
    """

    name = "PyTorch"

    def __init__(self, encoder: Encoder, precision: str = "float32") -> None:
        self._encoder, self._precision = encoder, precision

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (H, W, 3) -> features (C, h, w), unit length over C."""
        return frame_features(self._encoder, frame, self._precision)

    def close(self) -> None:
        """Do nothing: no resource is open."""


def open_probe(paths: Sequence[str]) -> LabelledClip | Footage:
    """What the encoder is scored on.

    Args:
        paths: one folder with JPEGImages/ and Annotations/; or videos and folders of videos; none: a rendered scene.

    Raises:
        SettingError: a labelled folder holds fewer than 3 frames with masks.
        SourceError: there is no footage.
    """
    if not paths:
        return rendered_clip()
    if any((Path(path) / "Annotations").is_dir() for path in paths):
        if len(paths) > 1:
            raise SettingError("a probe is one labelled folder or any number of unlabelled videos, not both")
        return labelled_clip(Path(paths[0]))
    settings = CycleSettings()
    clips = read_clips(
        paths, count=_FOOTAGE_CLIPS, frames=settings.frames, rate=settings.rate, short_side=settings.short_side
    )
    if len(clips) < 2:
        raise SettingError("the footage of --probe gives one clip only, which is too few; give more or longer videos")
    logging.getLogger(__name__).info("probe: %d clips without labels", len(clips))
    return Footage(clips)


def rendered_clip(frames: int = 12, short_side: int = 240) -> LabelledClip:
    """A rendered scene with two objects."""
    scene = render_scene(frames, short_side, short_side * 16 // 9, objects=2, seed=7)
    return LabelledClip(list(scene.frames), list(scene.masks))


def labelled_clip(folder: Path, *, frames: int = 12, short_side: int = 240) -> LabelledClip:
    """At most `frames` frames, evenly spread, of a folder with JPEGImages/ and Annotations/.

    Raises:
        SettingError: fewer than 3 frames have a mask.
    """
    kinds = [folder / "JPEGImages", folder / "Annotations"]
    pictures, masks = ({p.stem: p for p in list_pictures(kind)} if kind.is_dir() else {} for kind in kinds)
    names = [name for name in pictures if name in masks]
    if len(names) < 3:
        raise SettingError(f"the probe {folder} needs JPEGImages/ and Annotations/ with at least 3 frames in both")
    names = names[:: max(1, len(names) // frames)][:frames]
    sequence = PictureSequence([pictures[name] for name in names])
    images = [sequence.read(number) for number in range(len(names))]
    size = shrunk(images[0].shape[0], images[0].shape[1], short_side)
    return LabelledClip(
        [resize_frame(image, size) for image in images], [resize_mask(read_mask(masks[name]), size) for name in names]
    )


def frame_features(encoder: Encoder, frame: NDArray[np.uint8], precision: str = "float32") -> NDArray[np.float32]:
    """Features (C, h, w) of an RGB frame (H, W, 3), unit length over C, as propagation takes them."""
    device = next(encoder.parameters()).device
    with torch.no_grad(), autocast(device, precision):
        found = encoder.features(torch.from_numpy(np.array(frame))[None].to(device))
    return np.ascontiguousarray(found[0].float().cpu().numpy())
