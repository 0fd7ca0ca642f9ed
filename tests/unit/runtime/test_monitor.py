"""States of objects, and the tracker over a gap."""

from __future__ import annotations

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.monitor import Monitor


def judged(monitor: Monitor, *values: float | None) -> list[str]:
    return [
        monitor.judge((1,), {} if value is None else {1: value}, {1: value is None or value > 0})[1] for value in values
    ]


def test_an_object_is_lost_after_three_bad_frames_and_found_after_three_good_ones() -> None:
    monitor = Monitor()
    assert judged(monitor, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1) == ["ok"] * 6 + ["lost"]
    assert judged(monitor, 0.4, 0.9, 0.4, 0.9, 0.9, 0.9) == ["lost"] + ["recovering"] * 4 + ["ok"]


def test_after_a_gap_the_search_is_wide_until_all_are_found_or_given_up() -> None:
    monitor = Monitor()
    assert not monitor.wide
    monitor.gap((1, 2))
    assert monitor.wide
    for confidence, expected in ((0.9, "recovering"), (0.9, "recovering"), (0.9, "ok")):
        states = monitor.judge((1, 2), {1: confidence, 2: 0.0}, {1: True, 2: False})
        assert states[1] == expected
    assert states[2] == "lost"
    assert not monitor.wide


def test_without_estimates_an_object_recovers_after_five_frames() -> None:
    monitor = Monitor()
    monitor.gap((1,))
    assert judged(monitor, *[None] * 6) == ["recovering"] * 4 + ["ok"] * 2


def test_the_search_does_not_stay_wide_for_ever() -> None:
    monitor = Monitor()
    monitor.gap((1,))
    judged(monitor, *[0.4] * 60)
    assert not monitor.wide


def test_its_state_can_be_kept() -> None:
    first, second = Monitor(), Monitor()
    first.gap((1,))
    judged(first, 0.9)
    second.restore(first.state())
    assert judged(first, 0.9, 0.9, 0.1) == judged(second, 0.9, 0.9, 0.1)


@pytest.mark.parametrize("watch", [False, True])
def test_the_tracker_over_a_gap(watch: bool) -> None:
    scene = render_scene(12, 96, 160)
    settings, options = cw.PropagationSettings(context_length=5), cw.TrackerOptions(confidence=watch)
    with cw.Tracker.open(shipped_bundle(), settings=settings, options=options, workers=1) as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        for index in range(1, 5):
            labels = tracker.step(cw.Frame(scene.frames[index], index))
        assert set(labels.states.values()) == {"ok"}
        assert set(labels.confidence) == ({1, 2} if watch else set())
        labels = tracker.step(cw.Frame(scene.frames[8], 8, after_gap=True))
        assert set(labels.states.values()) == {"recovering"}
        for index in range(9, 12):
            labels = tracker.step(cw.Frame(scene.frames[index], index))
        for object_id in (1, 2):
            predicted, true = labels.ids == object_id, scene.masks[11] == object_id
            assert (predicted & true).sum() / (predicted | true).sum() > 0.4


def test_watching_changes_no_label() -> None:
    scene = render_scene(5, 64, 96)
    maps = []
    for watch in (False, True):
        options = cw.TrackerOptions(confidence=watch)
        with cw.Tracker.open(shipped_bundle(), options=options, workers=1) as tracker:
            maps.append([tracker.step(f, scene.masks[0] if i == 0 else None) for i, f in enumerate(scene.frames)])
    for plain, watched in zip(*maps, strict=True):
        np.testing.assert_array_equal(plain.soft, watched.soft)
        assert all(0 <= value <= 1 for value in watched.confidence.values())


def test_frames_may_change_their_size_where_that_is_allowed() -> None:
    scene, larger = render_scene(4, 64, 96), render_scene(4, 96, 144)
    with cw.Tracker.open(shipped_bundle(), options=cw.TrackerOptions(any_size=True), workers=1) as tracker:
        tracker.step(scene.frames[0], scene.masks[0])
        tracker.step(scene.frames[1])
        labels = tracker.step(cw.Frame(larger.frames[2], 2, after_gap=True))
        assert labels.ids.shape == (96, 144)
        assert set(labels.states.values()) == {"recovering"}
        predicted, true = labels.ids == 1, larger.masks[2] == 1
        assert (predicted & true).sum() / (predicted | true).sum() > 0.4
        assert tracker.step(scene.frames[3]).ids.shape == (64, 96)
