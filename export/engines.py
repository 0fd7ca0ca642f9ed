"""TensorRT engines of a bundle: find one that fits, or build it."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import crwedge
from crwedge.core.bundle import ENGINES, ONNX, Bundle
from crwedge.core.engine_key import ANY_DEVICE, EngineKey, Profile
from crwedge.core.engine_store import (
    EngineFacts,
    FoundEngine,
    engine_folders,
    find_engine,
    write_engine,
)
from crwedge.core.errors import BundleError, CrwedgeError
from crwedge.core.files import atomic_write, sha256
from crwedge.export.build_lock import build_lock
from crwedge.export.tensorrt import BuildOptions, OnProgress, build_engine, device, load_tensorrt
from crwedge.runtime.bundle_lookup import data_home

_log = logging.getLogger("crwedge")

DEFAULT_PROFILE = Profile((64, 64), (480, 854), (1088, 1920))
"""Default for bundles of any size."""


def can_build(module: str = "tensorrt") -> bool:
    """Whether this machine has the module and, where it needs one, a GPU."""
    try:
        load_tensorrt(module)
        device(module)
    except CrwedgeError:
        return False
    return True


def ensure_engine(
    bundle: Bundle,
    module: str = "tensorrt",
    options: BuildOptions | None = None,
    *,
    on_progress: OnProgress = lambda *_: None,
) -> FoundEngine:
    """Return an engine of a bundle that fits this device; build it if there is none.

    It is stored in the bundle's `engines/`, or in the user's data folder if the bundle cannot be written. One process builds;
    others that need the same engine wait for it.

    Args:
        bundle: a verified bundle.
        module: `tensorrt` or `tensorrt_rtx`.
        options: profile and memory; by default the bundle's size, or all sizes up to 1088 x 1920.
        on_progress: called with the builder's progress.

    Raises:
        BundleError: the engine cannot be built or written.
    """
    trt = load_tensorrt(module)
    capability, name = device(module)
    size = bundle.manifest.size
    options = options or BuildOptions(Profile.of(size) if size else DEFAULT_PROFILE)
    key = EngineKey(
        onnx_sha256=bundle.sha256,
        module=module,
        version=str(trt.__version__),
        compute_capability=capability,
        precision=bundle.manifest.precision,
        profile=options.profile,
    )
    folders = engine_folders(bundle.path, data_home())
    if found := find_engine(folders, key):
        _log.info("engine: %s exists and fits; nothing to build", found.path)
        return found
    folder = _writable(folders)
    with build_lock(folder, key.name) as waited:
        if waited and (found := find_engine(folders, key)):
            _log.info("engine: %s was built by another process", found.path)
            return found
        _log.info("engine: building for %s, %s %s, frames of %s", name, module, key.version, options.profile)
        # Building a refittable engine needs a GPU.
        options = replace(options, refittable=options.refittable and capability != ANY_DEVICE)
        timings = data_home() / ENGINES / f"{module}-{key.version}-cc{capability}.timing"
        try:
            built = build_engine(trt, bundle.read(ONNX), options, timing_cache=_read(timings), on_progress=on_progress)
        except BundleError as error:
            if not options.refittable:
                raise
            _log.info("engine: a refittable one cannot be built (%s); building it with fixed weights", error)
            options = replace(options, refittable=False)
            built = build_engine(trt, bundle.read(ONNX), options, timing_cache=_read(timings), on_progress=on_progress)
        facts = EngineFacts(key, sha256(built.engine), options.refittable, name, crwedge.__version__)
        path = write_engine(folder, facts, built.engine)
        _keep(timings, built.timing_cache)
    _log.info("engine: %s, %.1f MB", path.name, len(built.engine) / 1e6)
    return FoundEngine(path, facts, built.engine)


def _writable(folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        nearest = next(p for p in (folder, *folder.parents) if p.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK):
            return folder
    raise BundleError(f"neither {folders[0]} nor {folders[1]} can be written; make one writable, or set CRWEDGE_HOME")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _keep(path: Path, data: bytes) -> None:
    """Save the timing cache; errors are ignored, because without it the next build is only slower."""
    if not data:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)
    except OSError:
        pass
