"""`crwedge serve`: paint, follow and correct in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.options import AllowHost, Engine, Listen, Model, Preset, Size, Target, Threads


def serve(
    source: Annotated[
        str, typer.Argument(help="camera0, v4l2:///dev/video0, csi://0, rtsp://..., a video file or a folder.")
    ],
    listen: Listen = "8008",
    out: Annotated[
        Path | None, typer.Option(help="Folder for drafts, masks and recordings; default: in the user's cache.")
    ] = None,
    model: Model = None,
    engine: Engine = "auto",
    preset: Preset = None,
    size: Size = None,
    threads: Threads = None,
    control: Annotated[
        str | None, typer.Option(help="Commands to a stream: a file that lines are added to, or mqtt://host/topic.")
    ] = None,
    target: Target = None,
    play: Annotated[
        bool, typer.Option("--play", help="Play a film over and over at its own rate, as if it were a camera.")
    ] = False,
    allow_host: AllowHost = None,
) -> None:
    """Open a page that shows a source: paint objects, follow, correct and save them. Ends with SIGINT or SIGTERM.

    A page that other machines can open gets a new token, or the one in CRWEDGE_TOKEN.

    Example: crwedge serve camera0
    """
    from crwedge.cli.page import PageOptions, run_page

    run_page(
        PageOptions(
            source,
            listen,
            out,
            model,
            engine,
            preset,
            size,
            threads,
            control,
            tuple(target or ()),
            play,
            tuple(allow_host or ()),
        )
    )
