"""`crwedge export`: a checkpoint to a bundle."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Encoder file, training run or bundle; default: the shipped encoder.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bundle's folder; default: among the user's bundles.")] = None,
    size: Annotated[str | None, typer.Option(help="Fix the graph to HEIGHTxWIDTH; default: any size.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False,
) -> None:
    """Turn a checkpoint into a bundle that a device can run, and prove that it does the same.

    Example: crwedge export runs/cats --out cats-bundle
    """
    from crwedge.core.images import parse_size
    from crwedge.export.build import export_bundle

    def say(text: str) -> None:
        print(text, file=sys.stderr if as_json else sys.stdout, flush=True)

    bundle = export_bundle(checkpoint, out, size=parse_size(size) if size else None, say=say)
    say(f"bundle: {bundle.path}")
    if as_json:
        manifest = bundle.manifest
        result = {
            "bundle": str(bundle.path),
            "files": manifest.files,
            "precision": manifest.precision,
            "parity": manifest.parity,
            "passed": bool(manifest.parity["passed"]),
        }
        typer.echo(json.dumps(result))
