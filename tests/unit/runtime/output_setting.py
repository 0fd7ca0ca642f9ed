"""A setting that changes the output alone: the same film tracked without it and with it."""

from __future__ import annotations

import numpy as np

import crwedge as cw
from crwedge.core.scene import Scene


def without_and_with(setting: str, scene: Scene) -> list[tuple[cw.LabelMap, cw.LabelMap]]:
    """The label maps of each frame, after a check that all that is predicted is the same."""
    found = []
    for on in (False, True):
        with cw.Tracker.open(settings=cw.preset("edge").with_changes(**{setting: on}), workers=1) as tracker:
            maps = [tracker.step(scene.frames[0], scene.masks[0])]
            maps += [tracker.step(frame) for frame in scene.frames[1:]]
            found.append(maps)
    pairs = list(zip(*found, strict=True))
    for plain, changed in pairs:
        np.testing.assert_array_equal(plain.soft, changed.soft)
        assert plain.confidence == changed.confidence
    return pairs
