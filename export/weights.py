"""`encoder.safetensors` of a bundle: the weights that test-time training starts from."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from crwedge.core.bundle import WEIGHTS

if TYPE_CHECKING:
    from crwedge.model.checkpoint import EncoderInfo
    from crwedge.model.encoder import Encoder


def weights_file(encoder: Encoder, info: EncoderInfo, narrow: bool) -> bytes:
    """The file's bytes, with its header in an order that does not change from run to run; `narrow` stores float16."""
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
