"""`crwedge import`: other projects' weights as an encoder checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crwedge.cli.messages import messages
from crwedge.cli.options import AsJson


def import_(
    file: Annotated[Path, typer.Argument(help="Weights: .pth, .pt, .tar (tensors only) or .safetensors.")],
    kind: Annotated[str, typer.Option(help="Project: videowalk, torchvision, moco (v2) or vince.")],
    out: Annotated[
        Path | None, typer.Option(help="Checkpoint to write; default FILE with .encoder.safetensors.")
    ] = None,
    padding: Annotated[str | None, typer.Option(help="zeros or reflect; default: as the project trained.")] = None,
    as_json: AsJson = False,
) -> None:
    """Convert weights of another project to an encoder checkpoint, strides of res3 and res4 set to 1.

    Example: crwedge import resnet18-f37072fd.pth --kind torchvision --out imagenet.safetensors
    """
    from crwedge.core.optional import import_optional

    for module in ("torch", "safetensors"):
        import_optional(module, "train")
    from crwedge.model.checkpoint import save_encoder
    from crwedge.model.foreign import import_weights

    encoder, origin = import_weights(file, kind, padding)
    target = out or file.with_name(f"{file.name.split('.')[0]}.encoder.safetensors")
    save_encoder(target, encoder, name=target.name.split(".")[0], weights_from=origin, trained=True)
    config = encoder.config
    messages(as_json).info(
        f"{target}: {config.architecture} to {config.stage}, {config.padding} padding; next: crwedge export {target}"
    )
    if as_json:
        report = {"checkpoint": str(target), "kind": kind, "weights_from": origin, **config.to_dict()}
        typer.echo(json.dumps(report))
