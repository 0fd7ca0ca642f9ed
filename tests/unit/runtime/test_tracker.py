"""The tracker: streaming equals offline, masks in mid-stream, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.errors import CrwedgeError, MaskError, SourceError
from crwedge.core.scene import Scene, render_scene
from crwedge.runtime.backends.cpu import CpuBackend
from crwedge.runtime.bundle_lookup import shipped_bundle


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render_scene(8, 96, 160)


@pytest.fixture
def tracker() -> Iterator[cw.Tracker]:
    with cw.Tracker.open(shipped_bundle(), workers=2) as opened:
        yield opened


def test_follows_two_objects(tracker: cw.Tracker, scene: Scene) -> None:
    for index, frame in enumerate(scene.frames):
        labels = tracker.step(frame, scene.masks[0] if index == 0 else None)
        assert labels.ids.shape == (96, 160)
        assert labels.index == index
        assert labels.object_ids == (1, 2)
    overlap = ((labels.ids == 1) & (scene.masks[-1] == 1)).sum() / ((labels.ids == 1) | (scene.masks[-1] == 1)).sum()
    assert overlap > 0.6


def test_streaming_equals_offline_bit_for_bit(tracker: cw.Tracker, scene: Scene, tmp_path: Path) -> None:
    for index, frame in enumerate(scene.frames):
        Image.fromarray(frame).save(tmp_path / f"{index:05d}.png")
    offline = list(cw.propagate(tmp_path, scene.masks[0], shipped_bundle()))
    for index, frame in enumerate(scene.frames):
        streamed = tracker.step(frame, scene.masks[0] if index == 0 else None)
        np.testing.assert_array_equal(streamed.ids, offline[index].ids)
        np.testing.assert_array_equal(streamed.soft, offline[index].soft)


def test_reset_starts_anew(tracker: cw.Tracker, scene: Scene) -> None:
    first = tracker.step(scene.frames[0], scene.masks[0])
    second = tracker.step(scene.frames[1])
    tracker.reset()
    assert tracker.object_ids == ()
    np.testing.assert_array_equal(tracker.step(scene.frames[0], scene.masks[0]).soft, first.soft)
    np.testing.assert_array_equal(tracker.step(scene.frames[1]).soft, second.soft)


def test_a_later_mask_adds_an_object(tracker: cw.Tracker, scene: Scene) -> None:
    only_one = np.where(scene.masks[0] == 1, 1, 0).astype(np.uint8)
    tracker.step(scene.frames[0], only_one)
    before = tracker.step(scene.frames[1])
    assert before.object_ids == (1,)
    added = np.where(scene.masks[2] == 2, 2, 0).astype(np.uint8)
    after = tracker.step(scene.frames[2], added)
    assert after.object_ids == (1, 2)
    assert (after.ids[added == 2] == 2).all()
    assert (after.ids == 1).sum() > 0.5 * (before.ids == 1).sum()
    np.testing.assert_allclose(after.soft.sum(axis=0), 1, atol=1e-5)
    later = tracker.step(scene.frames[3])
    assert (later.ids == 2).sum() > 0.5 * (scene.masks[3] == 2).sum()


def test_a_later_mask_corrects_an_object(tracker: cw.Tracker, scene: Scene) -> None:
    wrong = np.zeros((96, 160), np.uint8)
    wrong[:20, :20] = 1
    tracker.step(scene.frames[0], wrong)
    tracker.step(scene.frames[1])
    right = np.where(scene.masks[2] == 1, 1, 0).astype(np.uint8)
    corrected = tracker.step(scene.frames[2], right)
    np.testing.assert_array_equal(corrected.ids, right)
    later = tracker.step(scene.frames[3]).ids == 1
    true = scene.masks[3] == 1
    assert (later & true).sum() / (later | true).sum() > 0.4


def test_void_in_a_later_mask_keeps_the_prediction(tracker: cw.Tracker, scene: Scene) -> None:
    tracker.step(scene.frames[0], scene.masks[0])
    mask = np.full((96, 160), 255, np.uint8)
    mask[:8, :8] = 3
    labels = tracker.step(scene.frames[1], mask)
    assert (labels.ids[:8, :8] == 3).all()
    assert (labels.ids == 1).any()
    assert (labels.ids == 2).any()


def test_masks_keep_the_frames_size_whatever_is_computed_at(scene: Scene) -> None:
    with cw.Tracker.open(shipped_bundle(), options=cw.TrackerOptions(size=(64, 104))) as small:
        labels = small.step(scene.frames[0], scene.masks[0])
        assert labels.soft.shape[1:] == (8, 13)
        assert small.step(scene.frames[1]).ids.shape == (96, 160)


def test_odd_sizes_have_rounded_up_grids(tracker: cw.Tracker) -> None:
    odd = render_scene(2, 75, 109)
    assert tracker.step(odd.frames[0], odd.masks[0]).soft.shape == (3, 10, 14)
    assert tracker.step(odd.frames[1]).ids.shape == (75, 109)


@pytest.mark.parametrize(("size", "cells"), [(None, 240), ((192, 240), 720), ((480, 640), 1600)])
def test_the_memory_statement_counts_no_more_cells_than_a_frame_has(
    scene: Scene, size: tuple[int, int] | None, cells: int
) -> None:
    with cw.Tracker.open("shipped", "cpu", "edge", cw.TrackerOptions(size=size)) as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        assert f"x {cells} x" in tracker.memory_statement


def test_refusals(tracker: cw.Tracker, scene: Scene) -> None:
    with pytest.raises(MaskError, match="needs a mask"):
        tracker.step(scene.frames[0])
    with pytest.raises(MaskError, match="resize-mask=true"):
        tracker.step(scene.frames[0], scene.masks[0][:50])
    with pytest.raises(SourceError, match="RGB uint8"):
        tracker.step(scene.frames[0].astype(np.float32), scene.masks[0])
    with pytest.raises(CrwedgeError, match="memory is known only"):
        _ = tracker.memory_statement
    tracker.step(scene.frames[0], scene.masks[0])
    assert "MB" in tracker.memory_statement
    with pytest.raises(SourceError, match="keep one size"):
        tracker.step(scene.frames[0][:80])
    # A refused frame leaves the tracker as it was.
    assert tracker.step(scene.frames[1]).index == 1


def test_fifty_objects(tracker: cw.Tracker) -> None:
    many = render_scene(2, 240, 426, objects=50)
    labels = tracker.step(many.frames[0], many.masks[0])
    present = tuple(int(i) for i in np.unique(many.masks[0]) if i)
    assert labels.object_ids == present
    assert len(np.unique(tracker.step(many.frames[1]).ids)) > 0.6 * len(present)


def test_features_that_are_not_finite_stop_the_step(tracker: cw.Tracker, scene: Scene) -> None:
    class BrokenEngineForTests:
        name = "broken"

        def run(self, frame: np.ndarray) -> np.ndarray:
            return np.full((256, 12, 20), np.nan, np.float32)

        def close(self) -> None: ...

    broken = cw.Tracker(CpuBackend(BrokenEngineForTests(), cw.PropagationSettings()))
    with pytest.raises(CrwedgeError, match="not finite"):
        broken.step(scene.frames[0], scene.masks[0])
