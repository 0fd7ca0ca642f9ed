"""`crwedge serve` in a real browser: paint with pointer events, follow, correct, download. Masks are held against the truth."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from crwedge.core.scene import Scene, render_scene
from tests.unit.conftest import write_video
from tests.web.browser import chromium_or_skip, console_errors, open_browser, wait_for
from tests.web.pointer import Pointer, scanlines

for module in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(module, reason=f"{module} is not installed (extra serve)")

pytestmark = pytest.mark.slow
HEIGHT, WIDTH, FRAMES = 240, 426, 20
BRUSH = 8
MODE = "document.getElementById('mode').textContent"


@pytest.fixture(scope="module")
def scene() -> Scene:
    chromium_or_skip()
    return render_scene(FRAMES, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def film(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "scene.mp4", scene.frames, fps=5)


@contextmanager
def crwedge(*arguments: str, port: int = 0, option: str = "--listen") -> Iterator[str]:
    """Runs a command that serves a page, and gives the page's address. `option` takes the port."""
    command = [sys.executable, "-m", "crwedge", *arguments, option, str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = None
            for line in process.stderr:
                if found := re.search(r"http://\S+", line):
                    break
            assert found is not None, f"no address (exit code {process.wait(10)})"
            yield found.group()
        finally:
            process.terminate()
            process.wait(20)


def open_page(driver: Any, url: str) -> None:
    driver.get(url)
    wait_for(driver, "'ready' in document.documentElement.dataset", 20)
    wait_for(driver, "document.getElementById('hint').textContent !== 'Waiting for the first picture'", 20)


def click(driver: Any, selector: str) -> None:
    """A real click of an element that can be seen."""
    driver.find_element("css selector", selector).click()


def saved(driver: Any) -> None:
    """Waits until all that is painted is on the server."""
    time.sleep(0.1)
    wait_for(driver, "!document.getElementById('saved').textContent.endsWith('…')", 30)


def set_size(driver: Any, size: int) -> None:
    driver.execute_script(
        "const s = document.getElementById('size'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))", size
    )


def paint(driver: Any, masks: np.ndarray, ids: tuple[int, ...], first: bool = True) -> None:
    """Paints objects of a label map (H, W) with the brush."""
    pointer = Pointer(driver, (WIDTH, HEIGHT))
    click(driver, '[data-tool="brush"]')
    set_size(driver, BRUSH)
    for number in ids:
        if first:
            click(driver, "#object-add")
        else:
            click(driver, f".object:nth-child({number}) .pick")
        for stroke in scanlines(masks == number, BRUSH):
            pointer.stroke(*stroke)
    saved(driver)


def fetch(driver: Any, path: str) -> bytes:
    """What a link of the page downloads."""
    found = driver.execute_async_script(
        """
        const done = arguments[1];
        fetch(arguments[0]).then(async (answer) => {
          const bytes = new Uint8Array(await answer.arrayBuffer());
          done([answer.status, Array.from(bytes)]);
        });
        """,
        path,
    )
    assert found[0] == 200, f"{path}: {found[0]} {bytes(found[1])[:200]!r}"
    return bytes(found[1])


def masks_of(archive: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {Path(name).stem: np.asarray(Image.open(opened.open(name))) for name in sorted(opened.namelist())}


def jaccard(found: np.ndarray, truth: np.ndarray, ids: tuple[int, ...] = (1, 2)) -> float:
    """Mean J of the objects that are there in the truth."""
    values = [
        ((found == i) & (truth == i)).sum() / ((found == i) | (truth == i)).sum() for i in ids if (truth == i).any()
    ]
    return float(np.mean(values))


def draft_of(driver: Any, frame_id: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(fetch(driver, f"/api/frames/{frame_id}/draft"))))


def test_paint_a_film_propagate_correct_download(film: Path, scene: Scene, tmp_path: Path) -> None:
    with crwedge("serve", str(film), "--out", str(tmp_path)) as url, open_browser() as driver:
        open_page(driver, url)
        paint(driver, scene.masks[0], (1, 2))
        assert jaccard(draft_of(driver, "0"), scene.masks[0]) > 0.85
        click(driver, '[data-direction="forward"]')
        wait_for(
            driver,
            "!document.getElementById('job').hidden || document.querySelectorAll('#downloads a[href]').length === 4",
            30,
        )
        wait_for(driver, "document.getElementById('job').hidden", 120)
        wait_for(driver, "document.getElementById('recorded').textContent.startsWith('20 frames')", 20)
        found = masks_of(fetch(driver, "/api/download/masks.zip"))
        assert len(found) == FRAMES
        scores = [jaccard(mask, truth) for mask, truth in zip(found.values(), scene.masks, strict=True)]
        assert np.mean(scores) >= 0.8, scores
        # A later frame is painted anew, with the keys that scrub.
        for _ in range(10):
            driver.find_element("id", "stage").send_keys(".")
        wait_for(driver, "document.getElementById('frame-number').textContent.startsWith('10 ')", 20)
        paint(driver, scene.masks[10], (1, 2), first=False)
        click(driver, '[data-direction="both"]')
        time.sleep(1)
        wait_for(driver, "document.getElementById('job').hidden", 120)
        corrected = masks_of(fetch(driver, "/api/download/masks.zip"))
        better = [jaccard(mask, truth) for mask, truth in zip(corrected.values(), scene.masks, strict=True)]
        assert np.mean(better) >= 0.8, better
        lines = fetch(driver, "/api/download/masks.jsonl").decode().splitlines()
        assert len(lines) == FRAMES
        assert "objects" in json.loads(lines[0])
        assert fetch(driver, "/api/download/overlay.mp4")[4:8] == b"ftyp"
        assert fetch(driver, "/api/download/init.png")[:4] == b"\x89PNG"
        assert console_errors(driver) == []


def test_follow_a_stream_correct_record_download(film: Path, scene: Scene, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    arguments = ("serve", str(film), "--play", "--out", str(tmp_path / "work"))
    with crwedge(*arguments) as url, open_browser(downloads=str(downloads)) as driver:
        open_page(driver, url)
        index = freeze(driver)
        paint(driver, scene.masks[index % FRAMES], (1, 2))
        click(driver, "#track")
        wait_for(driver, f"{MODE} === 'Tracking'", 30)
        wait_for(driver, "document.querySelector('.object .state span').textContent.includes('%')", 30)
        # Painted anew on a later frame: what is followed shows it.
        index = freeze(driver)
        paint(driver, scene.masks[index % FRAMES], (1, 2), first=False)
        click(driver, "#track")
        wait_for(driver, f"{MODE} === 'Tracking'", 30)
        click(driver, "#record")
        wait_for(driver, f"{MODE} === 'Recording'", 20)
        wait_for(driver, "parseInt(document.getElementById('recorded').textContent) >= 8", 60)
        click(driver, "#record")
        wait_for(driver, f"{MODE} === 'Tracking'", 20)
        click(driver, '#downloads a[download="masks.zip"]')
        target = downloads / "masks.zip"
        for _ in range(100):
            if target.is_file():
                break
            time.sleep(0.1)
        found = masks_of(target.read_bytes())
        lines = [json.loads(line) for line in fetch(driver, "/api/download/masks.jsonl").splitlines()]
        assert len(found) == len(lines) >= 8
        scores = [
            jaccard(mask, scene.masks[line["frame"] % FRAMES]) for mask, line in zip(found.values(), lines, strict=True)
        ]
        assert np.mean(scores) >= 0.8, scores
        # A reload keeps following.
        open_page(driver, url)
        wait_for(driver, f"{MODE} === 'Tracking'", 20)
        click(driver, ".object:nth-child(2) .remove")
        click(driver, "#confirm-yes")
        wait_for(driver, "document.querySelectorAll('.object').length === 1", 20)
        click(driver, "#stop")
        wait_for(driver, f"{MODE} === 'Live'", 30)
        assert console_errors(driver) == []


def freeze(driver: Any) -> int:
    """Freezes the picture and gives the frame's number."""
    click(driver, "#freeze")
    wait_for(driver, f"{MODE} === 'Frozen'", 20)
    text = wait_for(driver, "document.getElementById('says').textContent.match(/Frame (\\d+) is frozen/)?.[1]", 10)
    return int(text)


@pytest.mark.parametrize("number", [1, 2])
def test_click_to_select_with_three_clicks_at_most(film: Path, scene: Scene, tmp_path: Path, number: int) -> None:
    truth = scene.masks[0] == number
    with crwedge("serve", str(film), "--out", str(tmp_path)) as url, open_browser() as driver:
        open_page(driver, url)
        click(driver, '[data-tool="select"]')
        pointer = Pointer(driver, (WIDTH, HEIGHT))
        overlaps = []
        missing, surplus = truth, np.zeros_like(truth)
        for _ in range(3):
            add = missing.sum() >= surplus.sum()
            pointer.click(*centre(missing if add else surplus), alt=not add)
            saved(driver)
            found = draft_of(driver, "0") == 1
            overlaps.append(float((found & truth).sum() / (found | truth).sum()))
            if overlaps[-1] >= 0.8:
                break
            missing, surplus = truth & ~found, found & ~truth
        assert overlaps[-1] >= 0.8, overlaps


def centre(area: np.ndarray) -> tuple[float, float]:
    """The place (x, y) of an area that is farthest from its border, as a person would click."""
    inside, shrunk = area, area
    while shrunk.any():
        inside = shrunk
        padded = np.pad(shrunk, 1)
        shrunk = shrunk & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    ys, xs = inside.nonzero()
    middle = len(ys) // 2
    return float(xs[middle]) + 0.5, float(ys[middle]) + 0.5


def test_paint_writes_a_mask_and_ends(film: Path, scene: Scene, tmp_path: Path) -> None:
    mask = tmp_path / "init.png"
    with crwedge("paint", str(film), str(mask)) as url, open_browser() as driver:
        open_page(driver, url)
        paint(driver, scene.masks[0], (1,))
        click(driver, "#track")
        wait_for(driver, "document.getElementById('hint').textContent.includes('The mask is saved')", 20)
        for _ in range(100):
            if mask.is_file():
                break
            time.sleep(0.1)
        assert jaccard(np.asarray(Image.open(mask)), scene.masks[0], (1,)) > 0.85
        time.sleep(2)
        assert console_errors(driver) == []


def test_restarts_of_server_and_browser_lose_nothing(film: Path, tmp_path: Path) -> None:
    arguments = ("serve", str(film), "--play", "--out", str(tmp_path))
    pointer_at = (213, 120)
    with open_browser() as driver:
        with crwedge(*arguments) as url:
            open_page(driver, url)
            freeze(driver)
            Pointer(driver, (WIDTH, HEIGHT)).click(*pointer_at)
            saved(driver)
        wait_for(driver, "!document.getElementById('banner').hidden", 20)
        with crwedge(*arguments, port=urlsplit(url).port or 0):
            driver.execute_script("document.getElementById('banner-retry').click()")
            wait_for(driver, "document.getElementById('banner').hidden", 30)
            # Painting goes on where it was.
            Pointer(driver, (WIDTH, HEIGHT)).click(50, 50)
            saved(driver)
            with open_browser() as other:
                other.get(url)
                wait_for(other, f"{MODE} === 'Frozen'", 20)
                draft = json.loads(fetch(other, "/api/draft"))["frame_id"]
                painted = draft_of(other, draft)
                assert painted[120, 213] == 1
                assert painted[50, 50] == 1
                click(other, "#track")
                wait_for(other, f"{MODE} === 'Tracking'", 30)
            # Another browser that was closed takes nothing away.
            open_page(driver, url)
            wait_for(driver, f"{MODE} === 'Tracking'", 20)


def test_the_first_paint_is_reported(film: Path, tmp_path: Path, record_property: Any) -> None:
    with crwedge("serve", str(film), "--play", "--out", str(tmp_path)) as url, open_browser() as driver:
        times = []
        for _ in range(5):
            open_page(driver, url)
            times.append(wait_for(driver, "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))
            driver.get("about:blank")
        record_property("first contentful paint, ms", sorted(times))
        print("first contentful paint, ms:", [round(value) for value in sorted(times)])
