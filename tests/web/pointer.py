"""Real pointer and key events on the page's canvas, in picture pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

_MODIFIERS = {"Alt": 1, "Control": 2, "Shift": 8}
_PLACE = """
const box = document.getElementById('stage').getBoundingClientRect();
const [width, height] = arguments;
const scale = Math.min(box.width / width, box.height / height);
return [box.x + (box.width - width * scale) / 2, box.y + (box.height - height * scale) / 2, scale];
"""


class Pointer:
    """A mouse or a finger on the canvas, which shows the whole picture of `width` x `height`.

    Args:
        driver: the browser.
        size: of the picture, (width, height).
        touch: a finger.
    """

    def __init__(self, driver: Any, size: tuple[int, int], touch: bool = False) -> None:
        self.driver, self.size, self.touch = driver, size, touch

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Window pixels of a place of the picture."""
        left, top, scale = self.driver.execute_script(_PLACE, *self.size)
        return left + x * scale, top + y * scale

    def stroke(self, *places: tuple[float, float], button: str = "left", alt: bool = False) -> None:
        """Press at the first place, move over the others, and release at the last."""
        window = [self.at(*place) for place in places]
        if self.touch:
            self._touch("touchStart", window[:1])
            for place in window[1:]:
                self._touch("touchMove", [place])
            self._touch("touchEnd", [])
            return
        bits = {"left": 1, "right": 2, "middle": 4}[button]
        self._mouse("mouseMoved", window[0])
        steps = [("mousePressed", window[0]), *(("mouseMoved", at) for at in window[1:]), ("mouseReleased", window[-1])]
        for kind, at in steps:
            held = 0 if kind == "mouseReleased" else bits
            self._mouse(kind, at, button=button, buttons=held, clickCount=1, modifiers=_MODIFIERS["Alt"] * alt)

    def click(self, x: float, y: float, **more: Any) -> None:
        """A click at a place of the picture."""
        self.stroke((x, y), **more)

    def pinch(self, centre: tuple[float, float], start: float, end: float) -> None:
        """Two fingers around a place, `start` window pixels apart, then `end`."""
        x, y = self.at(*centre)
        for kind, gap in (("touchStart", start), ("touchMove", (start + end) / 2), ("touchMove", end)):
            self._touch(kind, [(x - gap / 2, y), (x + gap / 2, y)])
        self._touch("touchEnd", [])

    def _mouse(self, kind: str, at: tuple[float, float], **more: Any) -> None:
        event = {"type": kind, "x": at[0], "y": at[1], **more}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def _touch(self, kind: str, places: list[tuple[float, float]]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def scanlines(mask: np.ndarray, brush: int) -> list[list[tuple[float, float]]]:
    """Strokes of a brush of `brush` pixels that cover `mask` (H, W) without leaving it by more than a pixel or so."""
    strokes = []
    half = brush / 2
    for y in np.arange(half, mask.shape[0], half):
        row = mask[int(y)]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], row.astype(np.int8), [0]))))
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            if right - left > brush:
                strokes.append([(left + half, float(y)), (right - half, float(y))])
    return strokes
