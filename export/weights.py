"""`encoder.safetensors` of a bundle: the weights for test-time training."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from crwedge.core.bundle import WEIGHTS

if TYPE_CHECKING:
    from crwedge.model.checkpoint import EncoderInfo
    from crwedge.model.encoder import Encoder


def weights_file(encoder: Encoder, info: EncoderInfo, half_weights: bool) -> bytes:
    """The bytes of the file; the same weights give the same bytes. `half_weights` stores float16."""
    from crwedge.model.checkpoint import save_encoder

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        stored = copy.deepcopy(encoder).half() if half_weights else encoder
        save_encoder(path, stored, name=info.name, weights_from=info.weights_from, trained=info.trained)
        return path.read_bytes()
