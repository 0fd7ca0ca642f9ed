"""`encoder.safetensors`: an encoder and all that must be known of it in one file, without pickle.

Keys are torchvision's names without a prefix; the facts are in the metadata of the safetensors header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from crwedge.core.errors import CheckpointError, SettingError
from crwedge.core.files import atomic_write
from crwedge.core.json_text import parse_json
from crwedge.model.encoder import Encoder, EncoderConfig

FORMAT = "crwedge-encoder-1"


@dataclass(frozen=True)
class EncoderInfo:
    """Facts about the weights of a checkpoint."""

    name: str
    weights_from: str
    """Where the weights come from, in one sentence."""
    trained: bool
    """False for random weights."""


def save_encoder(path: str | Path, encoder: Encoder, *, name: str, weights_from: str, trained: bool) -> None:
    """Write the encoder's weights and its configuration to `path`, whole or not at all.

    Raises:
        CheckpointError: the file cannot be written (a full disk, no such folder); an existing file is kept.
    """
    facts = {
        "format": FORMAT,
        "config": json.dumps(encoder.config.to_dict()),
        "name": name,
        "weights_from": weights_from,
        "trained": "true" if trained else "false",
    }
    save_tensors(Path(path), {key: value.detach() for key, value in encoder.state_dict().items()}, facts)


def load_encoder(path: str | Path) -> tuple[Encoder, EncoderInfo]:
    """Rebuild the encoder of a checkpoint, in evaluation mode.

    `path` is an `encoder.safetensors`, or a run folder that holds one.

    Raises:
        CheckpointError: the file is missing, damaged, or no encoder of this package.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "encoder.safetensors"
    state, facts = load_tensors(path)
    if facts.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not an encoder checkpoint of this version (format {facts.get('format', 'unknown')!r}); "
            "pass the encoder.safetensors of a run, or convert other weights with `crwedge import`"
        )
    try:
        config = EncoderConfig(**parse_json(facts["config"]))
        info = EncoderInfo(facts["name"], facts["weights_from"], facts["trained"] == "true")
    except (KeyError, TypeError, ValueError, SettingError) as error:
        raise CheckpointError(f"the description in {path} cannot be read ({error}); copy the file again") from error
    encoder = Encoder(config)
    encoder.load_weights(state)
    return encoder.eval(), info


def save_tensors(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and text facts as one safetensors file, whole or not at all. CheckpointError when it cannot be."""
    data = save({key: value.contiguous().cpu() for key, value in state.items()})
    size = int.from_bytes(data[:8], "little")
    # The library writes facts in an order of chance; ours is fixed, so that equal weights make equal files.
    table = {"__metadata__": dict(sorted(facts.items())), **json.loads(data[8 : 8 + size])}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    write_bytes(path, len(header).to_bytes(8, "little") + header + data[8 + size :])


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. CheckpointError when the disk refuses; an existing file is kept."""
    try:
        with atomic_write(path) as file:
            file.write(data)
    except OSError as error:
        raise CheckpointError(f"cannot write {path} ({error.strerror}); earlier checkpoints are untouched") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of a safetensors file. CheckpointError when it is missing or damaged."""
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        # Read, not mapped: tensors must not change, or the process die, when the file is replaced under them.
        data = path.read_bytes()
        state = load(data)
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}); use an earlier one") from error
    return state, dict(header.get("__metadata__") or {})
