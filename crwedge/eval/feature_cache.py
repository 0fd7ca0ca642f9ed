"""Features on disk, so that a study encodes each clip once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureCache:
    """One float16 .npy file a clip, named by a hash of its inputs. The oldest files are removed when the folder is full."""

    folder: Path
    limit: int = 4_000_000_000
    """Largest size of the folder in bytes. A larger clip is not stored."""

    def read(
        self, frames: Sequence[Path], key_parts: Sequence[str], compute: Callable[[], Iterator[NDArray[np.float32]]]
    ) -> Iterator[NDArray[np.float32]]:
        """Features (C, h, w) of each frame, unit length over C, rounded to float16.

        The first reader gets rounded values too, so that all points of a study use the same features.

        Args:
            frames: files of the frames; their paths, sizes and modification times are part of the key.
            key_parts: the rest of the key: hash of the encoder, computing size.
            compute: computes the features, called if they are not stored.
        """
        path = self.folder / f"{self._key(frames, key_parts)}.npy"
        if path.is_file():
            os.utime(path)  # the newest are kept
            stored = np.load(path, mmap_mode="r")
            for number in range(len(stored)):
                yield np.asarray(stored[number], np.float32)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        target: np.memmap[Any, Any] | None = None
        try:
            for number, features in enumerate(compute()):
                rounded = features.astype(np.float16)
                if number == 0 and self._make_room(rounded.nbytes * len(frames)):
                    shape = (len(frames), *rounded.shape)
                    target = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
                if target is not None:
                    target[number] = rounded
                yield rounded.astype(np.float32)
                if target is not None and number == len(frames) - 1:
                    target.flush()
                    target = None
                    os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _key(self, frames: Sequence[Path], key_parts: Sequence[str]) -> str:
        digest = hashlib.sha256()
        for path in frames:
            state = path.stat()
            digest.update(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}\n".encode())
        digest.update("|".join(key_parts).encode())
        return digest.hexdigest()[:32]

    def _make_room(self, size: int) -> bool:
        """Remove the oldest files until `size` bytes fit; False if `size` is above the limit."""
        if size > self.limit:
            return False
        files = sorted(self.folder.glob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
        held = sum(path.stat().st_size for path in files)
        for path in files:
            if held + size <= self.limit:
                break
            held -= path.stat().st_size
            path.unlink(missing_ok=True)
        return True
