"""`crwedge grab`: one frame of a source as a picture, to paint a mask on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.options import Overwrite

_log = logging.getLogger("crwedge")
_SETTLE = 1.0
"""Seconds that a camera gets to find its exposure."""


def grab(
    source: Annotated[
        str, typer.Argument(help="camera0, v4l2:///dev/video0, csi://0, rtsp://..., a video file or a folder.")
    ],
    picture: Annotated[Path, typer.Argument(help="PNG to write.")],
    frame: Annotated[
        int | None,
        typer.Option(min=0, help="Number of the frame, from 0; default: the first, of a camera one after 1 s."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Save one frame of a source as PNG.

    Example: crwedge grab camera0 frame.png
    """
    import itertools
    import time

    from crwedge.core.errors import SinkError, SourceError
    from crwedge.core.files import atomic_write
    from crwedge.runtime.events import silent
    from crwedge.runtime.sources.open import open_source
    from crwedge.runtime.web.pictures import png

    if picture.suffix.lower() != ".png":
        raise SinkError(f"{picture}: a frame is saved as PNG, which loses nothing; give a name that ends in .png")
    if picture.exists() and not overwrite:
        raise SinkError(f"{picture} exists; choose another name, or add --overwrite")
    with open_source(source, silent) as frames:
        if frames.live and frame is None:
            settled = time.monotonic() + _SETTLE
            found = next((one for one in frames if time.monotonic() >= settled), None)
        else:
            found = next(itertools.islice(frames, frame or 0, None), None)
        if found is None:
            raise SourceError(f"{frames.name} has no frame {frame or 0}")
        try:
            picture.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(picture) as file:
                file.write(png(found.image))
        except OSError as error:
            raise SinkError(f"cannot write {picture}: {error.strerror}") from error
        height, width = found.image.shape[:2]
        _log.info("%s: frame %d of %s, %dx%d (height x width)", picture, found.index, frames.name, height, width)
