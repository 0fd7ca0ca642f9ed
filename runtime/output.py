"""What is done to a label map on its way out, after the context and the region have seen it as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crwedge.core.labels import LabelMap
from crwedge.core.settings import PropagationSettings
from crwedge.runtime.propagation.specks import remove_specks


def finished(labels: LabelMap, settings: PropagationSettings, names: Mapping[int, str], painted: bool) -> LabelMap:
    """The label map that is given out: with the objects' names and, where the settings say so, without specks.

    Args:
        labels: what was predicted.
        settings: see `PropagationSettings.drop_specks`.
        names: of objects.
        painted: whether a mask came with the frame; what was painted stays.
    """
    known = {i: names[i] for i in labels.object_ids if i in names}
    if painted or not settings.drop_specks or labels.joints is not None:
        return replace(labels, names=known) if known else labels
    return replace(labels, ids=remove_specks(labels.ids), names=known)
