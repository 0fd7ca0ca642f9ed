"""The verdict: what is the same passes, what is not fails."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.labels import region_iou
from crwedge.core.settings import PropagationSettings
from crwedge.eval.metrics import frame_scores
from crwedge.export.parity import TOLERANCES, compare, compare_features, topk_agreement
from crwedge.export.test_clips import ReferenceClip, rendered

SETTINGS = PropagationSettings(context_length=3)
CLIP = rendered((64, 96), 4)


def features(seed: int = 0, frames: int = 4) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(frames, 16, 8, 12)).astype(np.float32)
    return list(raw / np.linalg.norm(raw, axis=1, keepdims=True))


def test_the_same_features_pass() -> None:
    parity = compare(features(), features(), CLIP, SETTINGS, tolerances=TOLERANCES["float32"], scorer=frame_scores)
    assert parity.passed
    assert parity.max_error == 0
    assert parity.topk_agreement == parity.label_iou == 1
    assert parity.steps == 3
    assert parity.score_drop == 0
    assert set(parity.scores["reference"]) == {"J", "F"}


def test_other_features_fail_on_every_bar() -> None:
    parity = compare(features(), features(1), CLIP, SETTINGS, tolerances=TOLERANCES["int8"])
    failed = {name for name, *_, ok in parity.rows() if not ok}
    assert {"worst cosine", "mean cosine", "top-k agreement", "label IoU after 3 steps"} <= failed
    assert "FAILED" in parity.table()
    assert str(parity).startswith("FAILED")


@pytest.mark.parametrize("broken", ["shape", "count", "nan", "inf"])
def test_what_cannot_be_compared_fails(broken: str) -> None:
    got = features()
    if broken == "shape":
        got[1] = got[1][:, :-1]
    elif broken == "count":
        got.pop()
    else:
        got[2] = got[2] * np.float32(broken)
    parity = compare(features(), got, CLIP, SETTINGS, tolerances=TOLERANCES["float32"])
    assert not parity.passed
    # JSON knows neither infinity nor NaN.
    json.dumps(parity.to_dict(), allow_nan=False)


def test_without_a_mask_only_features_are_judged() -> None:
    parity = compare(
        features(), features(), ReferenceClip("x", CLIP.frames), SETTINGS, tolerances=TOLERANCES["float32"]
    )
    assert parity.topk_agreement is None
    assert parity.passed


def test_points_lost_are_judged_where_there_are_enough_frames() -> None:
    scores = {"reference": {"J": 70.0, "F": 60.0}, "candidate": {"J": 68.0, "F": 59.0}}
    parity = replace(compare_features(features(), features(), TOLERANCES["int8"]), scores=scores, steps=20)
    assert parity.score_drop == 1.5
    assert not parity.passed
    assert replace(parity, steps=5).passed
    assert replace(parity, scores={"reference": {"J": 70.0}, "candidate": {"J": 71.0}}).passed


def test_topk_agreement_counts_shared_neighbours() -> None:
    a = features(frames=2)
    assert topk_agreement(a, a, SETTINGS) == 1
    assert topk_agreement(a, features(5, 2), SETTINGS) < 0.5


def test_iou_of_absent_objects_is_whole() -> None:
    a, b = np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)
    a[0] = 1
    b[:, 0] = 1
    np.testing.assert_allclose(region_iou(a, b, (1, 2)), [1 / 3, 1])
