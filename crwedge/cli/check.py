"""`crwedge check`: how good an encoder is on footage without labels."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from crwedge.cli.messages import messages
from crwedge.cli.options import AsJson, Engine, Threads


def check(
    model: Annotated[str, typer.Argument(help="Bundle; `shipped` is the one that comes with the package.")],
    videos: Annotated[
        list[str] | None, typer.Argument(help="Videos, folders of videos or of pictures; default: rendered films.")
    ] = None,
    engine: Engine = "auto",
    clips: Annotated[int, typer.Option(min=2, help="Clips that are cut from the footage.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Of the warps and occluders.")] = 0,
    threads: Threads = None,
    compare: Annotated[bool, typer.Option(help="Score the shipped encoder too, for comparison.")] = True,
    as_json: AsJson = False,
) -> None:
    """Score an encoder on unlabelled footage by cycle consistency.

    Regions are tracked forwards, then backwards through warped frames. The score is their overlap (J) with the known position.

    Example: crwedge check runs/bundle videos/
    """
    from crwedge.cycle.check import check as check_encoder

    messages(as_json)
    report = check_encoder(model, videos or (), clips=clips, seed=seed, engine=engine, threads=threads, compare=compare)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
