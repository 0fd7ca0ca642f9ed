"""`crwedge demo`: a scene made on the spot, tracked, scored, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.messages import messages
from crwedge.cli.options import AsJson, Model

_HEIGHT, _WIDTH, _RATE, _SEED = 360, 640, 24.0, 5


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("crwedge-demo"),
    frames: Annotated[int, typer.Option(min=2, max=1000, help="Frames to render.")] = 48,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Render a film with two walking bodies and their look-alikes, track them, score the result and draw it.

    Example: crwedge demo --out /tmp/crwedge-demo
    """
    import numpy as np
    from PIL import Image

    from crwedge.cli.progress import Progress
    from crwedge.core.errors import SinkError
    from crwedge.core.film import render_film
    from crwedge.core.labels import region_iou
    from crwedge.core.masks import palette
    from crwedge.runtime.bundle_lookup import default_preset, find_bundle
    from crwedge.runtime.sinks.draw import caption, overlay, sheet
    from crwedge.runtime.sinks.open import open_sink
    from crwedge.runtime.tracker import Tracker

    log = messages(as_json)
    bundle = find_bundle(model)
    name = default_preset(bundle)
    if not bundle.manifest.trained:
        log.info(f"note: the encoder {bundle.manifest.name} is random, not trained; masks will drift")
    log.info(
        f"rendering {frames} frames of {_HEIGHT} x {_WIDTH} with two objects and two look-alikes, and tracking them: "
        "about 20 s of processor time"
    )
    film = render_film(frames, _HEIGHT, _WIDTH, objects=2, seed=_SEED, rate=_RATE)
    shown = sorted({round(i * (frames - 1) / 5) for i in range(6)})
    rows: list[list[np.ndarray]] = [[], [], []]
    overlap = np.zeros((2, frames))
    # Tracking first: the pictures are made only when everything before them went well.
    with (
        Tracker.open(bundle, settings=name) as tracker,
        open_sink(out / "masks") as masks,
        open_sink(out / "overlay.mp4", _RATE) as video,
        Progress("frames", frames) as progress,
    ):
        for index, (frame, truth) in enumerate(zip(film.frames, film.masks, strict=True)):
            labels = tracker.step(frame, truth if index == 0 else None)
            masks.write(labels)
            video.write(labels)
            overlap[:, index] = region_iou(labels.ids, truth, (1, 2))
            if index in shown:
                rows[0].append(frame)
                rows[1].append(overlay(palette()[truth], truth, 0))
                rows[2].append(overlay(frame, labels.ids))
            progress.update(index + 1)
        protocol = tracker.settings.to_dict()
    path = out / "sheet.png"
    try:
        for row, text in zip(rows, ("frames", "true masks", "result"), strict=True):
            row[0] = caption(row[0], text)
        Image.fromarray(sheet(rows)).reduce(2).save(path)
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error.strerror}") from error
    # As in the field: the first frame was given and the last is not scored.
    scores = overlap[:, 1:-1].mean(axis=1) if frames > 2 else overlap[:, 1:].mean(axis=1)
    log.info(
        f"J (intersection over union): object 1 {scores[0]:.3f}, object 2 {scores[1]:.3f} "
        f"(preset {name}: m {protocol['context_length']}, k {protocol['topk']}, r {protocol['radius']:g})"
    )
    for what, where in (
        ("frames, true masks and result", path),
        ("video", out / "overlay.mp4"),
        ("masks", out / "masks"),
    ):
        log.info(f"{what}: {where.resolve()}")
    if as_json:
        values = [round(float(score), 4) for score in scores]
        result: dict[str, object] = {
            "J": {"mean": round(float(scores.mean()), 4), "objects": values},
            "protocol": protocol,
        }
        result["model"] = {"name": bundle.manifest.name, "sha256": bundle.sha256, "trained": bundle.manifest.trained}
        result["outputs"] = [str(path), str(out / "overlay.mp4"), str(out / "masks")]
        typer.echo(json.dumps(result))
