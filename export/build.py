"""The export, step by step: weights -> ONNX -> verdict -> bundle."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import crwedge
from crwedge.core.bundle import ONNX, WEIGHTS, Bundle, Manifest, write_bundle
from crwedge.core.errors import BundleError, CheckpointError
from crwedge.core.need import need
from crwedge.core.scene import render_scene
from crwedge.export.onnx import build_onnx
from crwedge.export.parity import Parity, compare_features
from crwedge.runtime.engine import open_engine
from crwedge.runtime.models import bundles_home, shipped_bundle

if TYPE_CHECKING:
    from crwedge.model.checkpoint import EncoderInfo
    from crwedge.model.encoder import Encoder

Say = Callable[[str], None]


def export_bundle(
    checkpoint: str | Path | None = None,
    out: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    narrow_weights: bool = False,
    say: Say = lambda _: None,
) -> Bundle:
    """Turn a checkpoint into a bundle.

    Args:
        checkpoint: an encoder file, a training run's folder, or a bundle; by default the encoder that ships with the package.
        out: the bundle's folder; by default a folder of the encoder's name among the user's bundles.
        size: fixed (H, W) of the graph, or None for any.
        narrow_weights: store weights as float16 (half the size); the arithmetic stays float32.
        say: called with one line for each step.

    Returns:
        The bundle; `bundle.manifest.parity` holds the verdict.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        BundleError: the bundle cannot be written, or does not do what the PyTorch encoder does.
    """
    need("torch", extra="export")
    path = find_checkpoint(checkpoint)
    encoder, info = _load(path, narrow_weights)
    say(f"weights: {info.name} ({info.weights_from})")
    if not info.trained:
        say("note: these weights are random, not trained; masks will drift")
    target = Path(out) if out is not None else bundles_home() / info.name
    stored_as = np.float16 if narrow_weights else np.float32
    weights = {key: value.detach().cpu().numpy() for key, value in encoder.state_dict().items()}
    config = encoder.config
    facts = {
        "crwedge_version": crwedge.__version__,
        "name": info.name,
        "architecture": config.architecture,
        "padding": config.padding,
        "mean": json.dumps(config.mean),
        "std": json.dumps(config.std),
        "stride": str(config.stride),
        "precision": "float32",
        "weights_from": info.weights_from,
        "trained": str(info.trained).lower(),
    }
    onnx = build_onnx(
        weights,
        architecture=config.architecture,
        padding=config.padding,
        mean=config.mean,
        std=config.std,
        size=size,
        stored_as=stored_as,
        facts=facts,
    )
    say(f"onnx: {len(onnx) / 1e6:.1f} MB, {'any size' if size is None else f'{size[0]}x{size[1]}'}")
    manifest = Manifest(
        name=info.name,
        architecture=config.architecture,
        padding=config.padding,
        mean=config.mean,
        std=config.std,
        stride=config.stride,
        channels=256 if config.architecture == "resnet18" else 1024,
        precision="float32",
        weights_from=info.weights_from,
        trained=info.trained,
        size=size,
        crwedge_version=crwedge.__version__,
    )
    files = {ONNX: onnx, WEIGHTS: _weights_file(encoder, info, narrow_weights)}
    verdict = check(encoder, manifest, files, size)
    say(f"parity: {verdict}")
    if not verdict.passed:
        raise BundleError(f"the ONNX file does not do what the PyTorch encoder does: {verdict}; nothing was written")
    manifest = Manifest(**{**manifest.__dict__, "parity": verdict.to_dict()})
    return write_bundle(target, manifest, files)


def find_checkpoint(checkpoint: str | Path | None) -> Path:
    """The encoder file that `checkpoint` means; CheckpointError when there is none."""
    path = shipped_bundle() if checkpoint is None else Path(checkpoint)
    if path.is_dir():
        inside = path / WEIGHTS
        if not inside.is_file():
            raise CheckpointError(f"{path} holds no {WEIGHTS}; give a training run, a bundle or an encoder file")
        return inside
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    return path


def check(encoder: Encoder, manifest: Manifest, files: dict[str, bytes], size: tuple[int, int] | None) -> Parity:
    """Run the same frames through PyTorch and the ONNX file, and compare the features."""
    frames = parity_frames(size)
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(write_bundle(Path(folder) / "bundle", manifest, files), "cpu")
        got = [engine.run(frame) for frame in frames]
        engine.close()
    return compare_features(torch_features(encoder, frames), got)


def parity_frames(size: tuple[int, int] | None) -> list[NDArray[np.uint8]]:
    """Frames of two sizes, one of which is no multiple of 8; of the fixed size alone where there is one."""
    sizes = [size] if size else [(240, 426), (123, 217)]
    return [frame for height, width in sizes for frame in render_scene(3, height, width).frames]


def torch_features(encoder: Encoder, frames: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """What PyTorch makes of the frames: (C, h, w) each."""
    import torch

    return [encoder.features(torch.from_numpy(frame)[None])[0].numpy() for frame in frames]


def _load(path: Path, narrow: bool) -> tuple[Encoder, EncoderInfo]:
    """The encoder up to res3, its weights rounded to float16 if they will be stored so."""
    from dataclasses import replace

    from crwedge.model.checkpoint import load_encoder
    from crwedge.model.encoder import Encoder

    loaded, info = load_encoder(path)
    encoder = Encoder(replace(loaded.config, stage="res3"))
    encoder.load_weights(loaded.state_dict())
    if narrow:
        encoder.half().float()
    return encoder.eval(), info


def _weights_file(encoder: Encoder, info: EncoderInfo, narrow: bool) -> bytes:
    """`encoder.safetensors`, with its header in an order that does not change from run to run."""
    from crwedge.model.checkpoint import save_encoder

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        stored = copy.deepcopy(encoder).half() if narrow else encoder
        save_encoder(path, stored, name=info.name, weights_from=info.weights_from, trained=info.trained)
        data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(dict(sorted(header.items())), separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
