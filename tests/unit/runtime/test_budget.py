"""The budget: what is given up, in which order, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.ops.rate_control import ORDER, Budget


class Cost:
    """A tracker that takes as long as its shares say."""

    def __init__(self, full_ms: float) -> None:
        self.full_ms, self.shares = full_ms, (1.0, 1.0, 1.0)
        self.calls: list[tuple[float, float, float]] = []

    def tune(self, context: float, radius: float, size: float) -> None:
        self.shares = context, radius, size
        self.calls.append(self.shares)

    @property
    def ms(self) -> float:
        context, radius, size = self.shares
        return self.full_ms * size**2 * (0.3 + 0.7 * context * radius**2)


def test_it_gives_up_context_then_radius_then_size_and_says_so() -> None:
    cost, told = Cost(1000.0), []
    budget = Budget(cost, fps=10, tell=lambda event, **facts: told.append((event, facts)))
    for _ in range(400):
        budget.note(cost.ms)
    assert cost.calls == [(level.context, level.radius, level.size) for level in ORDER[1:]]
    assert [facts["level"] for event, facts in told if event == "budget"] == list(range(1, len(ORDER)))


def test_it_comes_back_when_there_is_room() -> None:
    cost = Cost(300.0)
    budget = Budget(cost, fps=10)
    for _ in range(200):
        budget.note(cost.ms)
    assert budget.level > 0
    cost.full_ms = 20.0
    for _ in range(600):
        budget.note(cost.ms)
    assert (budget.level, cost.shares) == (0, (1.0, 1.0, 1.0))


def test_it_does_not_swing() -> None:
    # Full work does not fit, the next level has much room: one try up now and then, not one a second.
    cost = Cost(110.0)
    budget = Budget(cost, fps=10)
    for _ in range(2000):
        budget.note(cost.ms * (0.5 if budget.level else 1.0))
    assert len(cost.calls) < 30


def test_one_slow_frame_changes_nothing() -> None:
    cost = Cost(50.0)
    budget = Budget(cost, fps=10)
    for index in range(300):
        budget.note(2000.0 if index % 20 == 0 else cost.ms)
    assert cost.calls == []


@pytest.mark.parametrize("level", ORDER[1:], ids=str)
def test_a_tuned_tracker_goes_on_and_comes_back(level: Any) -> None:
    scene = render_scene(7, 64, 96)
    settings = cw.PropagationSettings(context_length=4, topk=5, radius=6)
    with cw.Tracker.open(shipped_bundle(), settings=settings, workers=1) as tracker:
        tracker.tune(1, 1, 1)
        tracker.step(scene.frames[0], scene.masks[0])
        full = tracker.step(scene.frames[1])
        tracker.tune(level.context, level.radius, level.size)
        for index in (2, 3):
            less = tracker.step(scene.frames[index])
            assert less.ids.shape == (64, 96)
            np.testing.assert_allclose(less.soft.sum(axis=0), 1, atol=1e-4)
        assert (less.soft.shape == full.soft.shape) is (level.size == 1)
        state = tracker.state()
        expected = tracker.step(scene.frames[4])
        tracker.restore(state)
        np.testing.assert_array_equal(tracker.step(scene.frames[4]).soft, expected.soft)
        tracker.tune(1, 1, 1)
        back = tracker.step(scene.frames[5])
        assert back.soft.shape == full.soft.shape
        assert (back.ids == 1).any()
