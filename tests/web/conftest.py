"""A page that is served: of a film that plays as if it were a camera, and of a recorded film."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import crwedge as cw
from crwedge.core.scene import Scene, render_scene
from crwedge.runtime.bundle_lookup import shipped_bundle
from crwedge.runtime.frame_queue import StopToken
from crwedge.runtime.session import Session
from crwedge.runtime.session_options import SessionOptions
from crwedge.runtime.sources.open import open_source
from crwedge.runtime.sources.paced import PacedSource
from crwedge.runtime.sources.random_access import RandomAccess

OPTIONS = SessionOptions(
    model=shipped_bundle(),
    engine="cpu",
    settings=cw.PropagationSettings(context_length=3, topk=5, radius=6, prefill=False),
    threads=1,
    confidence=True,
    preview=True,
)
FRAMES = 16
SERVER = ("fastapi", "uvicorn", "websockets", "httpx")
"""What a served page and its tests need."""


def import_or_skip(name: str) -> Any:
    """A module that the tests of a served page need; a test without it is skipped. (A conftest must not skip by itself.)"""
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'crwedge[dev]'")


@dataclass
class Page:
    """A served page and what stands behind it."""

    url: str
    desk: Any
    session: Session | None = None
    token: str | None = None
    results: list[dict[str, Any]] = field(default_factory=list)

    def client(self, **headers: str) -> Any:
        """A program that talks to the API."""
        httpx = import_or_skip("httpx")
        return httpx.Client(base_url=self.url, headers={"X-Requested-With": "crwedge", **headers}, timeout=60)


def png(ids: np.ndarray) -> bytes:
    """Ids (H, W) as a grey PNG."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(ids, np.uint8)).save(file, "PNG")
    return file.getvalue()


def ids_of(data: bytes) -> np.ndarray:
    """The values of a PNG."""
    return np.asarray(Image.open(io.BytesIO(data)))


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """What `condition` gives, once that is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def scene() -> Scene:
    """16 frames of 96 x 128 with two objects."""
    return render_scene(FRAMES, 96, 128)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, scene: Scene) -> Path:
    """The frames of the scene as pictures."""
    path = tmp_path_factory.mktemp("film") / "frames"
    path.mkdir()
    for index, frame in enumerate(scene.frames):
        Image.fromarray(frame).save(path / f"{index:05d}.png")
    return path


@contextlib.contextmanager
def stream_page(
    folder: Path, out: Path, *, fps: float = 12.0, options: SessionOptions = OPTIONS, **serving: Any
) -> Iterator[Page]:
    """The page of a film that plays over and over as if it were a camera."""
    for name in SERVER:
        import_or_skip(name)
    from crwedge.runtime.web.server import serve_desk
    from crwedge.runtime.web.stream_desk import StreamDesk

    stop = StopToken()
    source = PacedSource(RandomAccess(open_source(folder)), fps)
    session = Session(source, None, [], options, stop=stop)
    errors: list[BaseException] = []
    with StreamDesk(session, out) as desk, serve_desk(desk, "0", **serving) as served:
        page = Page(served.url.partition("#")[0], desk, session, served.token)

        def run() -> None:
            try:
                page.results.append(session.run())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            wait_for(lambda: desk.facts()["frame"])
            yield page
        finally:
            stop.set()
            thread.join(60)
    assert not errors, errors


@contextlib.contextmanager
def film_page(folder: Path, out: Path, **serving: Any) -> Iterator[Page]:
    """The page of a recorded film."""
    for name in SERVER:
        import_or_skip(name)
    from crwedge.runtime.web.film_desk import FilmDesk
    from crwedge.runtime.web.server import serve_desk

    with FilmDesk(folder, OPTIONS, out) as desk, serve_desk(desk, "0", **serving) as served:
        yield Page(served.url.partition("#")[0], desk, None, served.token)


@pytest.fixture
def page(folder: Path, tmp_path: Path) -> Iterator[Page]:
    """A page of a stream."""
    with stream_page(folder, tmp_path / "out") as served:
        yield served


@pytest.fixture
def film(folder: Path, tmp_path: Path) -> Iterator[Page]:
    """A page of a recorded film."""
    with film_page(folder, tmp_path / "out") as served:
        yield served
