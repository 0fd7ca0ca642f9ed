"""The rendered scene is what the demo and the tests rely on."""

import numpy as np

from crwedge.core.scene import render_scene


def test_scene_is_a_function_of_its_seed() -> None:
    one, two = render_scene(3, 48, 80), render_scene(3, 48, 80)
    np.testing.assert_array_equal(one.frames, two.frames)
    assert (render_scene(3, 48, 80, seed=8).frames != one.frames).any()


def test_every_object_is_there_and_moves() -> None:
    scene = render_scene(12, 96, 160, objects=2)
    assert scene.frames.shape == (12, 96, 160, 3)
    assert scene.masks.shape == (12, 96, 160)
    for mask in scene.masks:
        assert set(np.unique(mask)) == {0, 1, 2}
    assert (scene.masks[0] != scene.masks[-1]).mean() > 0.02


def test_many_objects_fit() -> None:
    assert len(np.unique(render_scene(1, 240, 426, objects=20).masks)) > 15
