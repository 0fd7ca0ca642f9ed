"""`crwedge check`: how good an encoder is on footage without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.messages import messages


def check(
    model: Annotated[str, typer.Argument(help="Bundle; `shipped` is the one that comes with the package.")],
    videos: Annotated[
        list[str] | None, typer.Argument(help="Videos, folders of videos or of pictures; default: rendered films.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, cpu, cuda or tensorrt.")] = "auto",
    clips: Annotated[int, typer.Option(min=2, help="Clips that are cut from the footage.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Of the warps and occluders.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Processors to use; default: all.")] = None,
    compare: Annotated[bool, typer.Option(help="Set the shipped encoder beside it.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Score an encoder on unlabelled footage by cycle consistency.

    Regions are followed forwards, and backwards through frames that a known warp deforms; J says how well they come back.

    Example: crwedge check runs/bundle videos/
    """
    from crwedge.core.errors import SourceError
    from crwedge.eval.cycle import CycleSettings, compared, cycle_score, rendered_clips
    from crwedge.eval.unlabelled import read_clips
    from crwedge.runtime.backends.open import open_engine
    from crwedge.runtime.bundle_lookup import find_bundle, shipped_bundle

    log = messages(as_json)
    settings = CycleSettings(seed=seed)
    if videos:
        footage = read_clips(
            videos, count=clips, frames=settings.frames, rate=settings.rate, short_side=settings.short_side
        )
        if len(footage) < 2:
            raise SourceError("the footage gives one clip only, whose score says nothing; give more or longer videos")
        name = f"{len(footage)} clips of {', '.join(Path(video).name for video in videos)}"
    else:
        footage = rendered_clips(settings, min(clips, 8))
        name = f"{len(footage)} rendered films"
    shipped = shipped_bundle()
    bundle = find_bundle(shipped if model == "shipped" else model)
    scores = {}
    chosen = {bundle.manifest.name: bundle}
    if compare and bundle.sha256 != (reference := find_bundle(shipped)).sha256:
        chosen[f"{reference.manifest.name} (shipped)"] = reference
    for label, one in chosen.items():
        encoder = open_engine(one, engine, threads)
        try:
            scores[label] = cycle_score(encoder, footage, settings, threads)
        finally:
            encoder.close()
        found = scores[label]
        log.info(f"{label}: {100 * found.mean:.1f} +- {100 * found.error:.1f} ({found.regions} regions, {name})")
    result = {
        "footage": name,
        "protocol": settings.to_dict(),
        "encoders": {label: {**score.to_dict(), "sha256": chosen[label].sha256} for label, score in scores.items()},
    }
    if len(scores) == 2:
        mine, theirs = scores.values()
        difference = compared(mine, theirs)
        log.info(difference.sentence(*scores))
        result["difference"] = difference.to_dict()
    if as_json:
        typer.echo(json.dumps(result))
