"""Windows, clips and settings."""

from __future__ import annotations

import numpy as np
import pytest

from crwedge.adapt.settings import TestTimeSettings, parse_budget, parse_changes
from crwedge.adapt.window import PROBE, draw_batch, draw_places, loss_config, split_window
from crwedge.core.errors import SettingError
from crwedge.model.encoder import EncoderConfig

PICTURES = [np.full((40, 60, 3), value, np.uint8) for value in range(21)]


@pytest.mark.parametrize("count", [2, 3, 6, 21])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_places_are_evenly_spaced_and_inside(count: int, length: int) -> None:
    settings = TestTimeSettings(clip_length=length, gap=4)
    seen = set()
    for seed in range(300):
        places = draw_places(np.random.default_rng(seed), count, settings)
        steps = set(np.diff(places).tolist())
        assert len(places) == min(length, count)
        assert len(steps) <= 1
        assert all(1 <= abs(step) <= 4 for step in steps)
        assert all(0 <= place < count for place in places)
        seen.update(places)
    assert seen == set(range(count))


def test_length_0_is_the_whole_window_in_order() -> None:
    places = draw_places(np.random.default_rng(0), 5, TestTimeSettings.appendix())
    assert places == [0, 1, 2, 3, 4]


def test_held_frames_are_not_trained_on() -> None:
    train, held = split_window(PICTURES, 5)
    values = [int(picture[0, 0, 0]) for picture in held]
    assert values == [2, 7, 12, 17]
    assert len(train) + len(held) == 21
    few = split_window(PICTURES[:4], 5)
    assert [len(part) for part in few] == [4, 4], "too few to keep any back"
    assert [len(part) for part in split_window(PICTURES, 0)] == [21, 21]


def test_a_batch_is_a_function_of_seed_frame_and_update() -> None:
    settings = TestTimeSettings(size=32, clips=2)
    config = loss_config(settings, EncoderConfig())
    one, two = (draw_batch(PICTURES, settings, config, 5, 3) for _ in range(2))
    assert (one.views == two.views).all()
    assert (one.maps == two.maps).all()
    assert (one.seeds == two.seeds).all()
    for index, update in ((5, 4), (6, 3), (5, PROBE)):
        assert not (one.seeds == draw_batch(PICTURES, settings, config, index, update).seeds).any()
    assert one.views.shape == (2, 3, 3, 32, 32), "two frames, and the first again"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("800", {"budget_ms": 800.0}),
        ("800ms", {"budget_ms": 800.0}),
        ("2s", {"budget_ms": 2000.0}),
        ("25%", {"duty": 0.25}),
    ],
)
def test_budgets(text: str, expected: dict[str, float]) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "much", "5x", "%"])
def test_no_budget(text: str) -> None:
    with pytest.raises(SettingError, match="neither milliseconds"):
        parse_budget(text)


def test_changes() -> None:
    assert parse_changes(["updates=50", "layers=last", "scale=[0.5,1]", "restart=true"]) == {
        "updates": 50,
        "layers": "last",
        "scale": [0.5, 1],
        "restart": True,
    }
    with pytest.raises(SettingError, match="not key=value"):
        parse_changes(["updates"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"mode": "both"}, "'causal', 'lookahead'"),
        ({"updates": 0}, "at least 1"),
        ({"duty": 1.5}, "above 0 and at most 1"),
        ({"updates": "many"}, "must be a whole number"),
        ({"learning_rate": float("nan")}, "finite and above 0"),
        ({"scale": (0.9, 0.1)}, "rising numbers above 0, up to 1"),
        ({"clip_length": 1, "nodes": "patches"}, "no frame to walk to"),
        ({"speed": 3}, "unknown setting"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingError, match=reason):
        TestTimeSettings().with_changes(**changes)


def test_settings_survive_the_way_to_the_trainer() -> None:
    import json

    settings = TestTimeSettings.appendix(updates=3)
    assert TestTimeSettings(**json.loads(json.dumps(settings.to_dict()))) == settings
