from __future__ import annotations

import numpy as np

from crwedge.core.film import render_film


def test_a_film_follows_from_its_seed_and_shows_every_object() -> None:
    film = render_film(3, 96, 160, objects=2, seed=4)
    again = render_film(3, 96, 160, objects=2, seed=4)
    assert np.array_equal(film.frames, again.frames)
    assert np.array_equal(film.masks, again.masks)
    assert not np.array_equal(film.frames, render_film(3, 96, 160, objects=2, seed=5).frames)
    assert film.frames.shape == (3, 96, 160, 3)
    assert set(np.unique(film.masks)) == {0, 1, 2}


def test_objects_deform_as_they_move() -> None:
    """No shift of the first mask explains the later one."""
    film = render_film(9, 120, 214, objects=1, seed=2)
    first, later = film.masks[0] == 1, film.masks[8] == 1
    best = 0.0
    for dy in range(-12, 13, 2):
        for dx in range(-40, 41, 2):
            moved = np.roll(first, (dy, dx), axis=(0, 1))
            best = max(best, float((moved & later).sum() / (moved | later).sum()))
    assert 0.3 < best < 0.9


def test_look_alikes_are_not_in_the_mask() -> None:
    """Colours like those of the object are found outside of its mask too."""
    film = render_film(1, 120, 214, objects=1, seed=2)
    inside = film.masks[0] == 1
    mean = film.frames[0][inside].astype(float).mean(axis=0)
    alike = np.abs(film.frames[0] - mean).sum(axis=-1) < 60
    assert (alike & ~inside).sum() > 0.2 * (alike & inside).sum()
