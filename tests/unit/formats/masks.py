"""Random masks: blocks, noise, holes and single pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from crwedge.formats.annotation import AnnotatedFrame, Annotation, Video

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


@st.composite
def id_maps(draw: st.DrawFn, size: tuple[int, int], ids: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W) of some ids: noise, or rectangles that lie on each other."""
    if draw(st.booleans()):
        return draw(hnp.arrays(np.uint8, size, elements=st.sampled_from((0, *ids))))
    out = np.zeros(size, np.uint8)
    for _ in range(draw(st.integers(0, 6))):
        y, x = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
        h, w = draw(st.integers(1, size[0])), draw(st.integers(1, size[1]))
        out[y : y + h, x : x + w] = draw(st.sampled_from((0, *ids)))
    return out


@st.composite
def annotated_films(draw: st.DrawFn) -> Annotation:
    """A few frames of a few objects, with names, gaps and names of files."""
    size = draw(SIZES)
    ids = tuple(draw(st.sets(st.integers(1, 254), min_size=1, max_size=4)))
    numbers = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=5)))
    maps = [draw(id_maps(size, ids)) for _ in numbers]
    # An annotation shows something.
    maps[draw(st.integers(0, len(maps) - 1))][0, 0] = ids[0]
    word = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8)
    names = draw(st.dictionaries(st.sampled_from(ids), word.map(str.strip).filter(lambda w: w not in ("", "object"))))
    return of_frames([AnnotatedFrame(n, ids_) for n, ids_ in zip(numbers, maps, strict=True)], names)


def of_frames(frames: list[AnnotatedFrame], names: dict[int, str] | None = None) -> Annotation:
    """An annotation of frames in memory."""

    def again() -> Iterator[AnnotatedFrame]:
        return iter(frames)

    height, width = frames[0].ids.shape
    return Annotation(Video("clip"), (height, width), again, names or {})
