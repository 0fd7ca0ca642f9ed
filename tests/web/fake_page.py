"""The page in a browser, with the fake server behind it."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
from PIL import Image

from tests.web.browser import wait_for
from tests.web.fake_server import FakeServer
from tests.web.pointer import Pointer

SIZE = (640, 360)
"""Of the fake's pictures, (width, height)."""


class Page:
    """The page of a fake server."""

    def __init__(self, driver: Any, fake: FakeServer, url: str) -> None:
        self.driver, self.fake, self.url = driver, fake, url
        self.pointer = Pointer(driver, SIZE)
        driver.get_log("browser")
        self.open()

    def open(self) -> None:
        self.driver.get(self.url)
        wait_for(self.driver, "'ready' in document.documentElement.dataset")
        if self.fake.live and self.fake.draft_id is None:
            self.wait("document.getElementById('mode').textContent !== 'Connecting'")

    def js(self, script: str) -> Any:
        return self.driver.execute_script(f"return ({script})")

    def wait(self, script: str, seconds: float = 10.0) -> Any:
        return wait_for(self.driver, script, seconds)

    def click(self, selector: str) -> None:
        self.driver.execute_script("document.querySelector(arguments[0]).click()", selector)

    def keys(self, *keys: str, on: str = "#stage") -> None:
        self.driver.find_element("css selector", on).send_keys(*keys)

    def freeze(self) -> None:
        self.click("#freeze")
        self.wait("document.getElementById('mode').textContent === 'Frozen'")

    def tool(self, name: str) -> None:
        self.click(f'[data-tool="{name}"]')

    def settle(self) -> None:
        """Waits until painted work has been sent."""
        time.sleep(0.1)
        self.wait("!document.getElementById('saved')?.textContent.endsWith('…')")

    def draft(self) -> np.ndarray:
        """What the server has of the painted frame, (H, W) ids."""
        self.settle()
        assert self.fake.draft_id is not None
        with Image.open(io.BytesIO(self.fake.drafts[self.fake.draft_id])) as image:
            assert image.mode == "L"
            return np.asarray(image)
