"""Screenshots of the page in each of its states, at desktop and phone widths, in both themes.

    python -m tests.web.screenshots FOLDER

The states come from the fake server, so that the pictures are the same each time. They are for looking at.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.web.browser import open_browser, serving, wait_for
from tests.web.fake_server import FakeServer
from tests.web.pointer import Pointer

OBJECTS = [("Cup", "#ff3232"), ("Book", "#28e13c")]
SIZES = {"desktop": (1280, 800, False), "phone": (390, 844, True)}


def click(driver: Any, selector: str) -> None:
    """A click that the layout cannot hide."""
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def centre(truth: np.ndarray) -> tuple[float, float]:
    """The middle of a true object, picture pixels."""
    return float(truth.nonzero()[1].mean()), float(truth.nonzero()[0].mean())


def painting(driver: Any, fake: FakeServer) -> None:
    """Freezes, selects the first object, paints a part of the second."""
    click(driver, "#freeze")
    wait_for(driver, "!document.getElementById('track').hidden")
    index = int(wait_for(driver, "document.getElementById('says').textContent.match(/Frame (\\d+) is frozen/)?.[1]"))
    click(driver, '[data-tool="select"]')
    pointer = Pointer(driver, (640, 360))
    pointer.click(*centre(fake.truth(index) == 1))
    time.sleep(0.6)
    click(driver, "#object-add")
    click(driver, '[data-tool="brush"]')
    x, y = centre(fake.truth(index) == 2)
    pointer.stroke((x - 20, y - 15), (x + 20, y - 10), (x - 20, y + 5), (x + 20, y + 15), (x, y))
    time.sleep(1.2)


def named(driver: Any, fake: FakeServer) -> None:
    """Two objects with names."""
    fake.objects = {i: {"id": i, "name": name, "color": colour} for i, (name, colour) in enumerate(OBJECTS, 1)}


def tracking(driver: Any, fake: FakeServer) -> None:
    """Two objects are followed."""
    named(driver, fake)
    fake.tracking = True
    time.sleep(3)


def recovering(driver: Any, fake: FakeServer) -> None:
    """Recording; one object in doubt, the other one lost."""
    tracking(driver, fake)
    fake.recording = True
    fake.states = {1: ("recovering", 0.41), 2: ("lost", 0.08)}
    time.sleep(2)


def correcting(driver: Any, fake: FakeServer) -> None:
    """A frame is frozen while tracking."""
    tracking(driver, fake)
    click(driver, "#freeze")
    wait_for(driver, "!document.getElementById('track').hidden")
    click(driver, '[data-tool="polygon"]')
    for place in ((250, 80), (330, 70), (350, 150)):
        Pointer(driver, (640, 360)).click(*place)
    time.sleep(0.5)


def lost_connection(driver: Any, fake: FakeServer) -> None:
    """The websocket is closed again and again."""
    tracking(driver, fake)
    fake.pictures = False
    time.sleep(2)


def show_help(driver: Any, fake: FakeServer) -> None:
    """The list of shortcuts."""
    click(driver, "#help-open")
    time.sleep(0.5)


def propagating(driver: Any, fake: FakeServer) -> None:
    """A recorded file, painted, half propagated."""
    named(driver, fake)
    fake.labelled, fake.painted = [[4, 15]], [8]
    driver.refresh()
    time.sleep(1.5)
    driver.execute_script(
        "const s = document.getElementById('scrub'); s.value = 8; s.dispatchEvent(new Event('input'))"
    )
    time.sleep(0.5)
    fake.job = {"done": 0, "total": 60, "direction": "both"}
    time.sleep(1.6)


STATES: dict[str, tuple[bool, Callable[[Any, FakeServer], None]]] = {
    "live": (True, lambda driver, fake: time.sleep(1)),
    "painting": (True, painting),
    "tracking": (True, tracking),
    "recovering": (True, recovering),
    "correcting": (True, correcting),
    "lost-connection": (True, lost_connection),
    "help": (True, show_help),
    "file": (False, propagating),
}


def main(folder: Path, only: list[str]) -> None:
    """Writes STATE-SIZE-THEME.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for size, (width, height, touch) in SIZES.items():
        for theme in ("light", "dark"):
            for state, (live, prepare) in STATES.items():
                name = f"{state}-{size}-{theme}"
                if only and not any(word in name for word in only):
                    continue
                fake = FakeServer(live=live)
                with serving(fake.app) as url, open_browser(width, height, dark=theme == "dark", touch=touch) as driver:
                    driver.get(url)
                    wait_for(driver, "'ready' in document.documentElement.dataset")
                    time.sleep(0.5)
                    prepare(driver, fake)
                    driver.save_screenshot(str(folder / f"{name}.png"))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.web.screenshots FOLDER [WORD IN THE NAME ...]")
    main(Path(sys.argv[1]), sys.argv[2:])
