"""Click to select: what few clicks give on textured objects, and what a person may rely on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crwedge.core.errors import MaskError
from crwedge.core.film import render_film
from crwedge.core.masks import read_mask
from crwedge.core.pictures import read_picture
from crwedge.core.scene import render_scene
from crwedge.runtime.bundle_lookup import find_bundle
from crwedge.runtime.web.growing import along_edges, path_lengths
from crwedge.runtime.web.selector import Click, Selector


@pytest.fixture(scope="module")
def selector() -> Iterator[Selector]:
    found = Selector(find_bundle("shipped"))
    yield found
    found.close()


def middle(inside: np.ndarray) -> tuple[float, float]:
    """x and y of the pixel that is deepest inside."""
    deep = np.pad(inside, 1)
    places = deep
    while deep.any():
        places = deep
        deep = deep & np.roll(deep, 1, 0) & np.roll(deep, -1, 0) & np.roll(deep, 1, 1) & np.roll(deep, -1, 1)
    y, x = np.argwhere(places)[len(np.argwhere(places)) // 2] - 1
    return float(x), float(y)


def best_of_three(selector: Selector, image: np.ndarray, truth: np.ndarray) -> float:
    """The best IoU within three clicks, each in the middle of where the selection is most wrong."""
    clicks: list[Click] = []
    found, best = np.zeros_like(truth), 0.0
    for _ in range(3):
        x, y = middle(found ^ truth)
        clicks.append(Click(x, y, bool(truth[int(y), int(x)])))
        found = selector.select(image, clicks)
        best = max(best, float((found & truth).sum() / (found | truth).sum()))
    return best


@pytest.mark.parametrize(("seed", "number"), [(7, 1), (7, 2), (2, 1)])
def test_three_clicks_select_a_textured_object(selector: Selector, seed: int, number: int) -> None:
    scene = render_scene(1, seed=seed)
    assert best_of_three(selector, scene.frames[0], scene.masks[0] == number) >= 0.8


def test_three_clicks_select_a_body_with_limbs(selector: Selector) -> None:
    film = render_film(1, seed=2)
    assert best_of_three(selector, film.frames[0], film.masks[0] == 2) >= 0.75


@pytest.mark.parametrize(("name", "least"), [("blackswan", 0.6), ("motocross-jump", 0.8)])
def test_three_clicks_select_an_object_of_a_real_film(selector: Selector, data: Path, name: str, least: float) -> None:
    image = read_picture(data / "vos" / name / "JPEGImages" / "00000.jpg")
    truth = read_mask(data / "vos" / name / "Annotations" / "00000.png") > 0
    assert best_of_three(selector, image, truth) >= least


def test_clicks_keep_their_side_and_tolerance_changes_the_size(selector: Selector) -> None:
    scene = render_scene(1, 120, 160)
    truth = scene.masks[0] == 1
    x, y = middle(truth)
    areas = [int(selector.select(scene.frames[0], [Click(x, y)], t).sum()) for t in (0.1, 0.5, 0.9)]
    assert areas[0] < areas[2]
    negative = middle(scene.masks[0] == 0)
    found = selector.select(scene.frames[0], [Click(x, y), Click(*negative, positive=False)])
    assert found[int(y), int(x)]
    assert not found[int(negative[1]), int(negative[0])]
    np.testing.assert_array_equal(
        selector.select(scene.frames[0], [Click(x, y)]), selector.select(scene.frames[0], [Click(x, y)])
    )


def test_clicks_beyond_the_frame_and_frames_of_odd_sizes(selector: Selector) -> None:
    scene = render_scene(1, 47, 61)
    assert selector.select(scene.frames[0], [Click(-5, 9999)]).shape == (47, 61)
    one_place = [Click(9, 9), Click(9, 9, positive=False), Click(9, 9)]
    assert selector.select(scene.frames[0], one_place).shape == (47, 61)
    with pytest.raises(MaskError, match="click on the object first"):
        selector.select(scene.frames[0], [Click(3, 3, positive=False)])


def test_path_lengths_equal_those_of_the_slow_way() -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(3, 5, 6)).astype(np.float32)
    cells /= np.linalg.norm(cells, axis=0)
    expected = np.full((5, 6), np.inf)
    expected[2, 1] = expected[0, 5] = 0
    for _ in range(30):  # Bellman and Ford: as many rounds as cells
        for y, x in np.ndindex(5, 6):
            for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
                v, u = y + dy, x + dx
                if 0 <= v < 5 and 0 <= u < 6:
                    step = (1 - float(cells[:, y, x] @ cells[:, v, u])) * np.hypot(dy, dx)
                    expected[v, u] = min(expected[v, u], expected[y, x] + step)
    np.testing.assert_allclose(path_lengths(cells, [(2, 1), (0, 5)]), expected, atol=1e-5)


def test_a_map_follows_an_edge_of_the_picture() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 13:] = 200
    rough = np.zeros((32, 32), np.float32)
    rough[:, 16:] = 1  # three pixels beside the edge
    followed = along_edges(rough, picture, 8) > 0.5
    assert followed[16, 14]
    assert not followed[16, 11]
