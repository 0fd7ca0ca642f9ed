"""Build a TensorRT engine for a bundle and compare it with ONNX Runtime. PyTorch is not needed."""

from __future__ import annotations

import contextlib
import logging

import numpy as np

from crwedge.core.bundle import Bundle
from crwedge.core.engine_key import Profile
from crwedge.core.errors import CrwedgeError
from crwedge.core.settings import check_choice, preset
from crwedge.export.engines import DEFAULT_PROFILE, can_build, ensure_engine
from crwedge.export.parity import TOLERANCES, Parity, ParityError, compare
from crwedge.export.tensorrt import BuildOptions, OnProgress
from crwedge.export.test_clips import ReferenceClip, rendered
from crwedge.runtime.backends.open import open_engine

_log = logging.getLogger("crwedge")

ENGINES = ("onnx", "tensorrt", "tensorrt-rtx", "auto")


def build_and_verify(
    bundle: Bundle,
    engine: str,
    profile: Profile | None = None,
    workspace_mb: int | None = None,
    clip: ReferenceClip | None = None,
    *,
    on_progress: OnProgress = lambda *_: None,
) -> Parity | None:
    """Build the engine of a bundle and compare it with ONNX Runtime on the same frames.

    Args:
        bundle: a verified bundle.
        engine: `onnx` (no engine), `tensorrt`, `tensorrt-rtx`, or `auto`: TensorRT where it can be built.
        profile: frame sizes; by default the bundle's size, or all sizes up to 1088 x 1920.
        workspace_mb: largest scratch memory of a layer.
        clip: frames to compare on; by default the rendered scene.
        on_progress: called with the builder's progress.

    Returns:
        The comparison, or None if no engine was asked for or this machine cannot run it.

    Raises:
        ParityError: the engine differs from ONNX Runtime by more than the tolerances; it is deleted.
    """
    check_choice("engine", engine, ENGINES)
    if engine == "onnx" or (engine == "auto" and not can_build()):
        return None
    module = "tensorrt" if engine == "auto" else engine.replace("-", "_")
    size = bundle.manifest.size
    options = BuildOptions(profile or (Profile.of(size) if size else DEFAULT_PROFILE), workspace_mb=workspace_mb)
    found = ensure_engine(bundle, module, options, on_progress=on_progress)
    clip = clip or rendered(size)
    frames = [np.asarray(frame) for frame in clip.frames]
    if not options.profile.holds((frames[0].shape[0], frames[0].shape[1])):
        clip = rendered(options.profile.opt)
        frames = [np.asarray(frame) for frame in clip.frames]
    try:
        runner = open_engine(bundle, "tensorrt", size=(frames[0].shape[0], frames[0].shape[1]))
    except CrwedgeError as error:
        _log.info("engine: built, but not verified, since it cannot run on this machine (%s)", error)
        return None
    try:
        got = [runner.run(frame) for frame in frames]
    finally:
        runner.close()
    reference = open_engine(bundle, "cpu")
    try:
        expected = [reference.run(frame) for frame in frames]
    finally:
        reference.close()
    verdict = compare(
        expected,
        got,
        clip,
        preset(bundle.manifest.preset),
        tolerances=TOLERANCES[bundle.manifest.precision],
        names=(reference.name, runner.name),
    )
    _log.info("%s", verdict.table())
    if not verdict.passed:
        for path in (found.path, found.path.with_suffix(".json")):
            with contextlib.suppress(OSError):
                path.unlink()
        raise ParityError(f"the engine differs from ONNX Runtime ({verdict}); it was deleted", verdict)
    return verdict
