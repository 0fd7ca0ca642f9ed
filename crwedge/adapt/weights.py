"""Weights on their way: encoder -> file and graph -> engine. No PyTorch is imported by the side that tracks."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crwedge.core.bundle import ONNX, Bundle, Manifest
from crwedge.core.errors import CrwedgeError
from crwedge.core.files import sha256
from crwedge.core.need import need
from crwedge.runtime.engine import Engine, open_engine

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


def encoder_graph(encoder: Encoder, manifest: Manifest) -> bytes:
    """The ONNX file of an adapted encoder: float32, of the bundle's own size.

    An int8 bundle's ranges belong to the old weights, and half precision is a loss on the processors that this graph is
    for; both adapt in float32.
    """
    from crwedge.export.onnx import Recipe, build_onnx

    config = encoder.config
    recipe = Recipe(config.architecture, config.padding, config.mean, config.std, size=manifest.size)
    return build_onnx({key: value.detach().cpu().numpy() for key, value in encoder.state_dict().items()}, recipe)


def check_weights(data: bytes) -> None:
    """Refuse a weights file that cannot be read or holds a number that is not finite. CrwedgeError says which."""
    need("safetensors", extra="train")
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        weights = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CrwedgeError(f"the trainer gave weights that cannot be read ({error})") from error
    for name, values in weights.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise CrwedgeError(f"the trainer gave weights that are not finite ({name})")


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


def new_engine(bundle: Bundle, graph: bytes, engine: str, threads: int | None, frame: NDArray[np.uint8]) -> Engine:
    """An engine with new weights, beside the one that runs, tried and warmed up on `frame`.

    Raises:
        CrwedgeError: it gives features that are not finite, or cannot be opened.
    """
    made = open_engine(MemoryBundle.of(bundle, graph), engine, threads)
    if not np.isfinite(made.run(frame)).all():
        made.close()
        raise CrwedgeError("the adapted weights give features that are not finite")
    return made
