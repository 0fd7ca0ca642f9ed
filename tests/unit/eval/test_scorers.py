"""The streaming scorers on hand-computed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from crwedge.core.errors import MaskError
from crwedge.eval.iou import PartsScore, PartsScorer, class_iou, confusion
from crwedge.eval.pck import PoseScore, PoseScorer, joint_errors, pck, person_size
from crwedge.eval.scorer import SequenceScore, SequenceScorer, over_seeds, overall


def two_objects() -> NDArray[np.uint8]:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:8, 2:8] = 1
    mask[12:18, 12:18] = 2
    return mask


def scored(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], rule: str = "2017") -> SequenceScore:
    """The score of one middle frame."""
    scorer = SequenceScorer(rule)  # type: ignore[arg-type]
    for mask, true in ((two_objects(), two_objects()), (predicted, truth), (two_objects(), two_objects())):
        scorer.feed_frame(mask, true)
    return scorer.conclude()


def figures(score: SequenceScore, measure: str) -> list[float]:
    return [float(getattr(part, measure)[1]) for part in score.objects]


def test_first_and_last_frames_are_not_scored() -> None:
    scorer = SequenceScorer()
    wrong = np.zeros((20, 20), np.uint8)
    for mask in (wrong, two_objects(), two_objects(), wrong):
        scorer.feed_frame(mask, two_objects())
    score = scorer.conclude()
    assert (score.frames, score.scored) == (4, 2)
    assert score.jf == 1.0
    assert score.to_dict()["J"]["raw"] == [None, 1.0, 1.0, None]


def test_an_id_that_is_missing_in_the_prediction_scores_zero() -> None:
    predicted = two_objects()
    predicted[predicted == 2] = 0
    score = scored(predicted, two_objects())
    assert figures(score, "J") == figures(score, "F") == [1.0, 0.0]
    assert score.mean("J").mean == 0.5


def test_an_id_that_vanishes_scores_one_only_where_the_prediction_agrees() -> None:
    truth = two_objects()
    truth[truth == 2] = 0
    assert figures(scored(truth, truth), "J") == [1.0, 1.0]
    assert figures(scored(two_objects(), truth), "J") == [1.0, 0.0]
    assert figures(scored(two_objects(), truth), "F") == [1.0, 0.0]


def test_extra_ids_and_void_count_as_background() -> None:
    predicted, truth = two_objects(), two_objects()
    predicted[2:8, 2:5] = 9  # half of object 1 under a name that nobody asked for
    truth[0, :] = 255
    assert figures(scored(predicted, truth), "J") == [0.5, 1.0]


def test_the_union_rule_forgets_ids() -> None:
    swapped = two_objects()
    swapped[two_objects() == 1], swapped[two_objects() == 2] = 2, 1
    assert figures(scored(swapped, two_objects()), "J") == [0.0, 0.0]
    assert figures(scored(swapped, two_objects(), "2016"), "J") == [1.0]


def test_a_frame_that_is_left_out() -> None:
    scorer = SequenceScorer()
    for mask in (two_objects(), None, two_objects(), two_objects()):
        scorer.feed_frame(mask, two_objects())
    score = scorer.conclude()
    assert score.scored == 1
    assert score.to_dict()["F"]["raw"] == [None, None, 1.0, None]


def test_objects_of_all_sequences_weigh_the_same() -> None:
    one = SequenceScorer()
    for mask in (np.zeros((20, 20), np.uint8),) * 3:
        one.feed_frame(mask, (two_objects() == 1).astype(np.uint8))
    total = overall({"one": one.conclude(), "two": scored(two_objects(), two_objects())})
    assert total["J"]["mean"] == pytest.approx(2 / 3)
    assert total["JF"] == pytest.approx(2 / 3)


def test_score_survives_json() -> None:
    score = scored(two_objects(), two_objects())
    again = SequenceScore.from_dict(score.to_dict())
    assert again.to_dict() == score.to_dict()


def test_scorer_refuses() -> None:
    with pytest.raises(MaskError, match="20x20"):
        SequenceScorer().feed_frame(np.zeros((10, 20), np.uint8), two_objects())
    with pytest.raises(MaskError, match="no object"):
        SequenceScorer().feed_frame(two_objects(), np.zeros((20, 20), np.uint8))
    with pytest.raises(MaskError, match="nothing to score"):
        SequenceScorer().conclude()


def test_pck_by_hand() -> None:
    # The box is 30 x 40, its diagonal 50, the person's size 30.
    truth = np.array([[0, 0], [30, 40], [10, 10], [np.nan, np.nan]])
    predicted = np.array([[3, 0], [30, 46.1], [np.nan, np.nan], [5, 5]])
    assert person_size(truth) == pytest.approx(30)
    errors = joint_errors(predicted, truth)
    assert errors[0] == pytest.approx(0.1)
    assert errors[1] == pytest.approx(6.1 / 30)
    assert math.isinf(errors[2])
    assert math.isnan(errors[3])
    assert pck(errors) == {"0.1": 1 / 3, "0.2": 1 / 3, "0.3": 2 / 3, "0.4": 2 / 3, "0.5": 2 / 3}


def test_pose_scorer_round_trip_and_refusal() -> None:
    truth = np.array([[0, 0], [30, 40.0]])
    scorer = PoseScorer(("head", "foot"))
    scorer.feed_frame(truth + np.array([[1, 0], [0, np.nan]]), truth, 4)
    score = scorer.conclude()
    assert score.pck()["0.5"] == 0.5
    assert PoseScore.from_dict(score.to_dict()).to_dict() == score.to_dict()
    with pytest.raises(MaskError, match="frame 5"):
        scorer.feed_frame(truth[:1], truth, 5)
    assert math.isnan(person_size(truth[:1]))


def test_mean_iou_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 3]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [2, 9, 0, 0]], np.uint8)
    # Class 0: 1 of 2; class 1: 2 of 3; class 2: 1 of 2, the id 9 is no class; void and 3 are not scored.
    counts = confusion(predicted, truth, 3)
    np.testing.assert_allclose(class_iou(counts), [1 / 2, 2 / 3, 1 / 2])
    scorer = PartsScorer(4, ignored=(3, 255))
    scorer.feed_frame(predicted, truth, 1)
    score = scorer.conclude()
    assert score.miou == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    assert score.to_dict()["classes"]["3"] is None
    assert PartsScore.from_dict(score.to_dict()).to_dict() == score.to_dict()


def test_parts_scorer_refuses_another_size() -> None:
    with pytest.raises(MaskError, match="frame 2"):
        PartsScorer(3).feed_frame(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)


def test_the_seeds_of_a_point_become_its_mean_and_range() -> None:
    runs = [{"J": {"mean": j}, "F": {"mean": f}, "JF": (j + f) / 2} for j, f in ((0.2, 0.4), (0.4, 0.8))]
    row = over_seeds(runs)
    assert row["J"]["mean"] == pytest.approx(0.3)
    assert row["F"]["mean"] == pytest.approx(0.6)
    assert (row["JF"], row["JF_low"], row["JF_high"]) == pytest.approx((0.45, 0.3, 0.6))
    assert row["seeds"] == 2
