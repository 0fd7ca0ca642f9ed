"""The page in a real browser, against a fake server: tools, keyboard, touch, reload, reconnection, accessibility."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.web.browser import console_errors, open_browser, serving, wait_for
from tests.web.pointer import Pointer

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")

from tests.web.fake_page import SIZE, Page
from tests.web.fake_server import FakeServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def page(driver: Any, fake: FakeServer) -> Iterator[Page]:
    with serving(fake.app) as url:
        opened = Page(driver, fake, url)
        yield opened
        # A page that is left must not ask whether its work may be lost.
        opened.settle()
        driver.get("about:blank")


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def disc(x: float, y: float, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    inside: np.ndarray = (xs - x) ** 2 + (ys - y) ** 2 <= radius**2
    return inside


def test_it_says_that_it_is_live_and_has_no_errors(page: Page) -> None:
    page.wait("document.getElementById('fps').textContent.includes('/s')")
    assert page.js("document.getElementById('mode').textContent") == "Live"
    assert console_errors(page.driver) == []


def test_a_brush_stroke_covers_what_the_pointer_passed(page: Page) -> None:
    page.freeze()
    page.pointer.stroke((100, 100), (200, 100), (200, 200))
    found = page.draft() == 1
    ys, xs = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    across = np.hypot(xs - np.clip(xs, 100, 200), ys - 100) <= 12
    down = np.hypot(xs - 200, ys - np.clip(ys, 100, 200)) <= 12
    assert iou(found, across | down) > 0.97


def test_polygon_rectangle_fill_eraser_and_undo(page: Page) -> None:
    page.freeze()
    page.tool("rect")
    page.pointer.stroke((300, 100), (350, 130), (400, 200))
    expected = np.zeros(SIZE[::-1], bool)
    expected[100:200, 300:400] = True
    assert iou(page.draft() == 1, expected) > 0.97
    page.tool("polygon")
    for place in ((50, 50), (150, 50), (150, 150), (50, 150), (50, 50)):
        page.pointer.click(*place)
    expected[50:150, 50:150] = True
    assert iou(page.draft() == 1, expected) > 0.97
    page.tool("eraser")
    page.pointer.click(100, 100)
    hole = disc(100, 100, 12)
    assert iou(page.draft() == 1, expected & ~hole) > 0.97
    page.tool("fill")
    page.pointer.click(100, 100)
    assert iou(page.draft() == 1, expected) > 0.97
    for _ in range(3):
        page.click("#undo")
    expected[50:150, 50:150] = False
    assert iou(page.draft() == 1, expected) > 0.97
    page.click("#redo")
    expected[50:150, 50:150] = True
    assert iou(page.draft() == 1, expected) > 0.97


def test_select_adds_and_takes_away_and_leaves_other_objects(page: Page) -> None:
    page.freeze()
    frame = int(page.wait("document.getElementById('says').textContent.match(/Frame (\\d+) is frozen/)?.[1]"))
    page.tool("select")
    page.click("#object-add")
    page.pointer.click(*middle(page.fake.truth(frame) == 1))
    first = page.draft() == 1
    page.click("#object-add")
    page.pointer.click(*middle(page.fake.truth(frame) == 2))
    second = page.draft()
    assert first.sum() > 1000
    assert (second == 2).sum() > 1000
    assert np.array_equal(second == 1, first)
    page.click("#undo")
    assert np.array_equal(page.draft() == 1, first)


def middle(truth: np.ndarray) -> tuple[float, float]:
    """The middle (x, y) of a true object."""
    return float(truth.nonzero()[1].mean()), float(truth.nonzero()[0].mean())


def test_the_right_button_erases_and_the_wheel_zooms_about_the_pointer(page: Page) -> None:
    page.freeze()
    page.pointer.stroke((100, 100), (200, 100))
    page.pointer.stroke((150, 100), (150, 101), button="right")
    found = page.draft()
    assert found[100, 110] == 1
    assert found[100, 150] == 0
    x, y = page.pointer.at(400, 250)
    page.driver.execute_cdp_cmd(
        "Input.dispatchMouseEvent", {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -600}
    )
    time.sleep(0.3)
    for kind in ("mousePressed", "mouseReleased"):
        page.driver.execute_cdp_cmd(
            "Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        )
    # The same place of the window is still the same place of the picture.
    assert page.draft()[250, 400] == 1


def test_reload_and_a_new_browser_lose_nothing(page: Page) -> None:
    page.freeze()
    page.pointer.stroke((100, 100), (300, 100))
    before = page.draft()
    page.open()
    page.wait("document.getElementById('mode').textContent === 'Frozen'")
    page.pointer.stroke((100, 200), (300, 200))
    both = page.draft()
    assert before.any()
    assert both[200, 200] == 1
    assert np.array_equal(both == 1, (both == 1) | (before == 1))
    with open_browser() as other:
        other.get(page.url)
        wait_for(other, "document.getElementById('mode').textContent === 'Frozen'")
        Pointer(other, SIZE).click(500, 300)
        time.sleep(1.2)
    found = page.draft()
    assert found[300, 500] == 1
    assert found[200, 200] == 1
    assert found[100, 200] == 1


def test_work_of_the_last_moment_is_kept_when_the_page_goes(page: Page) -> None:
    page.freeze()
    page.pointer.stroke((100, 100), (300, 100))
    assert page.fake.draft_id is None
    # A switch to another tab, at once.
    page.driver.switch_to.new_window("tab")
    time.sleep(0.4)
    saved = page.fake.draft_id
    page.driver.close()
    page.driver.switch_to.window(page.driver.window_handles[0])
    assert saved is not None


def test_track_then_correct_then_remove(page: Page) -> None:
    page.freeze()
    page.pointer.stroke((100, 100), (300, 100))
    page.click("#track")
    page.wait("document.getElementById('mode').textContent === 'Tracking'")
    assert page.fake.calls[-1][0] == "apply"
    assert page.fake.calls[-1][1]["replace"] is False
    assert page.fake.objects[1]["name"] == "Object 1"
    page.wait("document.querySelector('.object .state span').textContent.startsWith('ok')")
    page.freeze()
    assert page.js("document.getElementById('track').textContent.trim()") == "Apply correction"
    page.click("#restart")
    page.wait("document.getElementById('mode').textContent === 'Tracking'")
    assert page.fake.calls[-1][1]["replace"] is True
    page.click(".object .remove")
    page.wait("document.getElementById('confirm').open")
    page.click("#confirm-yes")
    page.wait("!document.querySelector('.object')")
    assert page.fake.objects == {}


def test_a_name_that_is_typed_while_another_is_sent_stays(page: Page) -> None:
    page.freeze()
    page.click("#object-add")
    for name in ("Cup", "Cup of tea"):
        box = page.driver.find_element("css selector", ".object .name")
        page.driver.execute_script("arguments[0].select()", box)
        box.send_keys(name)
        # The first name is being sent now; the server answers late.
        page.fake.delay = 0.6
        time.sleep(0.5)
    page.click("#object-add")
    page.wait("document.getElementById('object-add').isConnected")
    page.fake.delay = 0
    time.sleep(4.5)
    assert [item["name"] for item in page.fake.objects.values()] == ["Cup of tea", "Object 2"]
    assert page.js("document.querySelector('.object .name').value") == "Cup of tea"


def test_states_are_said_in_words(page: Page) -> None:
    page.fake.objects = {i: {"id": i, "name": f"Cup {i}", "color": "#ff3232"} for i in (1, 2)}
    page.fake.states = {1: ("recovering", 0.4), 2: ("lost", 0.1)}
    page.fake.tracking = True
    page.wait("document.querySelectorAll('.object').length === 2")
    states = "[...document.querySelectorAll('.object .state span')].map((e) => e.textContent.split(',')[0]).join()"
    page.wait(f"{states} === 'recovering,lost'")
    page.wait("document.getElementById('timeline').getAttribute('aria-label').includes('Cup 1: now 4')")


def test_recording_and_downloads(page: Page) -> None:
    page.fake.objects = {1: {"id": 1, "name": "Cup", "color": "#ff3232"}}
    page.fake.tracking = True
    page.wait("!document.getElementById('record').hidden")
    assert page.js("document.querySelectorAll('#downloads a[href]').length") <= 1
    page.click("#record")
    page.wait("document.getElementById('mode').textContent === 'Recording'")
    page.wait("document.querySelectorAll('#downloads a[href]').length === 4")
    page.click("#record")
    page.wait("document.getElementById('mode').textContent === 'Tracking'")


def test_an_error_is_shown_in_its_sentence(page: Page) -> None:
    page.freeze()
    page.tool("select")
    page.pointer.click(2, 2)
    page.wait(
        "document.querySelector('.toast[data-kind=error]')?.textContent === 'Nothing stands out there: click on the object.'"
    )


def test_a_lost_connection_is_said_and_mended(page: Page) -> None:
    page.fake.pictures = False
    page.wait("!document.getElementById('banner').hidden")
    assert "Connection lost" in page.js("document.getElementById('banner-text').textContent")
    page.fake.pictures = True
    page.click("#banner-retry")
    page.wait("document.getElementById('banner').hidden")
    page.wait("document.getElementById('mode').textContent === 'Live'")


def test_the_token_is_asked_for(driver: Any, fake: FakeServer) -> None:
    fake.token = "open sesame"
    with serving(fake.app) as url:
        driver.get(url)
        wait_for(driver, "document.getElementById('login').open")
        driver.find_element("id", "token").send_keys("wrong\n")
        wait_for(driver, "document.getElementById('login-error').textContent !== ''")
        driver.find_element("id", "token").clear()
        driver.find_element("id", "token").send_keys("open sesame\n")
        wait_for(driver, "'ready' in document.documentElement.dataset")
        driver.delete_all_cookies()
        driver.get("about:blank")
        driver.get(f"{url}/#token=open%20sesame")
        wait_for(driver, "'ready' in document.documentElement.dataset")
        assert "token" not in driver.current_url
        driver.delete_all_cookies()
        driver.get("about:blank")


def test_keyboard_alone_paints_and_tracks(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.keys("f", on="body")
    page.wait("document.getElementById('mode').textContent === 'Frozen'")
    # From the top of the page to the picture with the Tab key.
    for _ in range(40):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        if page.js("document.activeElement.id") == "stage":
            break
    assert page.js("document.activeElement.id") == "stage"
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keys(" ")
    assert page.draft()[180, 320] == 1
    page.keys(Keys.ENTER, *[Keys.ARROW_RIGHT] * 10, Keys.ENTER)
    row = page.draft()[180]
    assert row.sum() > 24 + 50
    page.keys("n", "r", *[Keys.ARROW_DOWN] * 8, " ", *[Keys.ARROW_DOWN] * 4, *[Keys.ARROW_RIGHT] * 4, " ")
    assert (page.draft() == 2).sum() > 300
    page.keys("p", " ", *[Keys.ARROW_LEFT] * 6, " ", *[Keys.ARROW_UP] * 6, " ", Keys.ENTER)
    before = page.draft()
    page.keys(Keys.CONTROL, "z")
    assert (page.draft() == 2).sum() < (before == 2).sum()
    page.keys("s", " ")
    page.keys("t")
    page.wait("document.getElementById('mode').textContent === 'Tracking'")
    page.keys("?")
    page.wait("document.getElementById('help').open")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.wait("!document.getElementById('help').open")
    page.keys("v")
    page.wait("document.getElementById('mode').textContent === 'Recording'")


def test_a_recorded_file(driver: Any) -> None:
    fake = FakeServer(live=False)
    with serving(fake.app) as url:
        page = Page(driver, fake, url)
        page.driver.execute_script(
            "const s = document.getElementById('scrub'); s.value = 8; s.dispatchEvent(new Event('input'))"
        )
        page.wait("document.getElementById('frame-number').textContent.startsWith('8 ')")
        page.pointer.stroke((100, 100), (300, 100))
        page.click('[data-direction="both"]')
        page.wait("!document.getElementById('job').hidden")
        assert fake.calls[-1] == ("propagate", {"frame_id": "8", "direction": "both"})
        page.wait("document.getElementById('job').hidden")
        page.wait("document.getElementById('timeline').getAttribute('aria-label').includes('lowest 60 %')")
        # Leaving a frame keeps what was painted on it.
        page.click("#frame-next")
        page.wait("document.getElementById('frame-number').textContent.startsWith('9 ')")
        page.pointer.stroke((100, 200), (300, 200))
        page.click("#frame-next")
        page.wait("document.getElementById('frame-number').textContent.startsWith('10 ')")
        assert fake.calls[-1] == ("apply", {"replace": False, "frame": "9"})
        # A reload goes back to the frame that was painted last.
        page.pointer.stroke((100, 200), (300, 200))
        page.settle()
        page.open()
        page.wait("document.getElementById('frame-number').textContent.startsWith('10 ')")
        assert page.draft()[200, 200] == 1
        assert console_errors(driver) == []
        driver.get("about:blank")
