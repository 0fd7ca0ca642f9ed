"""Masks as COCO's compressed run lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A boolean mask (H, W) as COCO's compressed run lengths: {"size": [H, W], "counts": text}.

    Runs go down the columns and start with a run of zeros. Counts after the third are written as differences to the one
    two before, in base 32 with a continuation bit, as characters from '0' on: what pycocotools reads.
    """
    flat = np.asarray(mask, np.uint8).reshape(-1, order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    counts = np.diff(edges).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    text = []
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            low = value & 0x1F
            value >>= 5
            more = value != (-1 if low & 0x10 else 0)
            text.append(chr((low | 0x20 if more else low) + 48))
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": "".join(text)}


def decode_rle(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """The inverse of `encode_rle`: (H, W) bool."""
    height, width = rle["size"]
    runs = np.zeros(height * width, np.bool_)
    start = 0
    for index, count in enumerate(rle_counts(rle["counts"])):
        if index % 2:
            runs[start : start + count] = True
        start += count
    return runs.reshape((height, width), order="F")


def rle_counts(text: str) -> list[int]:
    """Run lengths of the compressed form, zeros first; ValueError where the text is something else."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        part = ord(character) - 48
        if not 0 <= part < 64 or shift > 60:
            raise ValueError("the characters are not run lengths")
        value |= (part & 0x1F) << shift
        shift += 5
        if not part & 0x20:
            if part & 0x10:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value, shift = 0, 0
    return counts
