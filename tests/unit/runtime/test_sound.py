"""The sound of a film goes into the overlay."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import crwedge as cw
from crwedge.core.scene import Scene


def test_the_sound_of_a_film_is_carried(tmp_path: Path, small_scene: Scene) -> None:
    with av.open(str(tmp_path / "talk.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=2)
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        sound = container.add_stream("aac", rate=16000)
        for frame in small_scene.frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        wave = np.sin(np.arange(48000) / 10).astype(np.float32)[None]
        for start in range(0, 48000, 1000):
            piece = av.AudioFrame.from_ndarray(wave[:, start : start + 1000].copy(), format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 16000, start, Fraction(1, 16000)
            container.mux(sound.encode(piece))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    soft = np.zeros((3, 8, 12), np.float32)
    with cw.open_source(tmp_path / "talk.mp4") as source, cw.open_sink(tmp_path / "o.mp4", source=source) as sink:
        for index, frame in enumerate(source):
            sink.write(cw.LabelMap(small_scene.masks[index], index, (1, 2), soft, frame.pts, frame.image))
    with av.open(str(tmp_path / "o.mp4")) as container:
        heard = [frame.samples for frame in container.decode(audio=0)]
    assert sum(heard) > 30000
