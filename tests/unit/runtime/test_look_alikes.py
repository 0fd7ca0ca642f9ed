"""Targets beside look-alikes: bodies with the same skin, in rendered films. `benchmarks/look_alikes.py` measures many films."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import crwedge as cw
from benchmarks.look_alikes import search_film
from crwedge.runtime.bundle_lookup import shipped_bundle


@pytest.fixture(scope="module")
def tracker() -> Iterator[cw.Tracker]:
    with cw.Tracker.open(shipped_bundle(), "cpu", "edge", workers=1) as opened:
        yield opened


@pytest.mark.parametrize("seed", [1, 8])
def test_the_right_one_starts_and_a_look_alike_alone_does_not(tracker: cw.Tracker, seed: int) -> None:
    """The look-alike of film 8 shares enough of its skin for the evidence, but not for the cover."""
    found = search_film(tracker, seed)
    assert len(found["alone"]) == len(found["both"]) == 3
    assert not any(one["started"] for one in found["alone"])
    assert all(one["started"] and one["overlap"] > 0.5 for one in found["both"])
