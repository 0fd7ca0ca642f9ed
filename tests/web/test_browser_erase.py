"""Objects that are erased completely from a frame of a stream: they are removed once the person agrees."""

from __future__ import annotations

import numpy as np
import pytest

from tests.web.browser import open_browser, serving

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")

from tests.web.fake_page import Page
from tests.web.fake_server import FakeServer

pytestmark = pytest.mark.slow


def erase(page: Page, number: int) -> None:
    """Erase an object from a frozen frame, apply, and wait for the question."""
    page.wait("!document.getElementById('freeze').disabled")
    page.freeze()
    ys, xs = np.nonzero(page.fake.mask(page.fake.frozen) == number)
    page.tool("eraser")
    page.driver.execute_script(
        "const s = document.getElementById('size'); s.value = 80; s.dispatchEvent(new Event('input'))"
    )
    for y in range(int(ys.min()), int(ys.max()) + 30, 30):
        page.pointer.stroke((int(xs.min()), y), (int(xs.max()), y))
    assert number not in page.draft()
    page.click("#track")
    page.wait("document.getElementById('confirm').open")
    name = page.fake.objects[number]["name"]
    assert name in page.js("document.getElementById('confirm-text').textContent")


def test_an_object_that_is_erased_completely_is_kept_or_removed() -> None:
    fake = FakeServer()
    fake.objects = {i: {"id": i, "name": n, "color": "#ff3232"} for i, n in ((1, "Cup"), (2, "Book"))}
    fake.tracking = True
    with serving(fake.app) as url, open_browser() as driver:
        page = Page(driver, fake, url)
        page.wait("document.getElementById('mode').textContent === 'Tracking'")
        page.wait("document.querySelectorAll('.object').length === 2")
        erase(page, 1)
        page.click('#confirm [value="no"]')
        page.wait("document.getElementById('mode').textContent === 'Tracking'")
        assert set(fake.objects) == {1, 2}
        applied = len(fake.calls)
        erase(page, 1)
        page.click("#confirm-yes")
        page.wait("document.querySelectorAll('.object').length === 1")
        page.wait("document.getElementById('mode').textContent === 'Tracking'")
        assert set(fake.objects) == {2}
        assert len(fake.calls) == applied + 1, "what is left of the mask is applied too"
        # The last one: nothing is left to apply.
        erase(page, 2)
        page.click("#confirm-yes")
        page.wait("document.querySelectorAll('.object').length === 0")
        assert fake.objects == {}
        assert len(fake.calls) == applied + 1
