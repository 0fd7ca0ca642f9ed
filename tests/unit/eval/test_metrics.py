"""J and F against a transcription in loops, hand-computed cases and the official figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from crwedge.core.masks import read_mask
from crwedge.eval.boundary import boundary_reach
from crwedge.eval.metrics import boundary_f, frame_scores, jaccard, mean_statistics, statistics
from crwedge.eval.scorer import SequenceScorer


def edges_by_loops(region: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Boundary pixels, one by one."""
    height, width = region.shape
    found = set()
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (1, 1)):
                if y + dy < height and x + dx < width and region[y, x] != region[y + dy, x + dx]:
                    found.add((y, x))
    return found


def f_by_loops(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], reach: int) -> float:
    """The F-measure by comparing every boundary pixel with every other."""
    ours, theirs = edges_by_loops(predicted), edges_by_loops(truth)

    def share(some: set[tuple[int, int]], others: set[tuple[int, int]]) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= reach**2 for v, u in others) for y, x in some]
        return sum(near) / len(near) if near else 1.0

    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


MASKS = arrays(np.uint8, st.tuples(st.integers(2, 12), st.integers(2, 12)), elements=st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(0, 4))
def test_frame_scores_equal_the_loops(truth: NDArray[np.uint8], reach: int) -> None:
    predicted = np.roll(truth, (1, -1), (0, 1))
    predicted[0] = 2
    region, boundary = frame_scores(predicted, truth, (1, 2, 7), reach)
    for index, object_id in enumerate((1, 2, 7)):
        p, t = predicted == object_id, truth == object_id
        union = (p | t).sum()
        assert region[index] == pytest.approx((p & t).sum() / union if union else 1.0, abs=1e-12)
        assert boundary[index] == pytest.approx(f_by_loops(p, t, reach), abs=1e-12)


@pytest.mark.parametrize("reach", [3, 31, 32, 70])
def test_wide_frames_and_long_reaches_equal_the_loops(reach: int) -> None:
    truth, predicted = np.zeros((90, 260), bool), np.zeros((90, 260), bool)
    truth[20:50, 30:70] = truth[60:64, 250:] = True
    predicted[10:40, 100:135] = predicted[62:63, 180:250] = True
    assert boundary_f(predicted, truth, reach) == pytest.approx(f_by_loops(predicted, truth, reach), abs=1e-12)


def test_reach_of_the_usual_frame() -> None:
    assert boundary_reach(480, 854) == 8
    assert boundary_reach(240, 432) == math.ceil(0.008 * math.hypot(240, 432)) == 4


def test_hand_computed_regions() -> None:
    truth = np.zeros((20, 30), bool)
    truth[5:15, 5:15] = True
    half = truth.copy()
    half[:, 10:] = False
    assert jaccard(half, truth) == 0.5
    assert jaccard(truth, truth) == boundary_f(truth, truth) == 1.0
    empty = np.zeros_like(truth)
    assert jaccard(empty, empty) == boundary_f(empty, empty) == 1.0
    assert jaccard(empty, truth) == boundary_f(empty, truth) == boundary_f(truth, empty) == 0.0


def test_boundary_within_reach_is_matched() -> None:
    truth = np.zeros((40, 40), bool)
    truth[10:20, 10:20] = True
    moved = np.roll(truth, 3, axis=1)
    assert boundary_f(moved, truth, reach=3) == 1.0
    assert boundary_f(moved, truth, reach=2) < 1.0


def test_an_object_in_the_last_corner() -> None:
    truth = np.zeros((9, 9), bool)
    truth[8, 8] = True
    assert edges_by_loops(truth) == {(7, 7), (7, 8), (8, 7)}
    assert boundary_f(truth, truth) == 1.0


def test_whole_frame_has_no_boundary() -> None:
    full = np.ones((8, 8), bool)
    assert boundary_f(full, full) == 1.0


def test_statistics_by_hand() -> None:
    got = statistics([None, 1.0, 0.8, 0.6, 0.4, 0.2, None])
    # Marks at frames 0, 1, 2, 3, 4: the first quarter is frames 0 and 1, the last 3 and 4.
    assert got.mean == pytest.approx(0.6)
    assert got.recall == pytest.approx(3 / 5)
    assert got.decay == pytest.approx(0.9 - 0.3)


def test_statistics_of_nothing_are_nan_and_left_out() -> None:
    nothing = statistics([None, None])
    assert math.isnan(nothing.mean)
    assert mean_statistics([nothing, statistics([1.0])]).mean == 1.0
    assert math.isnan(mean_statistics([]).decay)


@pytest.mark.data
@pytest.mark.parametrize("sequence", ["blackswan", "motocross-jump", "car-shadow"])
def test_official_figures(data: Path, sequence: str) -> None:
    """Every frame of some of the sequences; `crwedge eval masks` was held against all ten."""
    official = json.loads((data / "official-scores" / "davis2016.json").read_text())[sequence]
    scorer = SequenceScorer("2016")
    for path in sorted((data / "official-scores" / "masks" / sequence).glob("*.png")):
        scorer.feed_frame(read_mask(path), read_mask(data / "vos" / sequence / "Annotations" / path.name))
    score = scorer.conclude().to_dict()
    for measure in ("J", "F"):
        assert [v is None for v in score[measure]["raw"]] == [v is None for v in official[measure]["raw"][0]]
        got = np.array(score[measure]["raw"], float)
        np.testing.assert_allclose(got, np.array(official[measure]["raw"][0], float), rtol=0, atol=1e-9)
        for statistic in ("mean", "decay"):
            assert score[measure][statistic] == pytest.approx(official[measure][statistic][0], abs=1e-9)
        share = np.mean([value > 0.5 for value in official[measure]["raw"][0] if value is not None])
        # The official file says 1.0 for F of motocross-jump, whose own figures are above 0.5 in 32 of 38 frames.
        assert score[measure]["recall"] == pytest.approx(float(share), abs=1e-9)
        if (sequence, measure) != ("motocross-jump", "F"):
            assert score[measure]["recall"] == pytest.approx(official[measure]["recall"][0], abs=1e-9)
