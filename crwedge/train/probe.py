"""A quick look at what training is for: the J of a short propagation."""

from __future__ import annotations

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
from crwedge.model.encoder import Encoder
from crwedge.train.objective import autocast

# A shortened protocol: enough to see whether features improve, seconds instead of minutes.
SETTINGS = PropagationSettings(context_length=4, topk=10, radius=12, temperature=0.05, first_frame="restricted")


@dataclass(frozen=True)
class ProbeClip:
    """A labelled clip."""

    frames: list[NDArray[np.uint8]]
    """Each (H, W, 3) RGB."""
    masks: list[NDArray[np.uint8]]
    """Each (H, W) ids."""


def open_probe(path: str, *, frames: int = 12, short_side: int = 240) -> ProbeClip:
    """Read at most `frames` frames, evenly spread, of a folder with JPEGImages/ and Annotations/; "" renders a scene.

    Raises:
        SettingError: the folder is not laid out so.
    """
    if not path:
        scene = render_scene(frames, short_side, short_side * 16 // 9, objects=2, seed=7)
        return ProbeClip(list(scene.frames), list(scene.masks))
    folder = Path(path)
    kinds = [folder / "JPEGImages", folder / "Annotations"]
    pictures, masks = ({p.stem: p for p in list_pictures(kind)} if kind.is_dir() else {} for kind in kinds)
    names = [name for name in pictures if name in masks]
    if len(names) < 3:
        raise SettingError(f"the probe {folder} needs JPEGImages/ and Annotations/ with at least 3 frames in both")
    names = names[:: max(1, len(names) // frames)][:frames]
    sequence = PictureSequence([pictures[name] for name in names])
    images = [sequence.read(number) for number in range(len(names))]
    size = shrunk(images[0].shape[0], images[0].shape[1], short_side)
    return ProbeClip(
        [resize_frame(image, size) for image in images], [resize_mask(read_mask(masks[name]), size) for name in names]
    )


def probe_score(encoder: Encoder, clip: ProbeClip, precision: str = "float32") -> float:
    """Mean J over objects and frames, the first and the last left out."""
    from crwedge.runtime.propagation.propagate import propagate_masks

    ids = object_ids(clip.masks[0])
    features = (frame_features(encoder, frame, precision) for frame in clip.frames)
    found = list(propagate_masks(features, clip.masks[0], settings=SETTINGS, workers=torch.get_num_threads()))
    return float(np.mean([region_iou(ours, truth, ids) for ours, truth in zip(found, clip.masks, strict=True)][1:-1]))


def frame_features(encoder: Encoder, frame: NDArray[np.uint8], precision: str = "float32") -> NDArray[np.float32]:
    """Features (C, h, w) of an RGB frame (H, W, 3), unit length over C, as propagation takes them."""
    device = next(encoder.parameters()).device
    with torch.no_grad(), autocast(device, precision):
        found = encoder.features(torch.from_numpy(np.array(frame))[None].to(device))
    return np.ascontiguousarray(found[0].float().cpu().numpy())
