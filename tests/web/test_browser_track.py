"""`crwedge track --serve` in a real browser: the page of a run that is under way, and an object that is erased from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from crwedge.core.masks import write_mask
from crwedge.core.scene import render_scene
from tests.web.browser import chromium_or_skip, console_errors, open_browser, wait_for
from tests.web.pointer import Pointer, scanlines
from tests.web.test_browser import FRAMES, HEIGHT, MODE, WIDTH, click, crwedge, freeze, open_page, saved, set_size

pytestmark = pytest.mark.slow
COPIES = 40
"""Of the film, one after the other: the run outlives the test."""


def test_a_run_under_way_is_shown_and_an_erased_object_removed(tmp_path: Path) -> None:
    chromium_or_skip()
    scene = render_scene(FRAMES, HEIGHT, WIDTH)
    film = tmp_path / "film"
    film.mkdir()
    for index, frame in enumerate(scene.frames):
        Image.fromarray(frame).save(tmp_path / f"{index:03d}.png")
        for copy in range(COPIES):
            (film / f"{copy:03d}{index:03d}.png").symlink_to(tmp_path / f"{index:03d}.png")
    write_mask(tmp_path / "init.png", scene.masks[0])
    words = ("track", str(film), "--mask", str(tmp_path / "init.png"), "--out", str(tmp_path / "masks"))
    with crwedge(*words, option="--serve") as url, open_browser() as driver:
        open_page(driver, url)
        wait_for(driver, f"{MODE} === 'Tracking'", 60)
        wait_for(driver, "document.querySelectorAll('.object').length === 2", 20)
        index = freeze(driver)
        click(driver, '[data-tool="eraser"]')
        set_size(driver, 60)
        pointer = Pointer(driver, (WIDTH, HEIGHT))
        for stroke in scanlines(scene.masks[index % FRAMES] == 2, 30):
            pointer.stroke(*stroke)
        saved(driver)
        click(driver, "#track")
        wait_for(driver, "document.getElementById('confirm').open", 20)
        assert "object 2" in driver.find_element("id", "confirm-text").text
        click(driver, "#confirm-yes")
        wait_for(driver, "document.querySelectorAll('.object').length === 1", 30)
        wait_for(driver, f"{MODE} === 'Tracking'", 30)
        assert console_errors(driver) == []
