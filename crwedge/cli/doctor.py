"""`crwedge doctor`: what this machine has, what is missing, and what it can do."""

from __future__ import annotations

import json
import platform
from typing import Any

import typer

from crwedge.cli.options import AsJson

_MEANING = {
    "": "every installation",
    "cpu": "track on a CPU",
    "gpu": "track on an NVIDIA GPU",
    "tensorrt": "TensorRT engines",
    "window": "show masks in a window",
    "mqtt": "publish masks by MQTT",
    "serve": "paint and follow in a browser",
    "train": "learn an encoder",
    "export": "checkpoint to bundle",
    "cluster": "batches on Ray, remote files",
    "supervision": "example with supervision",
    "rerun": "example with Rerun",
    "eval": "plots of studies, .mat files",
    "interop": "tests beside other tools",
    "docs": "build the documentation",
    "dev": "work on crwedge itself",
}


def doctor(as_json: AsJson = False) -> None:
    """Print what this machine has, what is missing and how to install it, and what it can do now.

    Example: crwedge doctor
    """
    import crwedge
    from crwedge.core.packages import install_command, onnxruntime_clash
    from crwedge.runtime.backends.open import probe_engines
    from crwedge.runtime.bundle_lookup import find_bundle
    from crwedge.runtime.bundle_scores import describe_bundle
    from crwedge.runtime.ops.jetson import read_jetson
    from crwedge.runtime.propagation.attention import cpu_count
    from crwedge.runtime.sources.cameras import camera_aliases, cameras, config_file

    bundle = find_bundle()
    packages = _packages()
    engines = {name: detail if works else f"no: {detail}" for name, works, detail in probe_engines(bundle)}
    working = [name for name, detail in engines.items() if not detail.startswith("no: ")]
    jetson, devices, aliases, clash = read_jetson(), cameras(), sorted(camera_aliases()), onnxruntime_clash()
    can = _abilities(packages, working)
    if as_json:
        report = {
            "crwedge": crwedge.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processors": cpu_count(),
            "packages": {name: version for found in packages.values() for name, version in found.items()},
            "extras": packages,
            "clash": clash,
            "engines": engines,
            "jetson": jetson.lines() if jetson else [],
            "cameras": devices,
            "camera_aliases": aliases,
            "model": {"path": str(bundle.path), "name": bundle.manifest.name, "trained": bundle.manifest.trained},
            "can": can,
        }
        typer.echo(json.dumps(report))
        return
    typer.echo(f"crwedge {crwedge.__version__}, Python {platform.python_version()}, {platform.platform()}")
    typer.echo(f"processors: {cpu_count()}")
    for extra, found in packages.items():
        missing = [name for name, version in found.items() if version is None]
        state = "installed" if not missing else f"missing {', '.join(missing)}: {install_command(extra)}"
        if missing and not extra:
            state = f"missing {', '.join(missing)}: install crwedge again"
        typer.echo(f"{extra or 'base':<11} {_MEANING.get(extra, ''):<29} {state}")
        have = [f"{name} {version}" for name, version in found.items() if version is not None]
        if have:
            typer.echo(f"            {', '.join(have)}")
    if clash:
        typer.echo(f"clash: {clash}")
    for name, detail in engines.items():
        typer.echo(f"engine {name}: {detail}")
    for line in jetson.lines() if jetson else []:
        typer.echo(line)
    typer.echo(f"cameras: {', '.join(devices) or 'none'}; aliases in {config_file()}: {', '.join(aliases) or 'none'}")
    typer.echo(describe_bundle(bundle))
    typer.echo("this machine can: " + ", ".join(word for word, possible in can.items() if possible))
    if lacking := [word for word, possible in can.items() if not possible]:
        typer.echo("it could also, with the packages that are missing above: " + ", ".join(lacking))


def _packages() -> dict[str, dict[str, str | None]]:
    """Extra -> package -> its version here; the extra "" is what every installation has."""
    from crwedge.core.packages import extras, requirement_name, version_of

    return {
        extra: {name: version_of(name) for name in sorted(map(requirement_name, requirements))}
        for extra, requirements in extras().items()
    }


def _abilities(packages: dict[str, dict[str, Any]], engines: list[str]) -> dict[str, bool]:
    """Ability -> whether this machine has it."""

    def has(*extras: str) -> bool:
        return all(version is not None for extra in extras for version in packages.get(extra, {}).values())

    return {
        "track on the CPU": "cpu" in engines,
        "track on an NVIDIA GPU": "cuda" in engines or "tensorrt" in engines,
        "serve the page": has("serve"),
        "show a window": has("window"),
        "publish by MQTT": has("mqtt"),
        "train": has("train"),
        "export a checkpoint": has("export") and "cpu" in engines,
        "train at test time": has("train", "export"),
        "plot studies": has("eval"),
    }
