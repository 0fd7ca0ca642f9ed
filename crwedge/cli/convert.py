"""`crwedge convert`: annotations from one format to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.messages import messages
from crwedge.cli.options import AsJson, Names, Overwrite


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="File, zip or folder of annotations, or *.jsonl of track.")
    ],
    target: Annotated[str, typer.Argument(metavar="OUT", help="*.xml (CVAT), *.json (COCO), *.zip or a folder.")],
    from_: Annotated[
        str | None, typer.Option("--from", help="cvat, coco, yolo, davis, youtube-vos or jsonl; default: detected.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="cvat, cvat-images, cvat-polygons, coco, yolo, davis or youtube-vos; default: by the name of OUT.",
        ),
    ] = None,
    video: Annotated[str | None, typer.Option(help="Name of the video, of several.")] = None,
    names: Names = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Convert annotations: masks, ids, names and frame numbers stay the same.

    Example: crwedge convert masks.jsonl task.zip --to cvat
    """
    from dataclasses import replace

    from crwedge.core.errors import SettingError
    from crwedge.formats.open import format_of, open_annotation, split_format, write_annotation
    from crwedge.formats.prompt import parse_names

    place, form = split_format(target)
    if form is not None and to not in (None, form):
        raise SettingError(f"--to {to} and {target} say two formats; leave one out")
    form = format_of(Path(place), to or form)
    given = parse_names(names)
    with open_annotation(source, from_, video) as annotation:
        annotation = replace(annotation, names={**annotation.names, **given})
        count = write_annotation(annotation, place, form, overwrite)
    height, width = annotation.size
    messages(as_json).info(
        f"{place}: {form}, {count} frames of {height}x{width} (height x width), from {annotation.video.name}"
    )
    if as_json:
        facts = {"output": place, "format": form, "frames": count, "size": [height, width]}
        named = {str(i): name for i, name in sorted(annotation.names.items())}
        print(json.dumps({**facts, "video": annotation.video.name, "names": named}))
