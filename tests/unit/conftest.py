"""Footage that the tests write themselves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from crwedge.core.scene import Scene, render_scene


@pytest.fixture(scope="session")
def small_scene() -> Scene:
    """Six frames of 64 x 96 with two objects."""
    return render_scene(6, 64, 96)


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str = "mpeg4",
    fps: int = 10,
    options: dict[str, str] | None = None,
    *,
    form: str | None = None,
    gop: int | None = None,
    pts: Sequence[int] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Write RGB uint8 (T, H, W, 3) with PyAV."""
    import av

    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        if gop is not None:
            stream.gop_size = gop
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if pts is not None:
                picture.pts, picture.time_base = pts[number], Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path
