"""Rate control: which quality is lowered, in which order, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.events import silent
from crwedge.runtime.ops.rate_control import CELL_LEVELS, LEVELS, RateController
from crwedge.runtime.quality import QualityLevel

LABELS = cw.LabelMap(np.zeros((1, 1), np.uint8), 0, (), np.zeros((1, 1, 1), np.float32))


WHOLE, REGION = cw.preset("crw"), cw.preset("edge")


class Cost:
    """A fake tracker that takes as long as its quality says."""

    def __init__(self, full_ms: float, settings: cw.PropagationSettings = WHOLE) -> None:
        self.full_ms, self.level, self.settings = full_ms, QualityLevel(), settings
        self.calls: list[QualityLevel] = []
        self.extra_ms = 0.0

    def set_quality(self, level: QualityLevel) -> None:
        self.level = level
        self.calls.append(level)

    @property
    def stages_ms(self) -> dict[str, float]:
        encode = 0.3 * self.full_ms * self.level.cells
        return {"encode": encode + self.extra_ms, "propagate": 0.7 * self.full_ms * self.share}

    @property
    def share(self) -> float:
        return self.level.context * self.level.radius**2 * self.level.cells


def control(cost: Any, on_event: Any = silent) -> RateController:
    return RateController(cost, 10, on_event)


def test_it_gives_up_context_then_radius_and_says_so() -> None:
    cost, told = Cost(1000.0), []
    controller = control(cost, lambda event, **facts: told.append((event, facts)))
    for _ in range(400):
        controller.after(LABELS)
    assert cost.calls == list(LEVELS[1:])
    assert [facts["level"] for event, facts in told if event == "quality"] == list(range(1, len(LEVELS)))


def test_a_region_gives_up_cells_and_goes_to_what_fits_at_once() -> None:
    cost, told = Cost(250.0, REGION), []
    controller = control(cost, lambda event, **facts: told.append((event, facts)))
    for _ in range(60):
        controller.after(LABELS)
    # 250 ms at full work, 100 ms allowed: the first share below 0.4 is taken in one step.
    assert [level.cells for level in cost.calls] == [CELL_LEVELS[controller.level].cells]
    assert cost.calls[-1].cells <= 0.4 < CELL_LEVELS[controller.level - 1].cells
    assert (cost.calls[-1].context, cost.calls[-1].radius) == (1.0, 1.0)
    assert told[0][1]["cells"] == cost.calls[-1].cells


def test_it_comes_back_when_there_is_room() -> None:
    cost = Cost(300.0)
    controller = control(cost)
    for _ in range(200):
        controller.after(LABELS)
    assert controller.level > 0
    cost.full_ms = 20.0
    for _ in range(600):
        controller.after(LABELS)
    assert (controller.level, cost.level) == (0, QualityLevel())


def test_it_does_not_swing() -> None:
    # Full work does not fit, the next level has much room: one try up now and then, not one a second.
    cost = Cost(110.0)
    controller = control(cost)
    for _ in range(2000):
        cost.full_ms = 55.0 if controller.level else 110.0
        controller.after(LABELS)
    assert 0 < len(cost.calls) < 30


def test_one_slow_frame_changes_nothing() -> None:
    cost = Cost(50.0)
    controller = control(cost)
    for index in range(300):
        cost.extra_ms = 2000.0 if index % 20 == 0 else 0.0
        controller.after(LABELS)
    assert cost.calls == []


@pytest.mark.parametrize("level", LEVELS[1:], ids=str)
def test_a_tracker_of_less_quality_goes_on_and_comes_back(level: QualityLevel) -> None:
    scene = render_scene(7, 64, 96)
    settings = cw.PropagationSettings(context_length=4, topk=5, radius=6)
    with cw.Tracker.open(shipped_bundle(), settings=settings, workers=1) as tracker:
        tracker.set_quality(QualityLevel())
        tracker.step(scene.frames[0], scene.masks[0])
        full = tracker.step(scene.frames[1])
        tracker.set_quality(level)
        for index in (2, 3):
            less = tracker.step(scene.frames[index])
            assert less.ids.shape == (64, 96)
            np.testing.assert_allclose(less.soft.sum(axis=0), 1, atol=1e-4)
        assert less.soft.shape == full.soft.shape
        state = tracker.state()
        expected = tracker.step(scene.frames[4])
        tracker.restore(state)
        np.testing.assert_array_equal(tracker.step(scene.frames[4]).soft, expected.soft)
        tracker.set_quality(QualityLevel())
        back = tracker.step(scene.frames[5])
        assert back.soft.shape == full.soft.shape
        assert (back.ids == 1).any()
