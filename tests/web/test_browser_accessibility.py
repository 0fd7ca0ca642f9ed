"""axe-core's rules on the page, in the states that it has, in both themes and at both widths."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.web.browser import open_browser, serving, wait_for

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra serve)")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (extra serve)")

from tests.web.fake_server import FakeServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    found = find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core-python is not installed")
    return (Path(found.origin).parent / "axe.min.js").read_text()


def problems(driver: Any, axe: str) -> list[str]:
    """What axe-core finds: rule and elements."""
    driver.execute_script(axe)
    found = driver.execute_async_script(
        """
        const done = arguments[0];
        axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }).then((result) => done(
          result.violations.map((item) => `${item.id}: ${item.nodes.map((node) => node.target.join(' ')).join(', ')}`)));
        """
    )
    return list(found)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(axe: str, dark: bool, width: int) -> None:
    fake = FakeServer()
    fake.objects = {i: {"id": i, "name": f"Cup {i}", "color": "#ff3232"} for i in (1, 2, 3)}
    fake.states = {2: ("recovering", 0.4), 3: ("lost", 0.1)}
    with serving(fake.app) as url, open_browser(width, 844, dark=dark, touch=width < 500) as driver:
        driver.get(url)
        wait_for(driver, "'ready' in document.documentElement.dataset")
        wait_for(driver, "document.querySelectorAll('.object').length === 3")
        assert problems(driver, axe) == []
        fake.tracking = True
        wait_for(driver, "document.querySelectorAll('.object[data-state=lost]').length === 1")
        assert problems(driver, axe) == []
        driver.execute_script("document.getElementById('freeze').click()")
        wait_for(driver, "document.getElementById('mode').textContent === 'Frozen'")
        driver.execute_script("document.querySelector('[data-tool=select]').click()")
        time.sleep(0.3)
        assert problems(driver, axe) == []
        driver.execute_script("document.getElementById('help').showModal()")
        assert problems(driver, axe) == []


def test_axe_finds_nothing_on_a_recorded_file(axe: str) -> None:
    fake = FakeServer(live=False)
    fake.labelled = [[0, 5]]
    with serving(fake.app) as url, open_browser() as driver:
        driver.get(url)
        wait_for(driver, "'ready' in document.documentElement.dataset")
        fake.job = {"done": 0, "total": 400, "direction": "both"}
        driver.execute_script("document.getElementById('show-names').focus()")
        time.sleep(1.5)
        assert problems(driver, axe) == []
