"""On real frames, with the encoder that ships: every precision follows the same object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crwedge.core.images import resize_frame
from crwedge.core.masks import read_mask, resize_mask
from crwedge.core.settings import preset
from crwedge.eval.metrics import frame_scores
from crwedge.export.build import export_bundle
from crwedge.export.parity import TOLERANCES, compare
from crwedge.export.test_clips import ReferenceClip
from crwedge.runtime.backends.open import open_engine

SIZE = (120, 214)
FRAMES = 13
SETTINGS = replace(preset("crw"), context_length=7)


@pytest.fixture(scope="module")
def clip(data: Path) -> ReferenceClip:
    folder = data / "vos" / "blackswan"
    frames = [
        resize_frame(np.asarray(Image.open(path).convert("RGB")), SIZE)
        for path in sorted((folder / "JPEGImages").glob("*.jpg"))[:FRAMES]
    ]
    masks = [resize_mask(read_mask(path), SIZE) for path in sorted((folder / "Annotations").glob("*.png"))[:FRAMES]]
    return ReferenceClip("blackswan, 13 frames of 120x214", frames, masks[0], masks)


def features(folder: Path, precision: str, clip: ReferenceClip) -> list[NDArray[np.float32]]:
    """What a bundle of the shipped encoder makes of the frames."""
    few = replace(clip, frames=clip.frames[:3], truth=None)
    bundle = export_bundle(None, folder, precision=precision, size=SIZE, verify=few)  # type: ignore[arg-type]
    engine = open_engine(bundle, "cpu")
    try:
        return [engine.run(np.asarray(frame)) for frame in clip.frames]
    finally:
        engine.close()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, clip: ReferenceClip) -> list[NDArray[np.float32]]:
    return features(tmp_path_factory.mktemp("wide") / "b", "float32", clip)


@pytest.mark.data
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_every_precision_follows_the_same_object(
    tmp_path: Path, clip: ReferenceClip, wide: list[NDArray[np.float32]], precision: str
) -> None:
    # A dozen small frames: single cells are points here, so the tolerances on the score are wider than the verdict's.
    tolerances = replace(TOLERANCES[precision], score_drop=3.0)
    got = features(tmp_path / "b", precision, clip)
    verdict = compare(wide, got, clip, SETTINGS, tolerances=tolerances, scorer=frame_scores)
    assert verdict.passed, verdict.table()
    assert verdict.steps == FRAMES - 1
