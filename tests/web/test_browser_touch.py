"""The page under a finger, on a screen of the size of a phone, against a fake server."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.web.browser import open_browser, serving
from tests.web.pointer import Pointer

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")

from tests.web.fake_page import SIZE, Page
from tests.web.fake_server import FakeServer

pytestmark = pytest.mark.slow

pytestmark = pytest.mark.slow


def test_a_finger_paints_and_two_zoom() -> None:
    fake = FakeServer()
    with serving(fake.app) as url, open_browser(390, 844, touch=True) as driver:
        page = Page(driver, fake, url)
        assert page.js("document.documentElement.scrollWidth") <= 390
        page.freeze()
        finger = Pointer(driver, SIZE, touch=True)
        finger.stroke((200, 150), (260, 150), (320, 150))
        assert page.draft()[150, 260] == 1
        before = page.draft()
        left = finger.at(320, 180)
        finger.pinch((320, 180), 60, 180)
        time.sleep(0.3)
        assert np.array_equal(page.draft(), before), "a pinch paints nothing"
        # Three times larger: a tap 90 window pixels beside the centre is 30 of them in the fitted picture.
        scale = (
            finger.driver.execute_script("return document.getElementById('stage').getBoundingClientRect().width")
            / SIZE[0]
        )
        for kind, points in (("touchStart", [{"x": left[0] + 90, "y": left[1]}]), ("touchEnd", [])):
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        expected = round(320 + 30 / scale)
        assert page.draft()[180, expected] == 1
        assert before[180, expected] == 0
        buttons = "[...document.querySelectorAll('.actions button, .rail button')]"
        small = page.js(f"{buttons}.filter((b) => b.offsetHeight && b.offsetHeight < 44).map((b) => b.textContent)")
        assert small == []
