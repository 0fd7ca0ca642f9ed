"""The camera on a ribbon cable: its raw pictures, from a real pipeline where GStreamer is installed, and from a fake one."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import SourceError
from crwedge.runtime.sources.csi import CAMERA, CsiSource

FAKE = """#!/usr/bin/env python3
import pathlib, sys
pathlib.Path(sys.argv[0] + ".words").write_text(" ".join(sys.argv[1:]))
for number in range(int(pathlib.Path(sys.argv[0] + ".count").read_text())):
    sys.stdout.buffer.write(bytes((10 + number, 20, 30, 255)) * (48 * 64))
sys.stdout.buffer.write(b"cut off")
"""


def fake_launch(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Path:
    """A program of the name of GStreamer's that writes some pictures of 48 x 64 and notes its words."""
    program = folder / "gst-launch-1.0"
    program.write_text(FAKE)
    program.chmod(0o755)
    Path(f"{program}.count").write_text(str(count))
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return Path(f"{program}.words")


def test_pictures_of_a_fake_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = fake_launch(tmp_path, monkeypatch, 3)
    with CsiSource("1", {"size": "48x64", "fps": "12.5"}) as source:
        assert (source.name, source.live, source.fps, source.length) == ("csi://1", True, 12.5, None)
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2]
    for number, frame in enumerate(frames):
        assert frame.image.shape == (48, 64, 3)
        assert (frame.image == (10 + number, 20, 30)).all()
        assert frame.time is not None
    stamps = [frame.pts or 0.0 for frame in frames]
    assert stamps == sorted(stamps)
    caps = "width=64,height=48,framerate=12500/1000"
    pipeline = f"{CAMERA.format(number=1, caps=caps)} ! video/x-raw,format=RGBA ! fdsink fd=1"
    assert words.read_text().split() == ["-q", *pipeline.split()]


def test_it_is_opened_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_launch(tmp_path, monkeypatch, 3)
    with cw.open_source("csi://0#size=48x64&fps=15") as source:
        assert source.live
        frames = list(islice(source, 2))
    assert [(frame.index, frame.image.shape) for frame in frames] == [(0, (48, 64, 3)), (1, (48, 64, 3))]


def test_a_pipeline_that_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_launch(tmp_path, monkeypatch, 0)
    with (
        CsiSource("0", {"size": "48x64"}) as source,
        pytest.raises(SourceError, match="csi://0 delivers no picture; is a camera attached"),
    ):
        next(iter(source))


def test_without_gstreamer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="apt-get install gstreamer1"):
        CsiSource("0", {})


def test_a_real_pipeline_is_read_and_ended() -> None:
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("no GStreamer: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base")
    # A picture of one colour in place of the sensor's elements; what follows them is the pipeline of the board.
    camera = "videotestsrc pattern=solid-color foreground-color=0xff3c7814 ! video/x-raw,{caps} ! videoconvert"
    with CsiSource("0", {"size": "48x64", "fps": "30"}, camera) as source:
        frames = list(islice(source, 5))
        assert source._process.poll() is None
    assert source._process.poll() is not None
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - (0x3C, 0x78, 0x14)).max() <= 3
