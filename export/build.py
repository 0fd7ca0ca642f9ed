"""Export of a checkpoint: weights -> ONNX -> comparison with PyTorch -> bundle -> engine."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import crwedge
from crwedge.core.bundle import ONNX, WEIGHTS, Bundle, Manifest, write_bundle
from crwedge.core.errors import CheckpointError
from crwedge.core.optional import import_optional
from crwedge.core.settings import check_choice, preset
from crwedge.export.calibrate import calibrate
from crwedge.export.onnx import Recipe, build_onnx, channels
from crwedge.export.parity import TOLERANCES, ParityError, Scorer, compare, compare_features
from crwedge.export.precision import PRECISIONS, Precision, to_signed_activations
from crwedge.export.test_clips import ReferenceClip, for_calibration, odd_size, rendered
from crwedge.export.weights import weights_file
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import bundles_home, shipped_bundle

if TYPE_CHECKING:
    from crwedge.core.engine_key import Profile
    from crwedge.export.tensorrt import OnProgress
    from crwedge.model.checkpoint import EncoderInfo
    from crwedge.model.encoder import Encoder

_log = logging.getLogger("crwedge")

Features = list[NDArray[np.float32]]

_SUFFIX = {"float32": "", "float16": "-fp16", "int8": "-int8"}
_TENSORRT_FRAMES = 3


@dataclass(frozen=True)
class Graph:
    """The ONNX file of an export, and how it was calibrated."""

    onnx: bytes
    calibration: str = ""
    """Frames that an int8 graph was calibrated on."""


def export_bundle(
    checkpoint: str | Path | None = None,
    out: str | Path | None = None,
    *,
    precision: Precision = "float32",
    size: tuple[int, int] | None = None,
    half_weights: bool = False,
    calibrate_on: str | None = None,
    verify: ReferenceClip | None = None,
    scorer: Scorer | None = None,
    engine: str = "onnx",
    profile: Profile | None = None,
    workspace_mb: int | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Bundle:
    """Export a checkpoint as a bundle.

    Args:
        checkpoint: an encoder file, a training run's folder, or a bundle; by default the shipped encoder.
        out: the bundle's folder; by default a folder of the encoder's name among the user's bundles.
        precision: float32, float16 or int8.
        size: fixed (H, W) of the graph, or None for any.
        half_weights: store the weights as float16; a float32 graph still computes in float32.
        calibrate_on: video that int8 is calibrated on; by default rendered scenes.
        verify: clip for the comparison with PyTorch; by default the rendered scene.
        scorer: computes J and F of a frame whose truth is known; by default only J is computed.
        engine: `onnx` (no engine), `tensorrt`, `tensorrt-rtx`, or `auto`: TensorRT where it can be built.
        profile: frame sizes of a TensorRT engine; by default `size`, or all sizes up to 1088 x 1920.
        workspace_mb: largest scratch memory of a layer in TensorRT.
        on_progress: called with the progress of a TensorRT build.

    Returns:
        The bundle; `bundle.manifest.parity` holds the result of the comparison.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ParityError: the ONNX file differs too much from the PyTorch encoder; no bundle is written.
        BundleError: the bundle or an engine cannot be written.
    """
    check_choice("precision", precision, PRECISIONS)
    import_optional("torch", extra="export")
    encoder, info = _load(find_checkpoint(checkpoint), half_weights)
    _log.info("weights: %s (%s)", info.name, info.weights_from)
    if not info.trained:
        _log.info("note: these weights are random, not trained; masks will drift")
    name = info.name + _SUFFIX[precision]
    target = Path(out) if out is not None else bundles_home() / name
    graph = write_graph(encoder, info, precision, size, half_weights, calibrate_on)
    sizes = "any size" if size is None else f"{size[0]}x{size[1]}"
    _log.info("onnx: %.1f MB, %s, %s", len(graph.onnx) / 1e6, precision, sizes)
    config = encoder.config
    manifest = Manifest(
        name=name,
        architecture=config.architecture,
        padding=config.padding,
        mean=config.mean,
        std=config.std,
        stride=config.stride,
        channels=channels(config.architecture),
        precision=precision,
        weights_from=info.weights_from,
        trained=info.trained,
        size=size,
        calibration=graph.calibration,
        crwedge_version=crwedge.__version__,
    )
    files = {ONNX: graph.onnx, WEIGHTS: weights_file(encoder, info, half_weights)}
    parity = verify_graph(encoder, manifest, files, verify or rendered(size), scorer)
    bundle = write_bundle(target, replace(manifest, parity=parity), files)
    if engine != "onnx":
        from crwedge.export.verify import build_and_verify

        build_and_verify(bundle, engine, profile, workspace_mb, verify or rendered(size), on_progress=on_progress)
    return bundle


def find_checkpoint(checkpoint: str | Path | None) -> Path:
    """Path of the encoder file of a run, a bundle or a file; CheckpointError when there is none."""
    path = shipped_bundle() if checkpoint is None else Path(checkpoint)
    if path.is_dir():
        inside = path / WEIGHTS
        if not inside.is_file():
            raise CheckpointError(f"{path} holds no {WEIGHTS}; give a training run, a bundle or an encoder file")
        return inside
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    return path


def write_graph(
    encoder: Encoder,
    info: EncoderInfo,
    precision: Precision,
    size: tuple[int, int] | None,
    half_weights: bool,
    calibrate_on: str | None,
) -> Graph:
    """The ONNX file of an encoder; int8 is calibrated first."""
    config = encoder.config
    weights = {key: value.detach().cpu().numpy() for key, value in encoder.state_dict().items()}
    recipe = Recipe(config.architecture, config.padding, config.mean, config.std, size, precision)
    facts = {
        "crwedge_version": crwedge.__version__,
        "name": info.name,
        "architecture": config.architecture,
        "padding": config.padding,
        "mean": json.dumps(config.mean),
        "std": json.dumps(config.std),
        "stride": str(config.stride),
        "precision": precision,
        "weights_from": info.weights_from,
        "trained": str(info.trained).lower(),
    }
    if precision != "int8":
        stored = np.float16 if half_weights else np.float32
        return Graph(build_onnx(weights, replace(recipe, stored_as=stored), facts=facts))
    frames = for_calibration(calibrate_on, size)
    where = "rendered scenes" if calibrate_on is None else Path(calibrate_on).name
    facts["calibration"] = f"{len(frames)} frames of {where}"
    _log.info("calibration: %s", facts["calibration"])
    ranges = calibrate(build_onnx(weights, replace(recipe, precision="float32")), frames)
    return Graph(build_onnx(weights, recipe, ranges=ranges, facts=facts), facts["calibration"])


def verify_graph(
    encoder: Encoder,
    manifest: Manifest,
    files: dict[str, bytes],
    clip: ReferenceClip,
    scorer: Scorer | None,
) -> dict[str, Any]:
    """Compare the ONNX file with PyTorch on the same frames; returns the entry `parity` of the manifest.

    Raises:
        ParityError: a difference is above its tolerance.
    """
    tolerances = TOLERANCES[manifest.precision]
    names = ("PyTorch float32", f"ONNX Runtime {manifest.precision}")
    odd = odd_size(manifest.size)
    reference = torch_features(encoder, clip)
    first = compare(
        reference,
        onnx_features(manifest, files, clip),
        clip,
        preset(manifest.preset),
        tolerances=tolerances,
        names=names,
        scorer=scorer,
    )
    verdicts = {"": first}
    got = onnx_features(manifest, files, odd)
    verdicts["odd_size"] = replace(
        compare_features(torch_features(encoder, odd), got, tolerances, names), frames=odd.name
    )
    if manifest.precision == "int8":
        few = replace(clip, frames=clip.frames[:_TENSORRT_FRAMES])
        got = onnx_features(manifest, {**files, ONNX: to_signed_activations(files[ONNX])}, few)
        names = (names[0], "int8 as TensorRT reads it")
        verdict = compare_features(reference[:_TENSORRT_FRAMES], got, tolerances, names)
        verdicts["to_signed_activations"] = replace(verdict, frames=f"{len(few.frames)} frames of {clip.name}")
    for verdict in verdicts.values():
        _log.info("%s", verdict.table())
    for verdict in verdicts.values():
        if not verdict.passed:
            message = f"the export differs from the PyTorch encoder ({verdict}); nothing was written"
            raise ParityError(message, verdict)
    return {**first.to_dict(), **{key: verdict.to_dict() for key, verdict in verdicts.items() if key}}


def torch_features(encoder: Encoder, clip: ReferenceClip) -> Features:
    """Features (C, h, w) of each frame, by PyTorch."""
    import torch

    return [encoder.features(torch.from_numpy(np.array(frame))[None])[0].numpy() for frame in clip.frames]


def onnx_features(manifest: Manifest, files: dict[str, bytes], clip: ReferenceClip) -> Features:
    """Features (C, h, w) of each frame, by the runtime's CPU engine on a bundle of these files."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(write_bundle(Path(folder) / "bundle", manifest, files), "cpu")
        try:
            return [engine.run(np.asarray(frame)) for frame in clip.frames]
        finally:
            engine.close()


def _load(path: Path, half_weights: bool) -> tuple[Encoder, EncoderInfo]:
    """The encoder up to res3; its weights are rounded to float16 if they will be stored as such."""
    from crwedge.model.checkpoint import load_encoder
    from crwedge.model.encoder import Encoder

    loaded, info = load_encoder(path)
    encoder = Encoder(replace(loaded.config, stage="res3"))
    encoder.load_weights(loaded.state_dict())
    if half_weights:
        encoder.half().float()
    return encoder.eval(), info
