"""The simulation of cameras on one machine, against what can be said without it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.queueing import simulate, table


@pytest.mark.parametrize(("cameras", "processors", "time"), [(1, 1, 0.02), (7, 2, 0.05), (40, 3, 0.2)])
def test_every_frame_is_counted_once(cameras: int, processors: int, time: float) -> None:
    found = simulate(cameras, 10.0, processors, np.array([time]), 60.0, seed=1)
    assert found.arrived == found.labelled + found.dropped + found.waiting
    assert 0 <= found.waiting <= cameras + processors
    assert found.arrived == pytest.approx(cameras * 600, rel=0.01)
    assert found.ages.min() >= time - 1e-9


def test_one_camera_that_is_faster_than_the_processor() -> None:
    """A frame each 100 ms, and 250 ms of work: the newest of the frames that came meanwhile is labelled."""
    found = simulate(1, 10.0, 1, np.array([0.25]), 1000.0, seed=2, jitter=0.0)
    assert found.labelled == pytest.approx(4000, abs=2)
    assert found.drop_rate == pytest.approx(0.6, abs=1e-3)
    # It waits for less than the time between two frames.
    assert found.ages.max() <= 0.25 + 0.1 + 1e-9


def test_no_frame_is_dropped_while_there_is_time() -> None:
    found = simulate(1, 10.0, 1, np.array([0.05]), 100.0, seed=3, jitter=0.0)
    assert found.dropped == 0
    np.testing.assert_allclose(found.ages, 0.05)


def test_more_processors_than_cameras_do_not_help_a_camera() -> None:
    """The frames of a camera are labelled one after the other."""
    one = simulate(1, 10.0, 1, np.array([0.25]), 200.0, seed=4)
    many = simulate(1, 10.0, 8, np.array([0.25]), 200.0, seed=4)
    assert many.labelled == one.labelled


def test_the_processors_are_busy_all_the_time_under_a_high_load() -> None:
    times = np.array([0.02, 0.04, 0.06])
    for row in table(times, 2, 10.0, [1.5, 2.0, 4.0], 300.0):
        assert row["drop_rate"] == pytest.approx(row["fluid_limit"], abs=0.02)
    low, high = table(times, 2, 10.0, [0.3, 0.9], 300.0)
    assert low["drop_rate"] < 0.01
    assert low["drop_rate"] <= high["drop_rate"] < 0.15
