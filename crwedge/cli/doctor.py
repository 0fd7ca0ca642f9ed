"""`crwedge doctor`: what this machine has and what is missing."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Annotated

import typer

_PACKAGES = (
    ("numpy", "base"),
    ("numba", "base"),
    ("av", "base"),
    ("pillow", "base"),
    ("onnxruntime", "cpu"),
    ("onnxruntime-gpu", "gpu"),
    ("pycuda", "gpu"),
    ("tensorrt", "tensorrt"),
    ("opencv-python", "window"),
    ("torch", "train, export"),
    ("kornia", "train"),
    ("onnx", "export"),
)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object last.")] = False) -> None:
    """Say what this machine has and what is missing.

    Example: crwedge doctor
    """
    import crwedge
    from crwedge.runtime.backends.open import probe_engines
    from crwedge.runtime.bundle_lookup import find_bundle
    from crwedge.runtime.ops.jetson import read_jetson
    from crwedge.runtime.propagation.attention import cpu_count
    from crwedge.runtime.sources.cameras import camera_aliases, cameras, config_file

    versions: dict[str, str | None] = {}
    for name, _ in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    bundle = find_bundle()
    engines = {name: detail if works else f"no: {detail}" for name, works, detail in probe_engines(bundle)}
    jetson = read_jetson()
    devices = cameras()
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "crwedge": crwedge.__version__,
                    "python": platform.python_version(),
                    "machine": platform.machine(),
                    "processors": cpu_count(),
                    "packages": versions,
                    "engines": engines,
                    "jetson": jetson.lines() if jetson else [],
                    "cameras": devices,
                    "camera_aliases": sorted(camera_aliases()),
                    "model": {
                        "path": str(bundle.path),
                        "name": bundle.manifest.name,
                        "trained": bundle.manifest.trained,
                    },
                }
            )
        )
        return
    typer.echo(f"crwedge {crwedge.__version__}, Python {platform.python_version()}, {platform.platform()}")
    typer.echo(f"processors: {cpu_count()}")
    for name, extra in _PACKAGES:
        version = versions[name]
        hint = "" if extra == "base" else f"  (pip install 'crwedge[{extra.split(',')[0]}]')"
        typer.echo(f"  {name:<16} {version or 'not installed' + hint}")
    for name, state in engines.items():
        typer.echo(f"engine {name}: {state}")
    for line in jetson.lines() if jetson else []:
        typer.echo(line)
    typer.echo(
        f"cameras: {', '.join(devices) or 'none'}; aliases in {config_file()}: {', '.join(camera_aliases()) or 'none'}"
    )
    trained = "trained" if bundle.manifest.trained else "random, not trained"
    typer.echo(f"model: {bundle.manifest.name} ({trained}) at {bundle.path}")
