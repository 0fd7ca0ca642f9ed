"""The window: what it shows and what ends the stream. OpenCV is a fake here, that of a screen nobody has to look at."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import crwedge as cw
from crwedge.core.errors import SinkError
from crwedge.runtime.sinks.base import StopStream


class FakeOpenCV(SimpleNamespace):
    """The part of OpenCV that a window needs; `key` is pressed and `visible` told at every frame."""

    WND_PROP_VISIBLE = 4
    error = RuntimeError

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Any] = []
        self.key, self.visible, self.destroyed, self.screen = -1, 1.0, 0, True

    def imshow(self, name: str, image: Any) -> None:
        if not self.screen:
            raise self.error("no display")
        self.shown.append(image)

    def waitKey(self, milliseconds: int) -> int:  # noqa: N802
        return self.key

    def getWindowProperty(self, name: str, number: int) -> float:  # noqa: N802
        return self.visible

    def destroyAllWindows(self) -> None:  # noqa: N802
        self.destroyed += 1


@pytest.fixture
def fake_cv2(monkeypatch: pytest.MonkeyPatch) -> FakeOpenCV:
    fake = FakeOpenCV()
    monkeypatch.setitem(sys.modules, "cv2", fake)
    return fake


def labels(frame: np.ndarray | None) -> cw.LabelMap:
    return cw.LabelMap(np.zeros((16, 24), np.uint8), 0, (), np.zeros((1, 2, 3), np.float32), None, frame)


FRAME = np.full((16, 24, 3), (200, 100, 50), np.uint8)


def test_frames_are_shown_in_the_order_of_opencv(fake_cv2: FakeOpenCV) -> None:
    with cw.open_sink("window") as sink:
        sink.write(labels(FRAME))
        sink.write(labels(FRAME))
    assert [tuple(image[0, 0]) for image in fake_cv2.shown] == [(50, 100, 200)] * 2
    assert fake_cv2.destroyed == 1


@pytest.mark.parametrize("key", [27, ord("q"), 0x100 + ord("q")])
def test_a_key_ends_the_stream(fake_cv2: FakeOpenCV, key: int) -> None:
    fake_cv2.key = key
    with cw.open_sink("window") as sink, pytest.raises(StopStream):
        sink.write(labels(FRAME))


def test_closing_the_window_ends_the_stream(fake_cv2: FakeOpenCV) -> None:
    with cw.open_sink("window") as sink:
        fake_cv2.visible = 0.0  # before its first frame no window is visible
        sink.write(labels(FRAME))
        with pytest.raises(StopStream):
            sink.write(labels(FRAME))


def test_what_cannot_be_shown_is_refused(fake_cv2: FakeOpenCV) -> None:
    with cw.open_sink("window") as sink:
        with pytest.raises(SinkError, match="carries no frame"):
            sink.write(labels(None))
        fake_cv2.screen = False
        with pytest.raises(SinkError, match="cannot open a window: no screen"):
            sink.write(labels(FRAME))
    assert fake_cv2.destroyed == 0
