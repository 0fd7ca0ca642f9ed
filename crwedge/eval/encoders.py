"""Encoders that can be scored: bundles, and colour patches as a baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crwedge.core.colour import rgb_to_lab
from crwedge.core.images import STRIDE, grid_size
from crwedge.core.settings import check_choice
from crwedge.runtime.backends.engine import Engine
from crwedge.runtime.backends.open import open_engine
from crwedge.runtime.bundle_lookup import find_bundle

KINDS = ("bundle", "random", "colour")


@dataclass(frozen=True)
class EncoderSpec:
    """Names an encoder; can be pickled."""

    kind: str = "bundle"
    """`bundle`, `random` (a bundle of random weights, named by `model`) or `colour`."""
    model: str | None = None
    """Folder or name of a bundle; None: the one chosen with `crwedge use`, else the shipped one."""
    engine: str = "auto"
    """`auto`, `cpu`, ...; see `crwedge.runtime.backends.engine`."""

    def resolved(self) -> EncoderSpec:
        """The same encoder with an absolute path, so that every process opens the same bundle."""
        if self.kind == "colour":
            return self
        return replace(self, model=str(Path(find_bundle(self.model).path).resolve()))

    def open(self, threads: int | None = None) -> Engine:
        """Open the encoder; SettingError for an unknown kind."""
        if self.kind == "colour":
            return ColourEngine()
        check_choice("encoder", self.kind, KINDS)
        return open_engine(find_bundle(self.model), self.engine, threads)

    def describe(self) -> dict[str, Any]:
        """Name and hash, for the protocol."""
        if self.kind == "colour":
            return {"name": "colour", "sha256": None, "trained": False}
        bundle = find_bundle(self.model)
        return {"name": bundle.manifest.name, "sha256": bundle.sha256, "trained": bundle.manifest.trained}

    def preset(self) -> str:
        """Name of the bundle's default preset."""
        return "crw" if self.kind == "colour" else find_bundle(self.model).manifest.preset

    def size(self) -> tuple[int, int] | None:
        """(H, W) of a bundle with a fixed size, else None."""
        return None if self.kind == "colour" else find_bundle(self.model).manifest.size


class ColourEngine:
    """An engine whose features are patches of colour: a baseline without learning.

    The frame is converted to CIE Lab and averaged over 4 x 4 pixels. The feature of a cell of 8 x 8 pixels is the patch of
    16 x 16 pixels around it (4 x 4 x 3 values) and a constant, so that normalisation to unit length keeps brightness.
    """

    name = "colour"
    _POOL = 4

    def run(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (H, W, 3) -> (49, ceil(H / 8), ceil(W / 8)) float32, unit length."""
        h, w = grid_size(*frame.shape[:2])
        bottom, right = h * STRIDE - frame.shape[0], w * STRIDE - frame.shape[1]
        lab = np.pad(rgb_to_lab(frame), ((0, bottom), (0, right), (0, 0)), mode="edge")
        per_cell = STRIDE // self._POOL
        small = lab.reshape(h * per_cell, self._POOL, w * per_cell, self._POOL, 3).mean(axis=(1, 3))
        margin = per_cell // 2
        small = np.pad(small, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        side = 2 * per_cell
        parts = [
            small[y : y + h * per_cell : per_cell, x : x + w * per_cell : per_cell]
            for y in range(side)
            for x in range(side)
        ]
        # Lab has a range of about 100, so this constant has the length of a typical patch.
        constant = np.full((h, w, 1), 100.0 * side, np.float32)
        features = np.concatenate([*parts, constant], axis=2).transpose(2, 0, 1)
        return np.ascontiguousarray(features / np.linalg.norm(features, axis=0), np.float32)

    def close(self) -> None:
        """Do nothing: no resource is open."""
