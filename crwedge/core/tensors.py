"""Named arrays and words in one file of the safetensors format, without a package for it and without pickle.

Eight bytes give the length of a JSON header (little endian), the header gives dtype, shape and place of every array, and
the rest is the arrays. What does not fit together is refused before anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.errors import UserError
from crwedge.core.files import atomic_write

_NAMES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "U8": "|u1", "I64": "<i8", "BOOL": "|b1"}
_DTYPES = {np.dtype(dtype): name for name, dtype in _NAMES.items()}
_MOST_HEADER = 100_000_000


class TensorFileError(UserError):
    """A file of arrays is incomplete, changed or of another kind."""


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], words: Mapping[str, str]) -> None:
    """Write arrays and words, whole or not at all.

    Args:
        path: the file; one that stands there is replaced.
        tensors: float32, float16, float64, uint8, int64 or bool.
        words: text under names.

    Raises:
        OSError: it cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(words)}
    arrays, at = [], 0
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor)
        header[name] = {
            "dtype": _DTYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
        arrays.append(array)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays:
            file.write(array.data)


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read what `write_tensors`, or anything else that writes safetensors, wrote.

    Raises:
        TensorFileError: the file is missing or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TensorFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        return _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TensorFileError(f"{path} is damaged or no safetensors file ({error}); remove it") from error


def _parse(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _MOST_HEADER):
        raise ValueError("its header is cut short")
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    words = {str(name): str(value) for name, value in header.pop("__metadata__", {}).items()}
    tensors: dict[str, NDArray[Any]] = {}
    covered = 0
    for name, facts in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape = np.dtype(_NAMES[facts["dtype"]]), tuple(int(side) for side in facts["shape"])
        start, stop = facts["data_offsets"]
        if start != covered or min(shape, default=0) < 0 or stop - start != dtype.itemsize * int(np.prod(shape)):
            raise ValueError(f"{name} does not fit its place")
        if stop > len(body):
            raise ValueError("it is cut short")
        tensors[name] = np.frombuffer(body[start:stop], dtype).reshape(shape).copy()
        covered = stop
    if covered != len(body):
        raise ValueError("it is longer than its header says")
    return tensors, words
