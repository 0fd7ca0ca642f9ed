"""Named arrays and text in one safetensors file, with a hash of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.files import atomic_path

HASH = "sha256"
"""Key of the metadata: the hash of all arrays and of the other texts."""


class TensorFileError(UserError):
    """A safetensors file is missing, damaged or of another kind."""


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays, text and their hash to `path`, replacing it atomically.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = {name: np.ascontiguousarray(tensor).reshape(tensor.shape) for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(arrays, temporary, metadata={**metadata, HASH: _hash(arrays, metadata)})
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from error


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read the arrays and the text of a safetensors file, and compare the hash of a file that has one.

    Returns:
        The arrays by name, and the text with the hash as `HASH`.

    Raises:
        TensorFileError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise TensorFileError(f"cannot read {path}: there is no such file")
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            words: dict[str, str] = file.metadata() or {}
    except OSError as error:
        raise TensorFileError(f"cannot read {path}: {error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TensorFileError(f"{path} is damaged or not a safetensors file ({error}); remove it") from error
    if HASH in words and words[HASH] != _hash(arrays, words):
        raise TensorFileError(f"{path} is damaged: its content does not have its hash; remove it")
    return arrays, words


def read_words(path: Path) -> dict[str, str]:
    """The text of a safetensors file without its arrays; empty where there is no such file. Hashes are not compared."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return {}
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def _hash(arrays: Mapping[str, NDArray[Any]], words: Mapping[str, str]) -> str:
    texts = sorted(item for item in words.items() if item[0] != HASH)
    digest = hashlib.sha256(json.dumps(texts).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(json.dumps([name, array.dtype.str, arrays[name].shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
