"""Background that no context frame shows, beside slow references; and the parts of a label map."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crwedge as cw
from crwedge.core.images import grid_size
from crwedge.core.pictures import read_picture
from crwedge.core.settings import PropagationSettings
from crwedge.eval.metrics import jaccard
from crwedge.runtime.propagation.components import components
from crwedge.runtime.propagation.neighbourhood import compared_pairs
from crwedge.runtime.propagation.unseen import unseen_background
from crwedge.runtime.propagation.view import View
from tests import reference

SIZE = (140, 180)
FULL = grid_size(*SIZE)


@st.composite
def views(draw: st.DrawFn) -> View:
    y, x = (draw(st.integers(0, n - 1)) for n in FULL)
    return View(SIZE, (y, x), (draw(st.integers(1, FULL[0] - y)), draw(st.integers(1, FULL[1] - x))))


@settings(max_examples=50, deadline=None)
@given(views(), views(), st.integers(0, 99))
def test_the_unknown_neighbour_stands_where_the_last_region_was_not(view: View, before: View, seed: int) -> None:
    support = np.random.default_rng(seed).normal(size=view.grid).astype(np.float32)
    new = np.zeros(view.grid, bool)
    for y, x in np.ndindex(view.grid):
        place = y + view.origin[0], x + view.origin[1]
        new[y, x] = not all(o <= at < o + n for at, o, n in zip(place, before.origin, before.grid, strict=True))
    share = unseen_background(support, view, before, 0.07)
    if not new.any() or (~new).sum() < 16:
        assert share is None
        return
    assert share is not None
    poor = np.quantile(support[~new], 0.02)
    for y, x in np.ndindex(view.grid):
        lead = max(-30.0, min(30.0, float(support[y, x] - poor) / 0.07))
        assert share[y, x] == pytest.approx(1 / (1 + math.exp(lead)) if new[y, x] else 0, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.integers(0, 999))
def test_components_are_what_a_flood_fill_finds(h: int, w: int, kinds: int, seed: int) -> None:
    winner = np.random.default_rng(seed).integers(0, kinds + 1, (h, w))
    out = np.empty((h, w), np.int64)
    parts = components(winner, out)
    assert ((out > 0) == (winner > 0)).all()
    seen: set[tuple[int, int]] = set()
    for number, (kind, cells, y0, x0, y1, x1) in enumerate(parts.tolist(), start=1):
        start = tuple(np.argwhere(out == number)[0].tolist())
        reached, new = {start}, [start]
        while new:
            y, x = new.pop()
            for v, u in np.ndindex(3, 3):
                cell = y + v - 1, x + u - 1
                if 0 <= cell[0] < h and 0 <= cell[1] < w and winner[cell] == kind and cell not in reached:
                    reached.add(cell)
                    new.append(cell)
        assert reached == set(map(tuple, np.argwhere(out == number).tolist()))
        assert len(reached) == cells
        ys, xs = zip(*reached, strict=True)
        assert (min(ys), min(xs), max(ys) + 1, max(xs) + 1) == (y0, x0, y1, x1)
        seen |= reached
    assert len(seen) == (winner > 0).sum()


@pytest.mark.parametrize("changes", [{}, {"window": "square"}, {"radius": math.inf}])
def test_the_pairs_that_are_compared_are_counted(changes: dict[str, object]) -> None:
    protocol = PropagationSettings(radius=4).with_changes(**changes)
    grid = (7, 9)
    expected = sum(
        np.prod(grid) if not protocol.local
        else len(reference.neighbours(y, x, *grid, protocol.radius, protocol.window))
        for y, x in np.ndindex(grid)
    )  # fmt: skip
    assert compared_pairs(protocol, grid, pinned=False) == expected
    assert compared_pairs(protocol, grid, pinned=True) == 63 * 63


@pytest.mark.data
@pytest.mark.slow
def test_what_comes_into_the_region_takes_no_label(data: Path) -> None:
    """Flowers and a post come into the region of a dog that a camera follows."""
    folder = data / "vos" / "libby"
    names = sorted(path.stem for path in (folder / "Annotations").glob("*.png"))[:16]
    found = []
    with cw.Tracker.open("shipped", "cpu", "edge") as tracker:
        for number, name in enumerate(names):
            truth = cw.read_mask(folder / "Annotations" / f"{name}.png") > 0
            frame = read_picture(next((folder / "JPEGImages").glob(f"{name}.*")))
            labels = tracker.step(frame, truth.astype(np.uint8) if number == 0 else None)
            found.append(jaccard(labels.ids > 0, truth))
    # 0.57 to 0.62 at the end where cells that come in take an object's label.
    assert min(found[12:]) > 0.67
