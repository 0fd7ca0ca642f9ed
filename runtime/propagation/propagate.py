"""Follow a mask through the features of a clip, frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from crwedge.core.prompts import MaskPrompt
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.context import ContextBuffer
from crwedge.runtime.propagation.propagator import LabelPropagator, check_features, labels_to_ids

Features = NDArray[np.float32]


def propagate_masks(
    features: Iterable[Features],
    mask: NDArray[np.uint8],
    size: tuple[int, int] | None = None,
    settings: PropagationSettings | None = None,
    workers: int | None = None,
    *,
    hidden: Collection[int] = (),
) -> Iterator[NDArray[np.uint8]]:
    """Object ids of every frame of a clip, from its features and the mask of its first frame.

    Args:
        features: (C, h, w) float32 of each frame in order, unit length over C.
        mask: (H, W) ids of the first frame, 0 background, 255 void.
        size: (H, W) of the ids; by default that of the mask.
        settings: the propagation protocol; `crw` by default.
        workers: threads; by default every processor this process may use.
        hidden: ids that are followed, but whose pixels go to the next best id. The first frame keeps them.

    Yields:
        (H, W) ids of each frame. Those of the first frame are the mask, wherever it is not void.

    Raises:
        CrwedgeError: features are not finite, or their grid changes.
    """
    settings = settings or PropagationSettings()
    prompt, size = MaskPrompt(mask), size or (mask.shape[0], mask.shape[1])
    shown = tuple(i for i in prompt.ids if i not in hidden)
    channels = [0, *(prompt.ids.index(i) + 1 for i in shown)]
    frames = iter(features)
    first = next(frames, None)
    if first is None:
        return
    first_soft = prompt.soft((settings.label_scale * first.shape[1], settings.label_scale * first.shape[2]))
    for number, soft in enumerate(propagate_soft(itertools.chain([first], frames), first_soft, settings, workers)):
        kept = soft if len(channels) == len(soft) else np.ascontiguousarray(soft[channels])
        ids = labels_to_ids(kept, shown, size, settings.output_norm)
        yield prompt.overlay(ids) if number == 0 and size == prompt.size else ids


def propagate_soft(
    features: Iterable[Features],
    first_soft: NDArray[np.float32],
    settings: PropagationSettings | None = None,
    workers: int | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Soft labels of every frame of a clip, from its features and the soft labels of its first frame.

    Args:
        features: (C, h, w) float32 of each frame in order, unit length over C.
        first_soft: (K, h * s, w * s) float32 with s the `label_scale`; channel 0 is the background.
        settings: the propagation protocol; `crw` by default.
        workers: threads; by default every processor this process may use.

    Yields:
        (K, h * s, w * s) float32 of each frame; the first is `first_soft`.

    Raises:
        CrwedgeError: features are not finite, or their grid changes.
    """
    settings = settings or PropagationSettings()
    propagator, context = LabelPropagator(settings, workers), ContextBuffer(settings)
    try:
        for current in features:
            if context.empty:
                check_features(current)
                soft = first_soft
                context.pin(current, soft)
            else:
                soft = propagator(current, context)
                context.append(current, soft)
            yield soft
    finally:
        propagator.close()
