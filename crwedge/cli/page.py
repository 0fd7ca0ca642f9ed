"""What `crwedge serve` and `crwedge paint` share: the page of a source, until it ends."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crwedge.runtime.session import Session
    from crwedge.runtime.web.desk import Desk
    from crwedge.runtime.web.held_frames import HeldFrame

    OnMask = Callable[[NDArray[np.uint8], HeldFrame], None]

_log = logging.getLogger("crwedge")


@dataclass(frozen=True)
class PageOptions:
    """Options of the commands, as they were given."""

    source: str
    listen: str
    out: Path | None = None
    model: str | None = None
    engine: str = "auto"
    preset: str | None = None
    size: str | None = None
    threads: int | None = None
    control: str | None = None
    targets: tuple[Path, ...] = ()
    play: bool = False
    hosts: tuple[str, ...] = ()
    mode: str = "track"


def run_page(page: PageOptions, on_mask: OnMask | None = None) -> None:
    """Serve the page until a signal comes, the source ends or, in the mode `paint`, a mask is there."""
    from crwedge.cli.signals import exit_code, graceful_shutdown
    from crwedge.core.errors import SettingError
    from crwedge.core.images import parse_size
    from crwedge.core.settings import check_choice
    from crwedge.runtime.backends.open import ENGINES
    from crwedge.runtime.bundle_lookup import find_bundle
    from crwedge.runtime.frame_queue import StopToken
    from crwedge.runtime.session import Session
    from crwedge.runtime.session_options import SessionOptions
    from crwedge.runtime.sources.open import is_recorded, open_source
    from crwedge.runtime.sources.paced import PacedSource
    from crwedge.runtime.sources.random_access import RandomAccess
    from crwedge.runtime.web.film_desk import FilmDesk
    from crwedge.runtime.web.server import serve_desk
    from crwedge.runtime.web.stream_desk import StreamDesk

    check_choice("engine", page.engine, ENGINES)
    bundle = find_bundle(page.model)
    options = SessionOptions(
        model=bundle,
        engine=page.engine,
        preset=page.preset,
        size=parse_size(page.size) if page.size else None,
        threads=page.threads,
        control=page.control,
        targets=page.targets,
        preview=True,
    )
    is_film = is_recorded(page.source) and not page.play
    if is_film and page.targets:
        raise SettingError(
            "--target looks for objects in a stream: add --play, or run crwedge track FILM --target FILE, which writes masks"
        )
    folder = page.out or work_folder(page.source)
    stop, ended = StopToken(), threading.Event()

    def end() -> None:
        ended.set()
        stop.set()

    def applied(mask: NDArray[np.uint8], held: HeldFrame) -> None:
        assert on_mask is not None
        on_mask(mask, held)
        # The answer reaches the page first.
        threading.Timer(1.0, end).start()

    more = {"on_mask": applied if on_mask is not None else None}
    with contextlib.ExitStack() as stack:
        stack.enter_context(graceful_shutdown(stop))
        desk: Desk
        session: Session | None = None
        if is_film:
            desk = FilmDesk(page.source, options, folder, **more)
        else:
            source = PacedSource(RandomAccess(open_source(page.source))) if page.play else page.source
            session = Session(source, None, [], options, stop=stop)
            desk = StreamDesk(session, folder, **more)
        stack.enter_context(desk)
        served = stack.enter_context(
            serve_desk(desk, page.listen, token=os.environ.get("CRWEDGE_TOKEN"), hosts=page.hosts, mode=page.mode)
        )
        _log.info("open %s (Ctrl+C ends; drafts, masks and recordings: %s)", served.url, folder)
        if session is not None:
            session.run()
        while session is None and not stop.is_set() and not ended.is_set():
            ended.wait(0.2)
    if code := exit_code(stop):
        raise typer.Exit(code)


@contextlib.contextmanager
def served_session(session: Session, address: str) -> Iterator[None]:
    """Serve the page of a session that is about to run, while the block runs."""
    from crwedge.runtime.web.server import serve_desk
    from crwedge.runtime.web.stream_desk import StreamDesk

    folder = work_folder(session.name)
    with (
        StreamDesk(session, folder) as desk,
        serve_desk(desk, address, token=os.environ.get("CRWEDGE_TOKEN")) as served,
    ):
        _log.info("open %s (drafts and recordings: %s)", served.url, folder)
        yield


def work_folder(source: str) -> Path:
    """Where the drafts of a source are kept, so that they are there again when it is opened again."""
    from crwedge.core.user_folders import cache_home
    from crwedge.runtime.sources.open import is_recorded

    name = os.path.abspath(source) if is_recorded(source) else source
    return cache_home() / "serve" / hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
