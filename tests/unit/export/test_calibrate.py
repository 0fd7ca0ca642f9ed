"""The ranges of static quantisation."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.core.errors import SourceError
from crwedge.export.calibrate import best_range, calibrate
from crwedge.export.onnx import build_onnx
from crwedge.model.encoder import Encoder
from tests.unit.export.conftest import FRAMES, recipe_of, weights_of


def test_a_flat_histogram_keeps_everything() -> None:
    assert best_range(np.full(2048, 10), 4.0) == pytest.approx(4.0, rel=0.02)


def test_a_lone_outlier_is_cut() -> None:
    counts = np.zeros(2048, np.int64)
    counts[:512] = 10_000
    counts[-1] = 1
    assert best_range(counts, 4.0) < 2.0


def test_nothing_seen_is_no_division_by_zero() -> None:
    assert best_range(np.zeros(2048, np.int64), 0.0) == 1.0


def test_every_activation_that_is_quantised_has_a_range(encoder: Encoder, ranges: dict) -> None:
    build_onnx(weights_of(encoder), recipe_of(encoder.config, precision="int8"), ranges=ranges)
    assert all(value > 0 for value in ranges.values())


def test_later_frames_may_be_larger(encoder: Encoder) -> None:
    data = build_onnx(weights_of(encoder), recipe_of(encoder.config))
    dark = np.full_like(FRAMES[:1], 127)
    seen: list[int] = []
    mixed = calibrate(data, [*dark, *FRAMES], seen.append)
    assert seen == [1, 2, 3, 4]
    assert mixed["conv1.relu"] > 0.5 * calibrate(data, FRAMES)["conv1.relu"]


def test_no_frame_is_an_error(encoder: Encoder) -> None:
    with pytest.raises(SourceError, match="no frame for calibration"):
        calibrate(build_onnx(weights_of(encoder), recipe_of(encoder.config)), [])
