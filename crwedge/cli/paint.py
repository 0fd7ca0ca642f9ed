"""`crwedge paint`: paint a mask in a browser, write it, end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crwedge.cli.options import AllowHost, Listen, Model, Overwrite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from crwedge.runtime.web.held_frames import HeldFrame


def paint(
    source: Annotated[
        str, typer.Argument(help="camera0, v4l2:///dev/video0, csi://0, rtsp://..., a video file or a folder.")
    ],
    mask: Annotated[Path, typer.Argument(help="Mask to write.")] = Path("init.png"),
    frame: Annotated[Path | None, typer.Option(help="Write the frame that was painted on as PNG, too.")] = None,
    listen: Listen = "8008",
    model: Model = None,
    overwrite: Overwrite = False,
    allow_host: AllowHost = None,
) -> None:
    """Open a page to paint a mask on a frame, write the mask and end.

    Example: crwedge paint film.mp4 init.png
    """
    import logging

    from crwedge.cli.page import PageOptions, run_page
    from crwedge.core.errors import SinkError
    from crwedge.core.files import atomic_write
    from crwedge.core.masks import describe_mask, write_mask
    from crwedge.runtime.web.pictures import png

    for path in filter(None, (mask, frame)):
        if path.suffix.lower() != ".png":
            raise SinkError(f"{path}: masks and frames are written as PNG; give a name that ends in .png")
        if path.exists() and not overwrite:
            raise SinkError(f"{path} exists; choose another name, or add --overwrite")
        if not path.absolute().parent.is_dir():
            raise SinkError(f"{path}: there is no folder {path.parent}")

    def save(ids: NDArray[np.uint8], held: HeldFrame) -> None:
        write_mask(mask, ids)
        if frame is not None:
            with atomic_write(frame) as file:
                file.write(png(held.frame.image))
        text = "%s: %s, painted on frame %d (--start %d where it is a film)"
        logging.getLogger("crwedge").info(text, mask, describe_mask(ids), held.frame.index, held.frame.index)

    run_page(PageOptions(source, listen, model=model, hosts=tuple(allow_host or ()), mode="paint"), save)
