"""Changes to a label map that apply to the output only, not to the context or the region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from crwedge.core.images import grid_size
from crwedge.core.labels import LabelMap
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.backends.base import Prediction
from crwedge.runtime.monitor import SEARCHING
from crwedge.runtime.propagation.guided import guided_ids
from crwedge.runtime.propagation.specks import remove_specks
from crwedge.runtime.sources.frame import Frame


def finished(
    labels: LabelMap,
    settings: PropagationSettings,
    names: Mapping[int, str],
    painted: bool,
    searched: Iterable[int] = (),
) -> LabelMap:
    """The label map that is given out: with the objects' names and, where the settings say so, without specks.

    Args:
        labels: what was predicted.
        settings: see `PropagationSettings.drop_specks`.
        names: of objects.
        painted: whether a mask came with the frame; what was painted stays.
        searched: objects that were never found.
    """
    known = {i: names[i] for i in labels.object_ids if i in names}
    states = {**labels.states, **{i: SEARCHING for i in searched if i not in labels.states}}
    if painted or not settings.drop_specks or labels.joints is not None:
        return replace(labels, names=known, states=states)
    return replace(labels, ids=remove_specks(labels.ids), names=known, states=states)


def guided(labels: LabelMap, prediction: Prediction, settings: PropagationSettings) -> LabelMap:
    """The label map with borders along those of its frame, where the settings say so.

    Args:
        labels: what was predicted, with its frame.
        prediction: the soft labels.
        settings: see `PropagationSettings.guided`.
    """
    if not settings.guided or labels.joints is not None or labels.frame is None:
        return labels
    view = prediction.features.view.finer(settings.label_scale)
    return replace(labels, ids=guided_ids(labels.ids, prediction.fine, labels.object_ids, view, labels.frame))


def nothing_found(frame: Frame, index: int, searched: Iterable[int]) -> LabelMap:
    """The label map of a frame in which no object of `searched` was found yet, and nothing else is followed."""
    size = frame.image.shape[0], frame.image.shape[1]
    return LabelMap(
        ids=np.zeros(size, np.uint8),
        index=index,
        object_ids=(),
        soft=np.ones((1, *grid_size(*size)), np.float32),
        pts=frame.pts,
        frame=frame.image,
        source_index=frame.index,
        states=dict.fromkeys(searched, SEARCHING),
        name=frame.name,
        time=frame.time,
    )
