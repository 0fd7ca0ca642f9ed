"""Weights on their way: encoder -> file and graph -> engine. No PyTorch is imported by the side that tracks."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import ONNX, Bundle, Manifest
from crwedge.core.errors import CrwedgeError, SettingError
from crwedge.core.files import sha256
from crwedge.core.optional import import_optional
from crwedge.runtime.backends.engine import Engine, Refittable
from crwedge.runtime.backends.open import open_engine

if TYPE_CHECKING:
    from crwedge.model.encoder import Encoder


def encoder_file(encoder: Encoder, manifest: Manifest, updates: int) -> bytes:
    """`encoder.safetensors` of an adapted encoder, as a checkpoint that `crwedge export` takes."""
    from safetensors.torch import save

    from crwedge.model.checkpoint import FORMAT

    facts = {
        "format": FORMAT,
        "config": json.dumps(encoder.config.to_dict()),
        "name": f"{manifest.name}-adapted",
        "weights_from": f"{manifest.weights_from}; then test-time training, {updates} updates",
        "trained": "true",
    }
    return bytes(save({key: value.detach().contiguous() for key, value in encoder.state_dict().items()}, facts))


def graph_precision(engine: Engine, manifest: Manifest) -> str:
    """Of the graph that brings new weights to `engine`. SettingError where there can be none.

    On a CPU a new session takes any graph, and float32 is what it is best at. A running engine on a device takes the
    weights of its own graph only, and the ranges of an int8 one belong to the old weights.
    """
    if _on_cpu(engine):
        return "float32"
    if manifest.precision == "int8":
        raise SettingError("an int8 engine cannot be adapted: export without --int8, or use --engine cpu")
    return manifest.precision


def encoder_graph(encoder: Encoder, manifest: Manifest, precision: str) -> bytes:
    """The ONNX file of an adapted encoder, of the bundle's own size."""
    from crwedge.export.onnx import Recipe, build_onnx

    config = encoder.config
    recipe = Recipe(
        config.architecture,
        config.padding,
        config.mean,
        config.std,
        size=manifest.size,
        precision="float16" if precision == "float16" else "float32",
    )
    return build_onnx({key: value.detach().cpu().numpy() for key, value in encoder.state_dict().items()}, recipe)


def check_weights(data: bytes) -> None:
    """Refuse a weights file that cannot be read or holds a number that is not finite. CrwedgeError says which."""
    import_optional("safetensors", extra="train")
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        weights = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CrwedgeError(f"the trainer gave weights that cannot be read ({error})") from error
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise CrwedgeError(f"the trainer gave weights that are not finite ({name})")


class Renewed(NamedTuple):
    """An engine with new weights, and what it made of frames that the context may hold."""

    engine: Engine
    features: dict[int, tuple[NDArray[np.uint8], NDArray[np.float32]]]
    """Frame and features by the frame's identity; the frame is held so that its identity stays its own."""


@dataclass(frozen=True)
class MemoryBundle(Bundle):
    """A bundle whose graph lies in memory: new weights for a running tracker."""

    graph: bytes = b""

    @classmethod
    def of(cls, bundle: Bundle, graph: bytes) -> MemoryBundle:
        """The same encoder as `bundle` with the graph of new weights."""
        files = {**bundle.manifest.files, ONNX: sha256(graph)}
        return cls(bundle.path, replace(bundle.manifest, precision="float32", files=files), graph)

    def read(self, name: str) -> bytes:
        """The graph from memory, anything else from the folder."""
        return self.graph if name == ONNX else super().read(name)


def renewed(bundle: Bundle, graph: bytes, engine: Engine, threads: int | None, frame: NDArray[np.uint8]) -> Engine:
    """An engine with new weights: on a CPU another one, tried and warmed up on `frame` while `engine` runs on.

    A device has no room for two; there `engine` itself takes the weights, between two frames.

    Raises:
        CrwedgeError: it gives features that are not finite, or cannot take the weights.
    """
    if not _on_cpu(engine):
        if not isinstance(engine, Refittable):
            raise CrwedgeError(f"the engine {engine.name} cannot take new weights; use --engine cpu")
        engine.refit(graph)
        return engine
    made = open_engine(MemoryBundle.of(bundle, graph), "cpu", threads)
    if not np.isfinite(made.run(frame)).all():
        made.close()
        raise CrwedgeError("the adapted weights give features that are not finite")
    return made


def _on_cpu(engine: Engine) -> bool:
    # Through a wrapper too: what runs says so in its name.
    return engine.name.endswith(" cpu")
