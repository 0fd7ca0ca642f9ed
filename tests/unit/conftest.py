"""Scenes, clips and trees of clips that the tests write themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crwedge.core.masks import write_mask
from crwedge.core.scene import Scene, render_scene


@pytest.fixture(scope="session")
def small_scene() -> Scene:
    """Six frames of 64 x 96 with two objects."""
    return render_scene(6, 64, 96)


@pytest.fixture(scope="session")
def davis_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips, `one` and `two`, in the plain form; `one` has joints too. Read it, do not change it."""
    return write_davis_tree(tmp_path_factory.mktemp("davis"))


def write_davis_tree(
    root: Path,
    names: tuple[str, ...] = ("one", "two"),
    frames: int = 5,
    size: tuple[int, int] = (96, 128),
    objects: int = 2,
) -> Path:
    """Write rendered clips as NAME/JPEGImages and NAME/Annotations; the first has the objects' centres as joints."""
    for seed, name in enumerate(names):
        scene = render_scene(frames, *size, objects=objects, seed=seed)
        for kind in ("JPEGImages", "Annotations"):
            (root / name / kind).mkdir(parents=True)
        for number, (frame, mask) in enumerate(zip(scene.frames, scene.masks, strict=True)):
            Image.fromarray(frame).save(root / name / "JPEGImages" / f"{number:05d}.png")
            write_mask(root / name / "Annotations" / f"{number:05d}.png", mask)
        if seed == 0:
            ids = range(1, 1 + objects)
            centres = [[np.argwhere(mask == i).mean(axis=0)[::-1].tolist() for i in ids] for mask in scene.masks]
            text = json.dumps([{"frame": number, "xy": xy} for number, xy in enumerate(centres)])
            (root / name / "joints.json").write_text(text)
    return root


def write_video(
    path: Path,
    frames: np.ndarray,
    codec: str = "mpeg4",
    fps: int = 10,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    gop: int | None = None,
    *,
    form: str | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Write RGB uint8 (T, H, W, 3) with PyAV; `times` counts in frames of `fps`."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.gop_size = gop or stream.gop_size
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.time_base = Fraction(1, fps)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = times[number] if times else number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
