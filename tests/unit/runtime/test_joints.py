"""Joints in the tracker: a real encoder on a rendered scene whose objects' centres are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import MaskError
from crwedge.core.joints import FrameJoints
from crwedge.core.keypoints import soft_to_joints
from crwedge.core.prompts import KeypointPrompt
from crwedge.core.scene import Scene, render_scene
from crwedge.core.settings import PropagationSettings
from crwedge.eval.encoders import EncoderSpec
from crwedge.eval.follow import Follower
from crwedge.runtime.bundle_lookup import shipped_bundle

SETTINGS = PropagationSettings(context_length=3)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(8, 128, 192)


def centres(scene: Scene, index: int) -> np.ndarray:
    return np.stack([np.argwhere(scene.masks[index] == i).mean(axis=0)[::-1] for i in (1, 2)])


def given(scene: Scene) -> FrameJoints:
    """The two centres, and a joint that is not visible between them."""
    one, two = centres(scene, 0)
    return FrameJoints(("one", "hidden", "two"), np.stack([one, [np.nan, np.nan], two]))


@pytest.fixture
def tracker() -> Iterator[cw.Tracker]:
    with cw.Tracker.open(shipped_bundle(), settings=SETTINGS, workers=1) as opened:
        yield opened


def test_joints_are_followed(tracker: cw.Tracker, scene: Scene) -> None:
    first = tracker.step(scene.frames[0], given(scene))
    assert first.joints is not None
    np.testing.assert_array_equal(first.joints.xy, given(scene).xy)
    np.testing.assert_array_equal(first.joints.confidence, [1, 0, 1])
    assert first.object_ids == (1, 2, 3)
    for index, frame in enumerate(scene.frames[1:], start=1):
        joints = tracker.step(frame).joints
        assert joints is not None
        assert joints.names == ("one", "hidden", "two")
        found = joints.xy[[0, 2]]
        # The objects move by up to 20 pixels in these frames; a cell is 8.
        assert np.abs(found - centres(scene, index)).max() < 10
        assert joints.confidence is not None
        assert ((joints.confidence[[0, 2]] > 0.05) & (joints.confidence[[0, 2]] <= 1)).all()
        assert np.isnan(joints.xy[1]).all()
        assert joints.confidence[1] == 0
    moved = np.abs(centres(scene, 7) - centres(scene, 0)).max()
    assert moved > 10, "the scene stands still: the test shows nothing"


def test_they_are_those_that_eval_scores(tracker: cw.Tracker, scene: Scene, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(len(scene.frames))]
    for path, frame in zip(paths, scene.frames, strict=True):
        Image.fromarray(frame).save(path)
    follower = Follower(EncoderSpec("bundle", str(shipped_bundle()), "cpu"), SETTINGS, None, 1)
    soft = list(follower.soft(paths, KeypointPrompt(given(scene), (128, 192))))
    streamed = [tracker.step(frame, given(scene) if n == 0 else None) for n, frame in enumerate(scene.frames)]
    assert len(soft) == len(streamed) - 1
    for theirs, ours in zip(soft, streamed[1:], strict=True):
        assert ours.joints is not None
        np.testing.assert_array_equal(ours.soft, theirs)
        np.testing.assert_array_equal(ours.joints.xy, soft_to_joints(theirs, (128, 192))[0])


def test_places_are_pixels_of_the_frame_whatever_is_computed_at(scene: Scene) -> None:
    with cw.Tracker.open(shipped_bundle(), settings=SETTINGS, options=cw.TrackerOptions((96, 96)), workers=1) as small:
        small.step(scene.frames[0], given(scene))
        joints = small.step(scene.frames[1]).joints
    assert joints is not None
    assert np.abs(joints.xy[[0, 2]] - centres(scene, 1)).max() < 16


def test_a_snapshot_keeps_the_names(tracker: cw.Tracker, scene: Scene) -> None:
    tracker.step(scene.frames[0], given(scene))
    tracker.step(scene.frames[1])
    state = tracker.state()
    expected = tracker.step(scene.frames[2]).joints
    assert expected is not None
    with cw.Tracker.open(shipped_bundle(), settings=SETTINGS, workers=1) as other:
        other.restore(state)
        joints = other.step(scene.frames[2]).joints
    assert joints is not None
    assert joints.names == expected.names
    np.testing.assert_array_equal(joints.xy, expected.xy)


def test_a_joint_can_be_removed(tracker: cw.Tracker, scene: Scene) -> None:
    tracker.step(scene.frames[0], given(scene))
    tracker.remove(1)
    joints = tracker.step(scene.frames[1]).joints
    assert joints is not None
    assert joints.names == ("hidden", "two")
    assert np.abs(joints.xy[1] - centres(scene, 1)[1]).max() < 10


def test_masks_and_joints_do_not_mix(tracker: cw.Tracker, scene: Scene) -> None:
    tracker.step(scene.frames[0], scene.masks[0])
    with pytest.raises(MaskError, match="first frame only"):
        tracker.step(scene.frames[1], given(scene))
    tracker.reset()
    tracker.step(scene.frames[0], given(scene))
    with pytest.raises(MaskError, match="no mask can follow them"):
        tracker.step(scene.frames[1], scene.masks[1])
    tracker.reset()
    assert tracker.step(scene.frames[0], scene.masks[0]).joints is None


def test_trust_of_masks_is_not_given_for_joints(scene: Scene) -> None:
    options = cw.TrackerOptions(confidence=True)
    with cw.Tracker.open(shipped_bundle(), settings=SETTINGS, options=options, workers=1) as tracker:
        tracker.step(scene.frames[0], given(scene))
        labels = tracker.step(scene.frames[1])
    assert labels.confidence == {}
    assert labels.states[1] == "ok"


@pytest.mark.parametrize(
    ("xy", "words"),
    [
        ([[10.0, 20.0], [192.0, 5.0], [np.nan, np.nan]], r"hidden at \(192, 5\) lies outside the frame of 128x192"),
        ([[-0.6, 20.0], [19.0, 5.0], [0.0, 0.0]], r"one at \(-0.6, 20\) lies outside"),
        ([[np.nan, 20.0]] * 3, "no joint is visible"),
    ],
)
def test_joints_that_do_not_fit_are_refused(
    tracker: cw.Tracker, scene: Scene, xy: list[list[float]], words: str
) -> None:
    with pytest.raises(MaskError, match=words):
        tracker.step(scene.frames[0], FrameJoints(("one", "hidden", "two"), np.array(xy)))


def test_joints_on_the_edge_fit(tracker: cw.Tracker, scene: Scene) -> None:
    edge = FrameJoints(("a", "b"), np.array([[0.0, 0.0], [191.0, 127.0]]))
    assert tracker.step(scene.frames[0], edge).joints is not None
